"""Bets against E[y] = p win nothing where probabilities are right, and soon much where they are not."""

import numpy as np
import pytest

from monitoring.detection.betting import TILTS, log_bets, log_bets_of, mispriced_micros, mixed, pcoc_interval
from monitoring.detection.distances import Floats
from monitoring.summaries import Calibration

P = np.array([0.01, 0.05, 0.2])
ROWS = np.array([200.0, 100.0, 30.0])


def _wealth(truth: Floats, hours: int, runs: int, tolerance: float) -> Floats:
    """Log of the mixture's wealth after each hour, [hours, runs]."""
    rng = np.random.default_rng(3)
    y = rng.binomial(ROWS.astype(int), truth, (hours, runs, len(P))).astype(float)
    path = np.array([[log_bets(ROWS, ROWS * P, of_run, tolerance) for of_run in hour] for hour in y])
    return mixed(path.cumsum(axis=0))


def test_right_probabilities_are_called_wrong_in_at_most_one_run_of_twenty_however_long_one_looks() -> None:
    assert (_wealth(P, 60, 200, tolerance=0.0).max(axis=0) >= np.log(20)).mean() <= 0.05


def test_what_is_off_by_less_than_the_tolerance_is_not_called_wrong() -> None:
    assert (_wealth(1.08 * P, 60, 200, tolerance=0.1).max(axis=0) >= np.log(20)).mean() <= 0.05


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_twice_and_half_the_outcomes_are_found_within_hours(factor: float) -> None:
    path = _wealth(factor * P, 48, 20, tolerance=0.1)
    # 13 outcomes are expected an hour; half of them gain 13 (1 - .5 + .5 log .5) = 2 nats.
    assert np.median((path >= np.log(1000)).argmax(axis=0)) <= 12
    assert (path[-1] >= np.log(1000)).all()


def test_averages_of_bins_never_win_more_than_their_rows() -> None:
    rng = np.random.default_rng(5)
    p = rng.uniform(0.01, 0.1, 500)
    y = rng.random(500) < p
    by_row = sum(log_bets(np.ones(1), np.array([a]), np.array([float(b)])) for a, b in zip(p, y, strict=True))
    together = log_bets(np.array([500.0]), np.array([p.sum()]), np.array([float(y.sum())]))
    assert (together <= by_row + 1e-9).all()


def test_more_clicks_than_impressions_are_all_of_them() -> None:
    assert np.isfinite(log_bets(np.array([10.0]), np.array([1.0]), np.array([25.0]))).all()
    assert pcoc_interval(1.0, 25, 10).pcoc == 0.1


def test_no_rows_and_no_probability_say_nothing() -> None:
    assert (log_bets_of(Calibration.nothing()) == np.zeros(TILTS.shape)).all()
    assert np.isnan(pcoc_interval(0.0, 0, 0).pcoc)
    assert pcoc_interval(3.0, 0, 100).high == np.inf


def test_nineteen_of_twenty_intervals_hold_the_true_ratio() -> None:
    y = np.random.default_rng(6).binomial(2000, 0.02, 500)
    found = [pcoc_interval(2000 * 0.03, float(k), 2000) for k in y]
    assert np.mean([f.low <= 1.5 <= f.high for f in found]) >= 0.95


def test_overconfident_rows_bring_less_than_they_said() -> None:
    rows = Calibration.of([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0], [1_000_000] * 4)
    assert mispriced_micros(rows) == 1_000_000 - 2_000_000
