"""Distances are in the feature's own unit, and rates vary as their sample says."""

import numpy as np

from monitoring.detection.distances import LEVELS, freeman_tukey, stable_rate, total_variation, wasserstein


def test_a_shift_is_as_far_as_it_moved() -> None:
    assert wasserstein(LEVELS + 3.5, LEVELS) == 3.5


def test_a_change_of_unit_is_as_far_as_the_mean_moved() -> None:
    # Quantiles of a uniform on [0, 1] average 1/2, in cents 50.
    assert np.isclose(wasserstein(100 * LEVELS, LEVELS), 49.5)


def test_total_variation_is_the_share_that_has_another_value() -> None:
    assert np.isclose(total_variation(np.array([0.5, 0.2, 0.3]), np.array([0.6, 0.4, 0.0])), 0.3)


def test_freeman_tukey_squared_times_rows_is_about_chi_squared() -> None:
    rng = np.random.default_rng(1)
    shares = np.array([0.5, 0.3, 0.15, 0.05])
    drawn = rng.multinomial(500, shares, 4000) / 500
    # Four values have three degrees of freedom.
    assert abs((500 * freeman_tukey(drawn, shares) ** 2).mean() - 3.0) < 0.1


def test_a_stable_rate_varies_by_one_over_rows_whatever_it_is() -> None:
    rng = np.random.default_rng(1)
    for rate in (0.02, 0.3, 0.97):
        hits = rng.binomial(1000, rate, 20_000).astype(float)
        assert abs(1000 * stable_rate(hits, np.full(20_000, 1000.0)).var() - 1.0) < 0.05


def test_more_hits_than_rows_are_all_of_them() -> None:
    assert stable_rate(np.array(150.0), np.array(100.0)) == stable_rate(np.array(100.0), np.array(100.0))
