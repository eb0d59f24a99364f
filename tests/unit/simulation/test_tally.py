"""Numbers of a run, apart for the time before and after a release."""

import pytest

from simulation.best_policy import Expected
from simulation.tally import Tally


def test_decisions_count_to_the_phase_of_the_release_they_name() -> None:
    tally = Tally()
    for release, clicks in (("cold-start", 1), ("100", 3), ("cold-start", 0), ("200", 2)):
        phase = tally.phase(release)
        phase.requests += 1
        phase.filled += 1
        phase.impressions += 3
        phase.clicks += clicks
        phase.revenue_micros += 1000 * clicks
        phase.value(Expected(3, 0.3, 0.1, 500.0), Expected(3, 0.6, 0.2, 2000.0))
    assert tally.releases == ["cold-start", "100", "200"]
    assert (tally.before.requests, tally.after.requests) == (2, 2)
    summary = tally.summary()
    assert (summary["requests"], summary["clicks"], summary["revenue_micros"]) == (4, 6, 6000)
    assert summary["before"]["ctr"] == pytest.approx(1 / 6)
    assert summary["after"]["ctr"] == pytest.approx(5 / 6)
    assert summary["after"]["expected_ctr"] == pytest.approx(0.1)
    assert summary["after"]["expected_revenue_per_request_micros"] == 500
    assert summary["best_possible"] == {"ctr": pytest.approx(0.2), "revenue_per_request_micros": 2000}


def test_a_run_without_requests_has_no_rates_and_no_division_by_zero() -> None:
    summary = Tally().summary()
    assert summary["fill_rate"] == 0
    assert summary["before"]["ctr"] == summary["after"]["revenue_per_request_micros"] == 0
    assert summary["latency_ms"] == {"p50": 0.0, "p95": 0.0, "p99": 0.0}


def test_before_any_release_the_best_possible_is_that_of_the_purchases_there_were() -> None:
    tally = Tally()
    phase = tally.phase("cold-start")
    phase.requests += 1
    phase.value(Expected(3, 0.3, 0.1, 500.0), Expected(3, 0.9, 0.2, 2000.0))
    assert tally.summary()["best_possible"]["ctr"] == pytest.approx(0.3)
