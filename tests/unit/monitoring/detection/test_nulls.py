"""The distance of a sample from its own distribution is what the closed form says from 300 rows, and the simulation below."""

import numpy as np
import pytest

from monitoring.detection.distances import LEVELS, Floats, freeman_tukey, wasserstein
from monitoring.detection.nulls import (
    Simulated,
    shares_noise,
    simulated_shares_noise,
    simulated_wasserstein_noise,
    wasserstein_noise,
)

NORMAL = np.quantile(np.random.default_rng(0).normal(size=200_000), LEVELS)
SHARES = np.array([0.4, 0.3, 0.2, 0.09, 0.01])
FOREVER = np.asarray(np.inf)


def _distances(rows: int, samples: int = 400) -> Floats:
    x = np.random.default_rng(1).normal(size=(samples, rows))
    return wasserstein(np.quantile(x, LEVELS, axis=1).T, NORMAL)


@pytest.mark.parametrize("rows", [300, 3000])
def test_wasserstein_of_a_sample_is_at_most_its_closed_form_and_near_it(rows: int) -> None:
    root = np.sqrt((_distances(rows) ** 2).mean())
    closed = wasserstein_noise(NORMAL, np.asarray(float(rows)), FOREVER)
    assert 0.6 * closed < root <= 1.05 * closed


@pytest.mark.parametrize("rows", [100, 200])
def test_wasserstein_of_few_rows_is_as_simulated(rows: int) -> None:
    root = np.sqrt((_distances(rows) ** 2).mean())
    assert abs(simulated_wasserstein_noise(NORMAL, rows, np.random.default_rng(2)) / root - 1) < 0.15


@pytest.mark.parametrize("rows", [100, 300, 3000])
def test_shares_of_a_sample_are_as_far_as_they_should(rows: int) -> None:
    rng = np.random.default_rng(3)
    root = np.sqrt((freeman_tukey(rng.multinomial(rows, SHARES, 4000) / rows, SHARES) ** 2).mean())
    assert abs(shares_noise(SHARES, np.asarray(float(rows)), FOREVER) / root - 1) < 0.15
    assert abs(simulated_shares_noise(SHARES, rows, rng) / root - 1) < 0.1


def test_only_few_rows_are_simulated_and_the_same_ratio_is_found_again_after_a_restart() -> None:
    rows = np.array([50.0, 150.0, 1000.0])
    closed = wasserstein_noise(np.tile(NORMAL, (3, 1)), rows, np.full(3, np.inf))

    def mended() -> Floats:
        arguments = (["a", "b", "c"], closed, np.tile(NORMAL, (3, 1)), rows, wasserstein_noise, simulated_wasserstein_noise)
        return Simulated().mended(*arguments)

    assert (mended() == closed).tolist() == [True, False, True]
    assert (mended() == mended()).all()
