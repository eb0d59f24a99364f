"""`make faults` in small: eight healthy days, two faults, and what the rows make of them."""

import pytest

from benchmarks.faults.faults import FAULTS, SIZES
from benchmarks.faults.rows import Clean, Row, false_alarms, row, rows_of, tuned_threshold
from benchmarks.faults.runs import OURS, FaultRun, Watched, healthy_and_broken
from monitoring.summaries import ALL, Slice


@pytest.fixture(scope="module")
def said() -> list[Watched | FaultRun]:
    faults = [FAULTS["missing-in-version"], FAULTS["bots"]]
    small = {"pages_per_hour": 700, "history_h": 24 * 8, "within_h": 16, "patience_h": 2}
    return list(healthy_and_broken(1, faults, ["large"], 17, slices=("app_version",), **small))


def test_large_faults_are_found_within_two_hours_and_named(said: list[Watched | FaultRun]) -> None:
    rows = rows_of([r for r in said if isinstance(r, FaultRun)], {})
    ours = {r.fault: r for r in rows if isinstance(r, Row) and r.detector == OURS}
    assert set(ours) == {"missing-in-version", "bots"}
    assert all(r.hours_to_detection in (1, 2) and r.feature_right and r.money_lost_micros > 0 for r in ours.values())
    assert ours["missing-in-version"].slice_right


def test_healthy_hours_are_quiet(said: list[Watched | FaultRun]) -> None:
    (clean,) = (w for w in said if isinstance(w, Watched))
    rows = rows_of([], {1: clean})
    (ours,) = (r for r in rows if isinstance(r, Clean) and r.detector == OURS)
    assert (ours.false_alarms, ours.weeks, ours.fault) == (0, 17 / 168, "none")


def test_twelve_faults_of_three_sizes_each_larger_than_the_next() -> None:
    assert len(FAULTS) == 12
    assert all(list(f.amounts) == sorted(f.amounts, reverse=True) and len(f.amounts) == len(SIZES) for f in FAULTS.values())


def test_what_alarmed_before_the_fault_finds_nothing() -> None:
    run = FaultRun("bots", "large", 1, Watched(), Watched(lost_micros=[5.0, 7.0]))
    alarm = ("invalid_events", Slice("device", "desktop"))
    assert row(run, "any", [[alarm]], [[alarm], [alarm]]).hours_to_detection is None
    found = row(run, "any", [[("amount", ALL)]], [[("amount", ALL)], [("amount", ALL), alarm]])
    assert (found.hours_to_detection, found.feature_right, found.slice_right, found.money_lost_micros) == (2, True, True, 12)


def test_alarms_that_go_on_are_one_and_others_are_more() -> None:
    x, y, quiet = [("x", ALL)], [("y", ALL)], []
    assert false_alarms([x, x, quiet, quiet, x, quiet]) == 1
    assert false_alarms([x, quiet, quiet, quiet, quiet, x]) == 2
    assert false_alarms([x, x + y, y]) == 2


def test_a_baseline_is_tuned_to_the_least_threshold_that_keeps_quiet() -> None:
    hours = [{"x": float(h % 50)} for h in range(168)]
    threshold = tuned_threshold("any", [Watched(scores={"any": hours})])
    assert 0 < threshold <= 49
