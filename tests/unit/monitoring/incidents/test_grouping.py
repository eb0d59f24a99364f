"""What moved together is one thing, named by the smallest slice that explains it and by what moved first."""

from found import HOUR, START, Found, missing

from monitoring.incidents.grouping import group
from monitoring.summaries import ALL, Series, Slice

APP = Slice("app_version", "4.2.0")
TEA = Slice("campaign", "tea")


def names(findings: list[Found]) -> list[list[tuple[str, str, Slice]]]:
    return [[(f.kind, f.series.name, f.slice) for f in one] for one in group(findings, HOUR)]


def test_a_slice_that_has_all_the_moved_rows_names_what_everything_shows():
    # 100 rows of the new app all lack it; seen in all 1,000 rows that is 10 % more: the same 99 rows.
    everywhere = missing(size=0.109, detail={"rows": 1_000})
    app = missing(of=APP, size=1.0, detail={"rows": 100})
    assert names([everywhere, app]) == [[("missing", "country", APP), ("missing", "country", ALL)]]


def test_what_moved_everywhere_is_named_by_no_slice():
    # Half of all 1,000 rows; the app's 100 rows have a tenth of them.
    findings = [missing(of=APP, size=0.51, detail={"rows": 100}), missing(size=0.51, detail={"rows": 1_000})]
    assert names(findings)[0][0] == ("missing", "country", ALL)


def test_without_rows_all_traffic_is_believed():
    assert names([missing(of=APP, size=0.3), missing(size=0.3)])[0][0] == ("missing", "country", ALL)


def test_the_feature_that_moved_first_names_what_follows_from_it():
    late = missing("amount", APP, since_ms=START + HOUR)
    prediction = Found("prediction", Series("probability", "ctr"), APP, since_ms=START)
    feature = missing("country", APP, since_ms=START)
    assert names([late, prediction, feature]) == [
        [("missing", "country", APP), ("prediction", "ctr", APP), ("missing", "amount", APP)]
    ]


def test_what_began_a_day_apart_or_in_another_slice_is_another_thing():
    findings = [missing("amount"), missing("country", since_ms=START + 24 * HOUR), missing("brand", TEA)]
    assert [len(one) for one in group(findings, HOUR)] == [1, 1, 1]


def test_what_a_feature_explains_goes_with_it():
    # The mix of countries moved; predictions moved with it and stay as they were within each.
    prediction = Found(
        "prediction", Series("probability", "ctr"), ALL, since_ms=START - 9 * HOUR, detail={"explained_by": "country"}
    )
    country = Found("distribution", Series("feature", "country"), ALL)
    assert names([prediction, country]) == [[("distribution", "country", ALL), ("prediction", "ctr", ALL)]]
    assert names([prediction]) == [[("prediction", "ctr", ALL)]]


def test_service_levels_join_nothing():
    slow = Found("latency", Series("flow", "latency"))
    empty = Found("no_fill", Series("flow", "no_fill"))
    assert [len(one) for one in group([slow, empty, Found("flow", Series("flow", "latency"))], HOUR)] == [1, 1, 1]


def test_nothing_found_is_no_group():
    assert group([], HOUR) == []
