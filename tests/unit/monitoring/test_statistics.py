"""What the views of features and predictions draw, derived by hand."""

from pathlib import Path

import numpy as np
import pytest
from found import HOUR, START, missing

from monitoring.dashboard import feature_routes, prediction_routes, today_routes
from monitoring.dashboard.course import course_of
from monitoring.dashboard.incident_routes import opinion_from_ms
from monitoring.dashboard.statistics import Statistics, distance, joined, shares_of
from monitoring.incidents import Habits, IncidentStore, incidents_path, reading
from monitoring.summaries import ALL, FLOW, Calibration, Flows, HourSummary, Numbers, Series, Slice, Summary, Values
from monitoring.watch import MonitorStore
from monitoring.watch.slicing import Tally

DAY = 24 * HOUR
COUNTRY, AMOUNT = Series("feature", "country"), Series("feature", "amount")
CTR = Series("calibration", "ctr")


def know(log_dir: Path, *hours: HourSummary) -> Statistics:
    store = MonitorStore.to_write(log_dir)
    for hour in hours:
        tally = Tally()
        tally.by[hour.hour_ms, hour.release] = dict(hour.by)
        with store.writing():
            store.add_pages(hour.hour_ms, 1, 1.0)
            store.reach(hour.hour_ms, 3)
            store.merge(tally)
    store.close()
    return Statistics(log_dir, 86_400)


def at(hour: int, **by: Summary) -> HourSummary:
    series = {"country": COUNTRY, "amount": AMOUNT, "flow": FLOW, "ctr": CTR}
    return HourSummary(START + hour * HOUR, "1700000010", {(ALL, series[name]): summary for name, summary in by.items()})


def test_distances_are_in_their_own_units():
    assert distance(Numbers.of([1, 2, 3]), Numbers.of([4, 5, 6])) == pytest.approx(3)
    # A fifth of the rows would have to have another country.
    assert distance(Values(10, 0, 0, {"DE": 6, "NL": 4}), Values(10, 0, 0, {"DE": 8, "NL": 2})) == pytest.approx(0.2)
    assert distance(Numbers.of([1]), Values(1, 0, 0, {"1": 1})) is None
    assert distance(None, Numbers.of([1])) is None


def test_a_feature_that_became_a_number_is_what_it_is_now():
    assert isinstance(joined([Values(1, 0, 0, {"1": 1}), Numbers.of([2]), Numbers.of([3])]), Numbers)
    assert joined([]) is None


def test_shares_of_nothing_are_no_error():
    assert shares_of(Numbers.of([])) == {"rows": 0, "missing": 0.0, "unknown": None}


def test_until_the_third_day_it_is_too_early_to_tell_and_the_page_says_until_when(tmp_path: Path):
    country = Values(10, 0, 0, {"DE": 8, "NL": 2})
    assert opinion_from_ms(Statistics(tmp_path, 86_400)) is None  # nobody watches, which is said instead
    assert opinion_from_ms(know(tmp_path, at(0, country=country), at(47, country=country))) == START + 48 * HOUR
    assert opinion_from_ms(know(tmp_path, at(48, country=country))) is None


def test_features_are_held_against_the_same_hours_of_the_day_before(tmp_path: Path):
    before, now = Values(10, 0, 0, {"DE": 8, "NL": 2}), Values(10, 5, 1, {"DE": 3, "NL": 2})
    statistics = know(tmp_path, at(0, country=before), at(24, country=now))
    (row,) = statistics.answer(("x",), lambda store, last: feature_routes._listed(store, last, statistics))["features"]
    assert (row["missing"], row["missing_before"], row["unknown"]) == (0.5, 0.0, 0.2)
    assert row["moved"] == pytest.approx(0.2)
    one = statistics.answer(("y",), lambda store, last: feature_routes._one(store, last, statistics, "country", ALL))
    assert one["distribution"]["labels"] == ["DE", "NL", "(others)", "(missing)"]
    assert one["distribution"]["now"] == [0.3, 0.2, 0.0, 0.5]
    assert one["hours"][-1]["distance"] == pytest.approx(0.2)


def test_values_are_new_and_gone(tmp_path: Path):
    statistics = know(
        tmp_path, at(0, country=Values(10, 0, 0, {"DE": 8, "NL": 2})), at(30, country=Values(5, 0, 0, {"DE": 4, "de": 1}))
    )
    one = statistics.answer(("y",), lambda store, last: feature_routes._one(store, last, statistics, "country", ALL))
    assert (one["new"], one["gone"]) == ([{"value": "de", "count": 1}], [{"value": "NL", "count": 2}])


def test_few_numbers_are_shown_each_and_many_in_bins(tmp_path: Path):
    statistics = know(tmp_path, at(0, amount=Numbers.of([1, 1, 2, 5])))
    few = statistics.answer(("y",), lambda store, last: feature_routes._one(store, last, statistics, "amount", ALL))
    assert (few["distribution"]["labels"], few["distribution"]["now"]) == ([1.0, 2.0, 5.0], [0.5, 0.25, 0.25])
    many = feature_routes._distribution(Numbers.of(np.linspace(0, 100, 10_000)), None, None)
    assert many is not None
    assert len(many["labels"]) == 32
    assert sum(many["now"]) == pytest.approx(1)


def test_an_answer_is_made_anew_when_the_watch_knows_more(tmp_path: Path):
    statistics = know(tmp_path, at(0, amount=Numbers.of([1])))
    made: list[int] = []
    for _ in range(2):
        statistics.answer(("z",), lambda _, last: made.append(last) or {})  # type: ignore[func-returns-value]
    know(tmp_path, at(1, amount=Numbers.of([1])))
    statistics.answer(("z",), lambda _, last: made.append(last) or {})  # type: ignore[func-returns-value]
    assert made == [START, START + HOUR]


def test_the_last_day_is_compared_in_hours_that_both_know(tmp_path: Path):
    week = 7 * 24
    hours = [at(0, flow=Flows({"pages": 100})), at(week, flow=Flows({"pages": 90})), at(week + 1, flow=Flows({"pages": 50}))]
    statistics = know(tmp_path, *hours)
    said = statistics.answer(("t",), lambda store, last: today_routes._today(store, last, statistics))
    assert said["days_before"] == 7
    assert said["totals"]["pages"] == {"now": 140, "compared": 90, "before": 100}


def test_predictions_by_slice_have_intervals_evidence_and_money(tmp_path: Path):
    p = np.full(1_000, 0.1)
    right, wrong = np.arange(1_000) < 100, np.arange(1_000) < 50
    price = np.full(1_000, 1_000_000)
    wine = Slice("campaign", "wine")
    by: dict[tuple[Slice, Series], Summary] = {
        (ALL, CTR): Calibration.of(p, right, price),
        (wine, CTR): Calibration.of(p, wrong, price),
        (Slice("campaign", "few"), CTR): Calibration.of(p[:99], right[:99], price[:99]),
    }
    statistics = know(tmp_path, HourSummary(START, "1700000010", by))
    said = statistics.answer(("p",), lambda store, last: prediction_routes._listed(store, last, statistics))
    (task,) = said["tasks"]
    assert task["all"]["pcoc"] == pytest.approx(1)
    assert task["all"]["evidence"] == 0
    assert [(s["by"], s["value"]) for s in task["slices"]] == [("campaign", "wine"), ("release", "1700000010")]
    # 100 were promised and 50 came, in one hour, at 1.00 each: 50 too few, 24 times a day.
    assert task["slices"][0]["micros_per_day"] == -50 * 24 * 1_000_000
    assert task["slices"][0]["low"] > 1.5
    assert task["slices"][0]["evidence"] > 2
    assert task["bins"][0]["p"] == pytest.approx(0.1)


def test_an_incident_is_seen_against_the_hours_before(tmp_path: Path):
    statistics = know(tmp_path, *(at(h, country=Values(10, 1 + 8 * (h > 2), 0, {"DE": 9 - 8 * (h > 2)})) for h in range(5)))
    store = IncidentStore(incidents_path(tmp_path), Habits(HOUR))
    store.observe(START + 4 * HOUR, [missing(since_ms=START + 3 * HOUR)], START + 5 * HOUR)
    (incident,) = reading.live_incidents(store.connection)
    course = course_of(incident, statistics, store.connection)
    assert [one["value"] for one in course] == [0.1, 0.1, 0.1, 0.9, 0.9]
    assert course_of(incident, Statistics(None, 86_400), store.connection) == []
