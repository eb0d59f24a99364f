"""A market of one slice and a few series, watched for days: what is found, where, when, and what is not."""

from collections.abc import Callable, Iterable

import numpy as np
import pytest

from domain.errors import ContractError
from monitoring.detection.detector import Detector
from monitoring.detection.finding import Finding
from monitoring.detection.profile import Profile, profile
from monitoring.detection.reference import earlier_hours
from monitoring.detection.weather import EARLIEST_OPINION_HOURS
from monitoring.summaries import ALL, FLOW, Calibration, Flows, HourSummary, Numbers, Series, Slice, Summary, Values

HOUR_MS = 3_600_000
START_MS = 1_767_571_200_000  # a Monday, 00:00 UTC
AMOUNT, COLOUR = Series("feature", "amount"), Series("feature", "colour")
APPS = ("old", "new", "web")
ROWS = 600
Break = Callable[[dict[str, np.ndarray]], None]


def _hour(index: int, broken: Break | None = None, rows: int = ROWS) -> Profile:
    """A busier afternoon, and three apps with a third of the rows each."""
    rng = np.random.default_rng([5, index])
    n = int(rng.poisson(rows * (1 + 0.5 * np.sin(index / 24 * 2 * np.pi))))
    columns = {
        "app": rng.integers(0, len(APPS), n),
        "amount": np.round(rng.lognormal(3, 0.5, n), 2),
        "colour": rng.choice(["red", "green", "blue"], n, p=[0.5, 0.3, 0.2]).astype(object),
        "p": np.round(rng.uniform(0.05, 0.2, n), 3),
        "truth": np.ones(n),
    }
    if broken is not None:
        broken(columns)
    by: dict[tuple[Slice, Series], Summary] = {}
    y = rng.random(n) < columns["p"] * columns["truth"]
    for part in (ALL, *(Slice("app", a) for a in APPS)):
        at = np.ones(n, dtype=bool) if part == ALL else columns["app"] == APPS.index(part.value)
        values, counts = np.unique(columns["colour"][at].astype(str), return_counts=True)
        by[part, AMOUNT] = Numbers.of(columns["amount"][at])
        by[part, COLOUR] = Values.of(dict(zip(values.tolist(), counts.tolist(), strict=True)), int(at.sum()))
        by[part, Series("calibration", "ctr")] = Calibration.of(columns["p"][at], y[at], np.full(int(at.sum()), 100_000))
        size = int(at.sum())
        by[part, FLOW] = Flows(
            {"pages": size, "wanted": 2 * size, "filled": 2 * size - 3, "charged_micros": 100_000 * int(y[at].sum())}
        )
    return profile([HourSummary(START_MS + index * HOUR_MS, "r1", by)])


class Watch:
    """A detector, and the hours that it has seen."""

    def __init__(self) -> None:
        self.detector = Detector()
        self.seen: dict[int, Profile] = {}

    def see(self, now: Profile) -> list[Finding]:
        found = self.detector.step(now, [self.seen[at] for at in earlier_hours(now.hour_ms) if at in self.seen])
        self.seen[now.hour_ms] = now
        return found

    def watch(self, hours: Iterable[int], broken: Break | None = None) -> list[Finding]:
        return [f for i in hours for f in self.see(_hour(i, broken))]

    def again(self) -> "Watch":
        """After it was killed and restarted."""
        twin = Watch()
        twin.detector, twin.seen = Detector.from_bytes(self.detector.to_bytes()), dict(self.seen)
        return twin


NOW = 24 * 10
"""Hour of a Thursday, after a week and a half."""


@pytest.fixture(scope="module")
def healthy() -> Watch:
    watch = Watch()
    assert watch.watch(range(NOW)) == []
    return watch


def _missing(columns: dict[str, np.ndarray]) -> None:
    columns["amount"][columns["app"] == 1] = np.nan


def _cents(columns: dict[str, np.ndarray]) -> None:
    columns["amount"] *= 100


def _far(columns: dict[str, np.ndarray]) -> None:
    columns["amount"][: len(columns["amount"]) // 6] = 90.0


def _violet(columns: dict[str, np.ndarray]) -> None:
    columns["colour"][: len(columns["colour"]) // 10] = "violet"


def _no_blue(columns: dict[str, np.ndarray]) -> None:
    columns["colour"][columns["colour"] == "blue"] = "green"


@pytest.mark.parametrize(
    ("broken", "kind", "series", "part"),
    [
        (_missing, "missing", AMOUNT, Slice("app", "new")),
        (_cents, "distribution", AMOUNT, ALL),
        (_far, "tail", AMOUNT, ALL),
        (_violet, "new_value", COLOUR, ALL),
        (_no_blue, "vanished_value", COLOUR, ALL),
    ],
    ids=["a feature is missing in one app", "cents for euros", "a sixth moves far out", "a new value", "a value vanishes"],
)
def test_a_large_fault_is_found_within_the_hour_and_named(
    healthy: Watch, broken: Break, kind: str, series: Series, part: Slice
) -> None:
    found = healthy.again().watch([NOW], broken)
    assert (kind, series, part) in [(f.kind, f.series, f.slice) for f in found]
    assert {f.series for f in found} == {series}
    assert (found[0].slice, found[0].release, found[0].seen_ms) == (part, "r1", START_MS + NOW * HOUR_MS)
    assert found[0].evidence >= 0


def test_on_the_third_day_a_large_fault_is_found_within_the_hour_too() -> None:
    watch = Watch()
    assert watch.watch(range(EARLIEST_OPINION_HOURS)) == []
    for broken, kind, part in ((_missing, "missing", Slice("app", "new")), (_cents, "distribution", ALL)):
        found = watch.again().watch([EARLIEST_OPINION_HOURS], broken)
        assert (kind, AMOUNT, part) in [(f.kind, f.series, f.slice) for f in found]


def test_before_it_can_compare_it_has_no_opinion() -> None:
    watch = Watch()
    watch.watch(range(EARLIEST_OPINION_HOURS - 1))
    assert watch.watch([EARLIEST_OPINION_HOURS - 1], _missing) == []


def test_of_one_earlier_day_no_value_is_new() -> None:
    watch = Watch()
    watch.watch(range(24))
    at = watch.detector.streams
    watch.watch(range(24, 26))
    new = [i for s, i in at.items() if s.kind == "new_value"]
    assert new
    assert (watch.detector.weather.hours[new] == 0).all()


def test_sizes_are_in_the_features_own_unit(healthy: Watch) -> None:
    (missing, *_) = [f for f in healthy.again().watch([NOW], _missing) if f.kind == "missing"]
    assert missing.size == 1.0
    assert missing.usual == 0.0
    (moved, *_) = [f for f in healthy.again().watch([NOW], _cents) if f.kind == "distribution"]
    # The mean of exp(3 + .5 z) is 22.8, so that 99 times as much is added.
    assert moved.size == pytest.approx(99 * 22.8, rel=0.1)


def test_outcomes_that_halve_are_miscalibration_and_cost_what_the_rows_did_not_bring(healthy: Watch) -> None:
    def halved(columns: dict[str, np.ndarray]) -> None:
        columns["truth"][:] = 0.4

    found = healthy.again().watch(range(NOW, NOW + 8), halved)
    calibration = [f for f in found if f.kind == "calibration"]
    assert calibration[-1].slice == ALL
    assert calibration[-1].size == pytest.approx(2.5, rel=0.3)
    # 600 rows at .125 for 100,000 micros, of which six tenths do not come.
    assert calibration[-1].cost_micros_per_day == pytest.approx(24 * 0.6 * 600 * 0.125 * 100_000, rel=0.5)


def test_bets_of_all_slices_name_the_one_that_is_off_and_begin_anew_with_a_release(healthy: Watch) -> None:
    def off_in_new(columns: dict[str, np.ndarray]) -> None:
        columns["truth"][columns["app"] == 1] = 0.3

    watch = healthy.again()
    assert watch.detector.miscalibrated() == []
    found = watch.watch(range(NOW, NOW + 8), off_in_new)
    told = [f.detail for f in found if f.kind == "calibration"]
    assert "app new" in str(told[-1]["surely_off"])
    assert "app old" not in str(told[-1]["surely_off"])
    assert not any("surely_off" in f.detail for f in found if f.kind != "calibration")
    named = [stream.slice for stream, _ in watch.again().detector.miscalibrated()]
    assert Slice("app", "new") in named
    assert not {Slice("app", "old"), Slice("app", "web")} & set(named)
    by: dict[tuple[Slice, Series], Summary] = {(ALL, AMOUNT): Numbers.of([1.0])}
    watch.see(profile([HourSummary(START_MS + (NOW + 8) * HOUR_MS, "r2", by)]))
    assert watch.detector.miscalibrated() == []


def test_killed_and_restarted_at_every_hour_it_finds_the_same(healthy: Watch) -> None:
    def slowly(columns: dict[str, np.ndarray]) -> None:
        columns["amount"] *= 1.12

    through, restarted, said = healthy.again(), healthy.again(), []
    for i in range(NOW, NOW + 12):
        restarted = restarted.again()
        said.append((through.watch([i], slowly), restarted.watch([i], slowly)))
    assert any(a for a, _ in said)
    assert all(a == b for a, b in said)


def test_an_alarm_says_since_when_and_ends_when_the_fault_does(healthy: Watch) -> None:
    watch = healthy.again()
    for i in range(NOW, NOW + 5):
        assert watch.watch([i], _missing)[0].since_ms <= START_MS + NOW * HOUR_MS
    assert watch.watch(range(NOW + 5, NOW + 26)) == []


def test_a_clock_that_jumped_back_is_not_believed_twice(healthy: Watch) -> None:
    watch = healthy.again()
    assert watch.watch([NOW - 1, NOW - 30], _missing) == []
    assert watch.watch([NOW], _missing) != []


def test_hours_that_are_missing_are_skipped(healthy: Watch) -> None:
    assert healthy.again().watch(range(NOW + 9, NOW + 20)) == []
    assert healthy.again().watch([NOW + 9], _missing) != []


def test_a_clock_that_jumped_a_year_ahead_finds_nothing_to_compare_with(healthy: Watch) -> None:
    assert healthy.again().watch([NOW + 24 * 365], _missing) == []


def test_an_hour_without_anything_says_nothing(healthy: Watch) -> None:
    empty = profile([HourSummary(START_MS + NOW * HOUR_MS, "r1", {})])
    assert healthy.again().see(empty) == []
    assert Detector().step(profile([]), []) == []


def test_under_a_hundred_rows_are_too_few_for_a_distance_and_under_thirty_for_a_rate(healthy: Watch) -> None:
    for rows, broken, found in ((60, _cents, set()), (60, _missing, {"missing"}), (20, _missing, set())):
        few = _hour(NOW, broken, rows=rows)
        assert {f.kind for f in healthy.again().see(few) if f.series.kind == "feature"} == found


def test_a_feature_that_goes_missing_altogether_is_missing(healthy: Watch) -> None:
    def gone(columns: dict[str, np.ndarray]) -> None:
        columns["amount"][:] = np.nan

    (first, *_) = healthy.again().watch([NOW], gone)
    assert (first.kind, first.size, first.slice) == ("missing", 1.0, ALL)


def _days(watch: Watch, make: Callable[[np.random.Generator], Summary], days: int = 4) -> list[Finding]:
    found = []
    for i in range(24 * days):
        by: dict[tuple[Slice, Series], Summary] = {(ALL, AMOUNT): make(np.random.default_rng([9, i]))}
        found += watch.see(profile([HourSummary(START_MS + i * HOUR_MS, "r1", by)]))
    return found


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: Numbers.of(np.full(500, 7.0)),
        lambda rng: Numbers.of(np.full(500, np.nan)),
        lambda rng: Numbers.of(rng.standard_cauchy(500) * 1e12),
        lambda rng: Numbers.of(np.zeros(0)),
        lambda rng: Values.of({"only": 500}, 500),
        lambda rng: Values.of({}, 500, missing=500),
        lambda rng: Values.of(dict.fromkeys((f"id {i}" for i in rng.integers(0, 1_000_000, 3000)), 1), 3000),
    ],
    ids=["constant", "all missing", "heavy tails", "no rows", "one value", "no values", "a million values"],
)
def test_odd_features_are_watched_in_peace(make: Callable[[np.random.Generator], Summary]) -> None:
    assert _days(Watch(), make) == []


def test_values_too_rare_to_be_counted_each_do_not_vanish_in_an_hour_with_so_few_that_all_are() -> None:
    watch = Watch()
    _days(watch, lambda rng: Values.of(dict.fromkeys((f"id {i}" for i in range(300)), 10), 3000))
    by: dict[tuple[Slice, Series], Summary] = {(ALL, AMOUNT): Values.of(dict.fromkeys((f"id {i}" for i in range(120)), 1), 120)}
    found = watch.see(profile([HourSummary(START_MS + 24 * 4 * HOUR_MS, "r1", by)]))
    assert "vanished_value" not in {f.kind for f in found}


@pytest.mark.parametrize("constant", [7.0, 0.0])
def test_a_constant_that_changes_is_found(constant: float) -> None:
    watch = Watch()
    assert _days(watch, lambda rng: Numbers.of(np.full(500, constant)), days=7) == []
    by: dict[tuple[Slice, Series], Summary] = {(ALL, AMOUNT): Numbers.of(np.full(500, constant + 2.0))}
    (found, *_) = watch.see(profile([HourSummary(START_MS + 24 * 7 * HOUR_MS, "r1", by)]))
    assert (found.series, found.kind, found.size) == (AMOUNT, "tail", 1.0)  # all rows are beyond what they were


def test_a_row_or_two_that_leave_a_constant_are_no_shift() -> None:
    """As the hour of the day, of purchases just before its end that are decided just after it."""
    watch = Watch()
    _days(watch, lambda rng: Numbers.of(np.full(150, 12.0)), days=7)
    by: dict[tuple[Slice, Series], Summary] = {(ALL, AMOUNT): Numbers.of([11.0] * 2 + [12.0] * 148)}
    assert watch.see(profile([HourSummary(START_MS + 24 * 7 * HOUR_MS, "r1", by)])) == []


def test_more_pages_cost_nothing_and_fewer_do(healthy: Watch) -> None:
    def costs(times: float) -> set[bool]:
        now = _hour(NOW)
        flows = {part: counts | {"pages": round(counts["pages"] * times)} for part, counts in now.flows.items()}
        found = healthy.again().see(Profile(now.hour_ms, now.releases, now.numbers, now.values, flows, now.calibrations))
        return {f.cost_micros_per_day > 0 for f in found if f.series == Series(FLOW.kind, "pages")}

    assert (costs(4.0), costs(0.25)) == ({False}, {True})


def test_more_clicks_than_impressions_and_conversions_than_clicks_break_nothing(healthy: Watch) -> None:
    now = _hour(NOW)
    broken = {part: {**counts, "impressions": 5, "clicks": 900, "conversions": 1000} for part, counts in now.flows.items()}
    strange = Profile(now.hour_ms, now.releases, now.numbers, now.values, broken, now.calibrations)
    healthy.again().see(strange)


def test_releases_are_slices_of_their_own_while_there_are_two() -> None:
    by: dict[tuple[Slice, Series], Summary] = {(ALL, AMOUNT): Numbers.of([1.0, 2.0])}
    both = profile([HourSummary(0, "r1", by), HourSummary(0, "r2", by)])
    assert both.numbers[AMOUNT].slices == (ALL, Slice("release", "r1"), Slice("release", "r2"))
    assert both.numbers[AMOUNT].rows.tolist() == [4.0, 2.0, 2.0]


def test_killed_again_and_again_it_ends_up_knowing_the_same_to_the_last_bit() -> None:
    whole, killed = Watch(), Watch()
    for day in range(10):
        hours = range(day * 24, day * 24 + 24)
        assert whole.watch(hours) == killed.watch(hours)
        killed = killed.again()
    assert whole.detector.simulated.ratios  # of slices with few rows, as their reference was when they were first judged
    assert killed.detector.to_bytes() == whole.detector.to_bytes()


def test_weekends_are_compared_with_weekends() -> None:
    saturday = START_MS + 12 * 24 * HOUR_MS
    assert [(saturday - at) // (24 * HOUR_MS) for at in earlier_hours(saturday)] == [6, 7, 13, 14]
    # A day of five minutes has no weekend.
    assert len(earlier_hours(saturday, day_ms=300_000)) == 14


@pytest.mark.parametrize("state", [b"", b"not a state", b"PK\x03\x04"])
def test_a_damaged_state_is_refused(state: bytes) -> None:
    with pytest.raises(ContractError, match="state of the detector"):
        Detector.from_bytes(state)
