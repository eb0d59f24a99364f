"""E-values return at most 1 on average without a change, and e-detectors are quiet for as long as was promised."""

import numpy as np

from monitoring.detection.distances import Floats
from monitoring.detection.evidence import BETS, RUN_LENGTH_HOURS, advance, combined, e_bh, log_e_values, threshold


def _run_lengths(streams: int, horizon: int, runs: int, shift: float = 0.0, after: int = 0) -> Floats:
    """Hours to the first alarm of any stream, `horizon` where none came."""
    rng = np.random.default_rng(7)
    log_m = np.full((runs, streams, len(BETS)), -np.inf)
    length = np.full(runs, float(horizon))
    over = threshold(np.full(streams, 1 / streams))
    for hour in range(horizon):
        z = rng.normal(size=(runs, streams))
        z[:, 0] += shift * (hour >= after)
        log_m = advance(log_m, log_e_values(z))
        alarm = (combined(log_m) >= over).any(axis=1)
        length = np.where(alarm & (length == horizon), hour + 1.0, length)
    return length


def test_each_bet_returns_one_on_average() -> None:
    # Far bets win rarely and much, so that only the near ones can be averaged; the integral of the others is the same formula.
    returns = np.exp(log_e_values(np.random.default_rng(1).normal(size=200_000)))
    assert np.allclose(returns[:, :3].mean(axis=0), 1.0, atol=0.02)


def test_missing_hours_return_one() -> None:
    assert (log_e_values(np.array([np.nan])) == 0.0).all()


def test_false_alarms_come_at_most_once_a_week_whatever_the_number_of_streams() -> None:
    for streams in (1, 40):
        # Cut off at four weeks, so that the mean is a lower bound.
        assert _run_lengths(streams, 4 * RUN_LENGTH_HOURS, 60).mean() > RUN_LENGTH_HOURS


def test_most_healthy_weeks_are_quiet() -> None:
    assert (_run_lengths(40, RUN_LENGTH_HOURS, 100) < RUN_LENGTH_HOURS).mean() < 0.5


def test_a_large_shift_is_found_within_the_hour_and_a_small_one_within_days() -> None:
    assert np.median(_run_lengths(100, 72, 40, shift=8.0, after=24)) == 25
    assert np.median(_run_lengths(100, 72, 40, shift=3.0, after=24)) <= 24 + 6
    assert np.median(_run_lengths(100, 120, 40, shift=1.0, after=24)) <= 24 + 72


def test_all_streams_together_have_one_false_alarm_a_week_to_spend() -> None:
    weights = np.array([0.5, 0.25, 0.25])
    assert np.isclose((1 / np.exp(threshold(weights))).sum(), 1 / RUN_LENGTH_HOURS)


def test_e_bh_rejects_the_large_ones_and_no_others() -> None:
    # Of four at a rate of .1 the first must reach 40, two together 20 each.
    assert e_bh(np.log([25.0, 1.0, 22.0, 0.1]), 0.1).tolist() == [True, False, True, False]
    assert not e_bh(np.log([25.0, 1.0, 1.0, 0.1]), 0.1).any()


def test_e_bh_holds_its_rate_without_any_effect() -> None:
    e = np.log(np.random.default_rng(2).exponential(size=(4000, 30)))  # of mean 1
    assert np.mean([e_bh(row, 0.2).any() for row in e]) <= 0.2
