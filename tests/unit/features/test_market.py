"""A wrong market file gets an error that names the key, the value and what was expected."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pytest

from domain.errors import InvalidMarket
from domain.refusals import PATTERNS
from features.market import Market, load_market, parse_market
from features.market_warnings import market_warnings

Change = Callable[[dict[str, Any]], object]


def test_a_right_market_is_read(raw_market: dict[str, Any]) -> None:
    market = parse_market(raw_market)
    assert [f.name for f in market.request_features] == ["country", "amount", "clicks"]
    assert market.campaign_by_id["c2"].bid_kind.billed_on == "conversion"


def test_offer_values_fall_back_to_the_id_and_to_the_default(raw_market: dict[str, Any]) -> None:
    market = parse_market(raw_market)
    values = [{f.name: market.offer_value(o, f) for f in market.offer_features} for o in market.offers]
    assert values == [{"offer_id": "o1", "category": "food"}, {"offer_id": "o2", "category": "other"}]


def test_encodings_are_chosen_by_dtype_unless_given(raw_market: dict[str, Any]) -> None:
    by_name = {f.name: f for f in parse_market(raw_market).features}
    assert by_name["country"].vocabulary == 1000
    assert (by_name["amount"].ranks, by_name["amount"].quantiles, by_name["amount"].normalize) == (64, None, False)


TAGS = {"name": "tags", "source": "offer", "multiple": True, "max_values": 2}
AN_INSTANT = "expected a date with time, such as 2026-12-01T08:00:00Z"
WRONG: list[tuple[str, Change, str]] = [
    ("unknown key", lambda m: m.update(colour="red"), "colour: there is no such key"),
    ("missing key", lambda m: m.pop("currency"), "currency: is missing"),
    ("currency", lambda m: m.update(currency="euro"), "currency: expected three capital letters, such as EUR, got 'euro'"),
    (
        "dtype",
        lambda m: m["features"][1].update(dtype="double"),
        "features[1 \"amount\"].dtype: expected 'string', 'int' or 'float', got 'double'",
    ),
    (
        "default's type",
        lambda m: m["features"][1].update(default="much"),
        "features[1 \"amount\"].default: must be a number, got 'much'",
    ),
    (
        "importance without conversions",
        lambda m: m.update(tasks=m["tasks"][:1], campaigns=m["campaigns"][:1], training={"delayed_labels": "importance"}),
        "training.delayed_labels: 'importance' needs a served task given 'click' whose space is 'conditional'",
    ),
    (
        "values without conversions",
        lambda m: m.update(tasks=m["tasks"][:1], campaigns=m["campaigns"][:1], value={}),
        "value: is that of conversions: expected a task that is given the first one's label",
    ),
    (
        "the name of values",
        lambda m: (m["tasks"][1].update(label="conversion_value_micros"), m.update(value={})),
        "tasks: 'conversion_value_micros' is the column and the output of [value]",
    ),
    (
        "column beside a label",
        lambda m: m["features"][0].update(name="click_usable"),
        "features: 'click_usable' is reserved: training rows have a column of that name beside their labels",
    ),
    (
        "reserved name",
        lambda m: m["features"][0].update(name="position"),
        "features[0 \"position\"].name: 'position' is reserved: training rows have a column of that name",
    ),
    (
        "no counter",
        lambda m: m["features"][2].pop("counter"),
        'features[2 "clicks"].counter: belongs to source history, and is needed there: impression, click or conversion',
    ),
    (
        "no default",
        lambda m: m["features"][1].pop("default"),
        'features[1 "amount"].default: is missing, and needed unless `missing` is "own" or `multiple` is true',
    ),
    (
        "default too",
        lambda m: m["features"][1].update(missing="own"),
        'features[1 "amount"].default: cannot be given where `missing` is "own" or `multiple` is true',
    ),
    (
        "missing in vocabulary",
        lambda m: m["features"][0].update(missing="own", default=None, vocabulary=["", "DE"]),
        'features[0 "country"].vocabulary: must not list "": it stands for no value',
    ),
    (
        "crossed float",
        lambda m: m.update(crosses=[{"features": ["country", "amount"], "hash_buckets": 9}]),
        "crosses[0].features: 'amount' is not a string or int feature with single values",
    ),
    (
        "crossed with itself",
        lambda m: m.update(crosses=[{"features": ["country", "country"], "hash_buckets": 9}]),
        "crosses[0].features: expected different features, got ['country', 'country']",
    ),
    (
        "crossed twice",
        lambda m: m.update(crosses=[{"features": n, "hash_buckets": 9} for n in (["clicks", "country"], ["country", "clicks"])]),
        "crosses: 'clicks*country' is defined twice",
    ),
    (
        "crossed alone",
        lambda m: m.update(crosses=[{"features": ["country"], "hash_buckets": 9}]),
        "crosses[0].features: expected at least 2 entries, got ['country']",
    ),
    (
        "list of floats",
        lambda m: m["features"].append(TAGS | {"dtype": "float"}),
        'features[5 "tags"]: a multiple feature is a string or int one with vocabulary or hash_buckets, and no history',
    ),
    (
        "list's default",
        lambda m: m["features"].append(TAGS | {"default": "x"}),
        'features[5 "tags"].default: cannot be given where `missing` is "own" or `multiple` is true',
    ),
    (
        "missing list",
        lambda m: m["features"].append(TAGS | {"missing": "own"}),
        'features[5 "tags"]: a multiple feature takes neither missing nor id_dropout: an empty list is a state of its own',
    ),
    (
        "weighted ints",
        lambda m: m["features"].append(TAGS | {"dtype": "int", "weighted": True}),
        'features[5 "tags"]: weighted belongs to a multiple string feature',
    ),
    (
        "name of weights",
        lambda m: m["features"].extend([TAGS | {"weighted": True}, {"name": "tags_weights", "source": "offer", "default": ""}]),
        "labels or features: 'tags_weights' is defined twice",
    ),
    (
        "no list",
        lambda m: (m["features"].append(TAGS), m["offers"][0]["features"].update(tags="a")),
        "offers[0 \"o1\"].features.tags: must be a list, got 'a'",
    ),
    (
        "long list",
        lambda m: (m["features"].append(TAGS), m["offers"][0]["features"].update(tags=["a", "b", "c"])),
        'offers[0 "o1"].features.tags: must have at most 2 values, got 3',
    ),
    (
        "slices of lists",
        lambda m: (m["features"].append(TAGS), m.update(training={"slices": ["tags"]})),
        "training.slices: 'tags' is not a string or int feature with single values",
    ),
    (
        "watched lists",
        lambda m: (m["features"].append(TAGS), m.update(monitoring={"slices": ["placement", "tags"]})),
        "monitoring.slices: 'tags' is not a string or int feature with single values, nor placement, position, campaign "
        "or partner",
    ),
    (
        "watched twice",
        lambda m: m.update(monitoring={"slices": ["country", "campaign", "country"]}),
        "monitoring.slices: lists 'country' twice",
    ),
    (
        "nothing is watched",
        lambda m: m.update(monitoring={"rows_per_hour": 0}),
        "monitoring.rows_per_hour: expected at least 1000, got 0",
    ),
    (
        "dropout",
        lambda m: m["features"][1].update(id_dropout=0.1),
        'features[1 "amount"]: id_dropout needs a vocabulary or hash_buckets',
    ),
    (
        "no bucket",
        lambda m: m["features"][0].update(oov_buckets=0),
        'features[0 "country"].oov_buckets: expected at least 1, got 0',
    ),
    (
        "hashed float",
        lambda m: m["features"][1].update(hash_buckets=9),
        'features[1 "amount"]: a float feature takes ranks, quantiles or normalize, not vocabulary or hash_buckets',
    ),
    ("twice", lambda m: m["offers"].append(m["offers"][0]), "offers: 'o1' is defined twice"),
    (
        "given",
        lambda m: m["tasks"][1].update(given="view"),
        "tasks[1 \"cvr\"].given: expected the label of another task, got 'view'",
    ),
    ("prior missing", lambda m: m["policy"].update(priors={"ctr": 0.1}), "policy.priors: expected a prior for task 'cvr'"),
    (
        "prior range",
        lambda m: m["policy"].update(priors={"ctr": 1.5, "cvr": 0.1}),
        "policy.priors.ctr: expected a number above 0 and below 1, got 1.5",
    ),
    (
        "negative bid",
        lambda m: m["campaigns"][0].update(bid_micros=-5),
        'campaigns[0 "c1"].bid_micros: expected a number above 0, got -5',
    ),
    (
        "fractional bid",
        lambda m: m["campaigns"][0].update(bid_micros=0.5),
        'campaigns[0 "c1"].bid_micros: expected a whole number, got 0.5',
    ),
    (
        "targeting",
        lambda m: m["campaigns"][0].update(targeting={"category": ["x"]}),
        "campaigns[0 \"c1\"].targeting: 'category' is not a shopper or context feature with single values",
    ),
    (
        "targeting value",
        lambda m: m["campaigns"][0].update(targeting={"country": [3]}),
        'campaigns[0 "c1"].targeting.country: must be a string, got 3',
    ),
    (
        "offer's campaign",
        lambda m: m["offers"][0].update(campaign="c9"),
        "offers[0 \"o1\"].campaign: expected one of the campaigns, got 'c9'",
    ),
    (
        "offer's feature",
        lambda m: m["offers"][0].update(features={"amount": 3}),
        "offers[0 \"o1\"].features: 'amount' is not a feature with source offer",
    ),
    (
        "landing url",
        lambda m: m["offers"][0].update(landing_url="javascript:x"),
        "offers[0 \"o1\"].landing_url: expected an address that begins with https:// or http://, got 'javascript:x'",
    ),
    (
        "cpa without cvr",
        lambda m: m.update(tasks=m["tasks"][:1]),
        'campaigns[1 "c2"].bid_kind: cpa needs a task that predicts conversions given a click',
    ),
    (
        "slice that is nothing",
        lambda m: m.update(training={"calibration": {"slices": ["city"]}}),
        "training.calibration.slices: 'city' is not a string or int feature with single values",
    ),
    (
        "slice of lists",
        lambda m: m["features"].append(TAGS) or m.update(training={"calibration": {"slices": ["tags"]}}),
        "training.calibration.slices: 'tags' is not a string or int feature with single values",
    ),
    (
        "slice of floats",
        lambda m: m.update(training={"calibration": {"slices": ["amount"]}}),
        "training.calibration.slices: 'amount' is not a string or int feature with single values",
    ),
    (
        "campaign without offer_id",
        lambda m: (m["features"].pop(3), m.update(training={"calibration": {"slices": ["campaign"]}})),
        "training.calibration.slices: 'campaign' needs an offer feature 'offer_id'",
    ),
    # What never serves.
    (
        "end before start",
        lambda m: m["campaigns"][0].update(starts=datetime(2026, 12, 1, tzinfo=UTC), ends=datetime(2026, 11, 1)),  # noqa: DTZ001
        'campaigns[0 "c1"].ends: expected an instant after `starts`, 2026-12-01T00:00:00+00:00, got 2026-11-01T00:00:00+00:00',
    ),
    (
        "end at its start",
        lambda m: m["campaigns"][0].update(starts="2026-12-01T00:00:00Z", ends="2026-12-01T01:00:00+01:00"),
        'campaigns[0 "c1"].ends: expected an instant after `starts`, 2026-12-01T00:00:00+00:00, got 2026-12-01T01:00:00+01:00',
    ),
    ("a year", lambda m: m["campaigns"][0].update(starts=2026), f'campaigns[0 "c1"].starts: {AN_INSTANT}, got 2026'),
    ("a year in quotes", lambda m: m["campaigns"][0].update(ends="2026"), f"campaigns[0 \"c1\"].ends: {AN_INSTANT}, got '2026'"),
    ("a fraction", lambda m: m["campaigns"][0].update(ends=1.8e9), f'campaigns[0 "c1"].ends: {AN_INSTANT}, got 1800000000.0'),
    ("true", lambda m: m["campaigns"][0].update(ends=True), f'campaigns[0 "c1"].ends: {AN_INSTANT}, got true'),
    ("a time", lambda m: m["campaigns"][0].update(ends=time(8, 30)), f'campaigns[0 "c1"].ends: {AN_INSTANT}, got 08:30:00'),
    (
        "no such time zone",
        lambda m: m["campaigns"][0].update(time_zone="Europe/Berln"),
        "campaigns[0 \"c1\"].time_zone: expected a time zone such as Europe/Berlin, got 'Europe/Berln'",
    ),
    (
        "a short day of a place",
        lambda m: (m["policy"].update(day_length_s=300), m["campaigns"][0].update(time_zone="Europe/Berlin")),
        'campaigns[0 "c1"].time_zone: expected UTC, since days of 300 s (policy.day_length_s) are those of no place, '
        "got 'Europe/Berlin'",
    ),
    (
        "targeting by what is no number",
        lambda m: m["campaigns"][0].update(targeting={"not": {"country": {"min": 3}}}),
        "campaigns[0 \"c1\"].targeting.not.country.min: 'country' is not a number",
    ),
    (
        "targeting deep within",
        lambda m: m["campaigns"][0].update(targeting={"or": [{"country": ["DE"]}, {"planet": {"not_in": ["Mars"]}}]}),
        "campaigns[0 \"c1\"].targeting.or[1]: 'planet' is not a shopper or context feature with single values",
    ),
    (
        "targeting nothing",
        lambda m: m["campaigns"][0].update(targeting={"country": []}),
        'campaigns[0 "c1"].targeting.country: expected at least 1 entry, got []',
    ),
    (
        "targeting no list",
        lambda m: m["campaigns"][0].update(targeting={"country": "DE"}),
        "campaigns[0 \"c1\"].targeting.country: expected a list, got 'DE'",
    ),
    (
        "cpm of nothing",
        lambda m: m["campaigns"][0].update(bid_kind="cpm", bid_micros=999),
        'campaigns[0 "c1"].bid_micros: expected at least 1000 for cpm, which is 1 per impression, got 999',
    ),
    (
        "no offer feature",
        lambda m: (m.update(features=m["features"][:3]), m["offers"][0].pop("features")),
        "features: expected one with source offer at least: nothing tells the offers apart",
    ),
    # Types, and what a union would take.
    ("a table for a list", lambda m: m.update(placements={"main": 3}), "placements: expected a list"),
    ("text for a table", lambda m: m.update(policy="p1"), "policy: expected a table, got 'p1'"),
    (
        "a date for a value",
        lambda m: m["campaigns"][0].update(targeting={"country": [date(2026, 1, 2)]}),
        'campaigns[0 "c1"].targeting.country[0]: expected a string or a whole number or a number, got 2026-01-02',
    ),
    (
        "no bid kind",
        lambda m: m["campaigns"][0].update(bid_kind="cpx"),
        "campaigns[0 \"c1\"].bid_kind: expected 'cpm', 'cpc' or 'cpa', got 'cpx'",
    ),
    ("too many slots", lambda m: m["placements"][0].update(count=21), 'placements[0 "main"].count: expected at most 20, got 21'),
    (
        "half a slot",
        lambda m: m["placements"][0].update(count="few"),
        "placements[0 \"main\"].count: expected a whole number, got 'few'",
    ),
    (
        "vocabulary",
        lambda m: m["features"][0].update(vocabulary="DE"),
        "features[0 \"country\"].vocabulary: expected a whole number or a list, got 'DE'",
    ),
    (
        "listed twice",
        lambda m: m["features"][0].update(vocabulary=["DE", "DE"]),
        "features[0 \"country\"].vocabulary: lists 'DE' twice",
    ),
    (
        "a campaign's id with blanks",
        lambda m: m["campaigns"][0].update(id="c 1"),
        "campaigns[0 \"c 1\"].id: expected up to 64 letters, digits, . _ and -, a letter or digit first, got 'c 1'",
    ),
    (
        "an offer's id with a blank at an end",
        lambda m: m["offers"][0].update(id="o1 "),
        "offers[0 \"o1 \"].id: expected 1 to 64 printable characters, no space first or last, got 'o1 '",
    ),
    ("no title", lambda m: m["offers"][0].update(title=""), "offers[0 \"o1\"].title: expected at least 1 character, got ''"),
    ("head", lambda m: m.update(model={"head": "ple"}), "model.head: expected 'separate' or 'mmoe', got 'ple'"),
    ("weight", lambda m: m["tasks"][0].update(weight=0), 'tasks[0 "ctr"].weight: expected a number above 0, got 0'),
    ("weighted by nothing", lambda m: m["policy"].update(epsilon=float("nan")), "policy.epsilon: expected at most 1, got nan"),
    ("max_missing", lambda m: m.update(training={"max_missing": {"x": 0.1}}), "training.max_missing: 'x' is not a feature"),
    (
        "split",
        lambda m: m.update(training={"split": {"kind": "time"}}),
        "training.split.by: names the column for kind hash or time, and is absent for random",
    ),
]


@pytest.mark.parametrize(("change", "said"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_a_wrong_market_gets_one_line_with_key_and_value(raw_market: dict[str, Any], change: Change, said: str) -> None:
    change(raw_market)
    with pytest.raises(InvalidMarket) as caught:
        parse_market(raw_market)
    assert str(caught.value) == said
    assert said.startswith(caught.value.field + ": ")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name = ", "is not valid TOML: Invalid value (at end of document)"),
        (b"\xff\xfe", "is not UTF-8 text: invalid start byte at byte 0"),
        (None, "no such file"),
        ("a folder", "cannot be read: Is a directory"),
    ],
    ids=["syntax", "encoding", "absent", "folder"],
)
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes | str | None, said: str) -> None:
    path = tmp_path / "market.toml"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        path.mkdir()
    with pytest.raises(InvalidMarket) as caught:
        load_market(path)
    assert str(caught.value) == f"{path}: {said}"


def test_a_date_is_midnight_utc_and_so_is_a_time_without_an_offset(raw_market: dict[str, Any]) -> None:
    raw_market["campaigns"][0].update(starts=date(2026, 12, 1), ends=datetime(2026, 12, 1, 8))  # noqa: DTZ001
    campaign = parse_market(raw_market).campaigns[0]
    assert (campaign.starts, campaign.ends) == (datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 1, 8, tzinfo=UTC))


def patterns(schema: object) -> Iterator[str]:
    """Every regular expression of a JSON schema."""
    if isinstance(schema, dict):
        yield from (schema["pattern"],) if isinstance(schema.get("pattern"), str) else ()
        for value in schema.values():
            yield from patterns(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from patterns(value)


def test_no_regular_expression_is_shown_to_anyone() -> None:
    assert set(patterns(Market.model_json_schema())) <= PATTERNS.keys()


NOW_MS = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp() * 1000)
WARNED: list[tuple[str, Change, list[str]]] = [
    ("all is well", lambda m: None, []),
    (
        "past",
        lambda m: m["campaigns"][0].update(ends="2026-06-01T00:00:00Z"),
        ['campaigns[0 "c1"].ends: is past, it is shown no more'],
    ),
    (
        "not live",
        lambda m: m["campaigns"][0].update(status="paused"),
        ['campaigns[0 "c1"].status: is paused, it is shown nowhere'],
    ),
    (
        "not approved",
        lambda m: m["offers"][0].update(review="pending"),
        ['offers[0 "o1"].review: is pending, it is shown nowhere'],
    ),
    ("the last second", lambda m: m["campaigns"][0].update(ends="2026-06-01T00:00:01Z"), []),
    (
        "budget of less than a sale",
        lambda m: m["campaigns"][1].update(daily_budget_micros=8_999_999),
        ['campaigns[1 "c2"].daily_budget_micros: is less than its bid for one conversion, 9000000'],
    ),
    (
        "budget of an impression",
        lambda m: m["campaigns"][0].update(bid_kind="cpm", bid_micros=2_000_000, daily_budget_micros=2000),
        [],
    ),
    (
        "below the reserve",
        lambda m: m["policy"].update(reserve_ecpm_micros=500_000_001),
        ['campaigns[0 "c1"].bid_micros: its eCPM never reaches policy.reserve_ecpm_micros, 500000001'],
    ),
    ("no offer", lambda m: m["offers"].pop(), ['campaigns[1 "c2"]: no offer belongs to it']),
    (
        "value of no vocabulary",
        lambda m: (
            m["features"][0].update(vocabulary=["DE", "NL"]),
            m["campaigns"][0].update(targeting={"country": ["UK", "DE", "DE"]}),
        ),
        [
            "campaigns[0 \"c1\"].targeting.country: lists 'DE' twice",
            "campaigns[0 \"c1\"].targeting.country: 'UK' is not in the vocabulary of country",
        ],
    ),
    (
        "twins",
        lambda m: m["offers"].append(m["offers"][0] | {"id": "o3"}),
        ["offers[2 \"o3\"]: says the same as 'o1' and leads to the same address"],
    ),
]


@pytest.mark.parametrize(("change", "said"), [w[1:] for w in WARNED], ids=[w[0] for w in WARNED])
def test_what_will_not_sell_is_warned_of(raw_market: dict[str, Any], change: Change, said: list[str]) -> None:
    change(raw_market)
    assert market_warnings(parse_market(raw_market), NOW_MS) == said


def test_slices_are_watched_where_there_are_few_values_unless_the_market_names_them(
    raw_market: dict[str, Any],
) -> None:
    raw = raw_market
    raw["features"][0]["vocabulary"] = ["DE", "NL"]
    assert parse_market(raw).watched_slices == ("country", "placement", "campaign")
    assert parse_market(raw | {"monitoring": {"slices": ["partner"]}}).watched_slices == ("partner",)
    assert parse_market(raw | {"monitoring": {"slices": []}}).watched_slices == ()
