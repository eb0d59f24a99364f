"""Service levels burn when what they allow is used up too fast, over a long window and a short one."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from found import HOUR, START

from monitoring.incidents import Habits, IncidentStore, State, incidents_path, reading
from monitoring.incidents.minutes import keep_counts, kept_counts
from monitoring.incidents.service_levels import Burning, Counts, Objectives, burning, count_decisions
from store.sqlite import transaction

MINUTE = HOUR // 60
OBJECTIVES = Objectives(objective_undegraded=0.99, objective_available=0.999, objective_filled=0.8)


def counts(*stretches: tuple[int, int, int]) -> Counts:
    """Minutes, and of each of them how many are good and bad."""
    good = np.concatenate([np.full(minutes, g) for minutes, g, _ in stretches])
    bad = np.concatenate([np.full(minutes, b) for minutes, _, b in stretches])
    return Counts(START + MINUTE * np.arange(len(good)), good.astype(np.int64), bad.astype(np.int64))


def burns(level: str, of: Counts, **changes: float) -> Burning | None:
    found = burning({level: of}, OBJECTIVES, HOUR, **changes)
    return found[0] if found else None


def test_an_hour_at_fifteen_times_what_is_allowed_burns_and_at_fourteen_does_not():
    # 1 % of decisions may be degraded: 14.4 times that is 14.4 %.
    assert burns("degraded", counts((600, 100, 0), (60, 85, 15))) is not None
    assert burns("degraded", counts((600, 1000, 0), (60, 860, 140))) is None


def test_what_is_over_burns_no_more():
    # The hour has 27 % in it still; its last five minutes have nothing.
    assert burns("degraded", counts((20, 0, 100), (40, 100, 0))) is None


def test_a_slow_leak_is_told_by_the_long_windows():
    # 7 % for six hours, then 1.2 % for three days.
    assert (
        burns(
            "degraded",
            counts((360, 93, 7)),
        ).detail["window_hours"]
        == 6.0
    )  # type: ignore[union-attr]
    slow = burns("degraded", counts((72 * 60, 988, 12)))
    assert slow is not None
    assert slow.detail["window_hours"] == 72.0
    assert (slow.size, slow.usual, slow.evidence) == pytest.approx((0.012, 0.01, 1.2))


def test_what_burnt_when_traffic_stopped_burns_no_more():
    # Looks at the gateway go on for two hours after the last decision.
    looks = counts((180, 12, 0))
    assert burning({"degraded": counts((60, 50, 50)), "availability": looks}, OBJECTIVES, HOUR) == []
    assert len(burning({"degraded": counts((60, 50, 50)), "availability": counts((100, 12, 0))}, OBJECTIVES, HOUR)) == 1


def test_few_decisions_say_nothing():
    assert burns("degraded", counts((60, 0, 1))) is None  # 60 of 60, and they are but 60
    assert burns("availability", counts((60, 100, 0), (5, 19, 0), (1, 0, 4))) is None  # 4 are no service level


def test_a_level_that_allows_much_burns_when_nearly_all_is_bad():
    # A fifth of the pages may be empty: no hour can burn 14.4 times as fast, but one with 80 % empty pages burns.
    burnt = burns("no_fill", counts((600, 90, 10), (60, 15, 85)), micros_per_page=2_000.0)
    assert burnt is not None
    # 100 pages a minute are 144,000 a day; 85 % - 20 % of them are lost, at 2,000 micros each.
    assert burnt.cost_micros_per_day == round(0.65 * 144_000 * 2_000)
    assert burnt.since_ms == START + 600 * MINUTE


def test_a_level_without_an_objective_is_not_watched():
    nothing = Objectives(objective_filled=0)
    assert burning({"no_fill": counts((60, 0, 100))}, nothing, HOUR) == []


def test_an_hour_is_the_24th_part_of_the_markets_day():
    # A demo's day of five minutes: an hour is 12.5 s, a minute 208 ms.
    hour = 12_500
    of = Counts(START + 208 * np.arange(60), np.full(60, 8, np.int64), np.full(60, 2, np.int64))
    assert burning({"degraded": of}, OBJECTIVES, hour)[0].since_ms == START


def test_rows_of_the_log_are_counted_by_minute():
    decisions = pa.table(
        {
            "time_ms": [START, START + 1, START + MINUTE],
            "total_us": [25_000, 25_001, 99],
            "degraded": pa.array([[], ["ranker"], None], pa.list_(pa.string())),
            "slots": pa.array([[{"a": 1}], [], None], pa.list_(pa.struct([("a", pa.int64())]))),
        }
    )
    found = count_decisions(decisions, OBJECTIVES, HOUR)
    assert {level: (c.good.tolist(), c.bad.tolist()) for level, c in found.items()} == {
        "latency": ([1, 1], [1, 0]),
        "degraded": ([1, 1], [1, 0]),
        "no_fill": ([1, 0], [1, 1]),
    }
    assert found["latency"].minute_ms.tolist() == [START, START + MINUTE]
    assert count_decisions(decisions.slice(0, 0), OBJECTIVES, HOUR) == {}


@pytest.fixture
def store(tmp_path: Path) -> IncidentStore:
    return IncidentStore(incidents_path(tmp_path), Habits(HOUR, quiet_hours=3))


def test_a_part_counted_twice_counts_once_and_old_minutes_go(store: IncidentStore):
    for source in ("part-1", "part-1", "part-2"):
        with transaction(store.connection):
            keep_counts(store.connection, source, {"latency": counts((2, 5, 1))}, HOUR, START + HOUR)
    kept = kept_counts(store.connection)["latency"]
    assert (kept.good.tolist(), kept.bad.tolist()) == ([10, 10], [2, 2])
    later = Counts(np.array([START + 74 * HOUR]), np.array([1]), np.array([0]))
    with transaction(store.connection):
        keep_counts(store.connection, "part-3", {"latency": later}, HOUR, START + 75 * HOUR)
    assert kept_counts(store.connection)["latency"].minute_ms.tolist() == [START + 74 * HOUR]


def test_what_a_clock_far_ahead_wrote_does_not_blind_the_rest(store: IncidentStore):
    ahead = Counts(np.array([START + 10_000 * HOUR]), np.array([1]), np.array([0]))
    with transaction(store.connection):
        keep_counts(store.connection, "part-1", {"latency": counts((2, 5, 1))}, HOUR, START + HOUR)
        keep_counts(store.connection, "part-2", {"latency": ahead}, HOUR, START + HOUR)
        keep_counts(store.connection, "part-3", {"latency": counts((2, 5, 1))}, HOUR, START + HOUR)
    assert kept_counts(store.connection)["latency"].good.tolist() == [10, 10]


def test_a_burning_level_is_an_incident_at_once_and_closes_when_it_has_not_burnt_for_an_hour(store: IncidentStore):
    burnt = burns("degraded", counts((60, 50, 50)))
    assert burnt is not None
    for minute in range(3):
        store.observe_levels([burnt], START + minute * MINUTE, START + minute * MINUTE)
    (incident,) = reading.live_incidents(store.connection)
    assert (incident.title, incident.state) == ("Fallbacks answer", State.OPEN)
    assert incident.against_usual == "50 % of decisions in which one did, allowed 1 %"
    # Hours of the statistics, quiet or not, are nothing to it.
    for hour in range(5):
        store.observe(START + hour * HOUR, [], START)
    store.observe_levels([], START + 55 * MINUTE, START)
    assert len(reading.live_incidents(store.connection)) == 1
    store.observe_levels([], START + 62 * MINUTE, START)
    assert reading.live_incidents(store.connection) == []
    store.observe_levels([burnt], START + 63 * MINUTE, START)
    assert [e.change for e in reading.history(store.connection, incident.id)] == ["opened", "closed", "reopened"]
