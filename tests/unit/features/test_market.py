"""A wrong market file gets an error that names the key, the value and what was expected."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from domain.errors import InvalidMarket
from features.market import load_market, parse_market

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
    assert (by_name["amount"].quantiles, by_name["amount"].normalize) == (10, True)


TAGS = {"name": "tags", "source": "offer", "multiple": True, "max_values": 2}
WRONG: list[tuple[str, Change, str, str]] = [
    ("unknown key", lambda m: m.update(colour="red"), "colour", "Extra inputs"),
    ("missing key", lambda m: m.pop("currency"), "currency", "nothing"),
    ("currency", lambda m: m.update(currency="euro"), "currency", "'euro'"),
    ("dtype", lambda m: m["features"][1].update(dtype="double"), 'features[1 "amount"].dtype', "'double'"),
    ("default's type", lambda m: m["features"][1].update(default="much"), 'features[1 "amount"]', "must be a number"),
    (
        "importance without conversions",
        lambda m: m.update(tasks=m["tasks"][:1], campaigns=m["campaigns"][:1], training={"delayed_labels": "importance"}),
        "market.toml",
        "training.delayed_labels: 'importance' needs a served task given",
    ),
    (
        "column beside a label",
        lambda m: m["features"][0].update(name="click_usable"),
        "market.toml",
        "'click_usable' is reserved",
    ),
    ("reserved name", lambda m: m["features"][0].update(name="position"), 'features[0 "position"]', "reserved"),
    ("no counter", lambda m: m["features"][2].pop("counter"), 'features[2 "clicks"]', "counter"),
    ("no default", lambda m: m["features"][1].pop("default"), 'features[1 "amount"]', "`default` is required"),
    ("default too", lambda m: m["features"][1].update(missing="own"), 'features[1 "amount"]', "0.0"),
    (
        "missing in vocabulary",
        lambda m: m["features"][0].update(missing="own", default=None, vocabulary=["", "DE"]),
        'features[0 "country"]',
        "must not list",
    ),
    (
        "crossed float",
        lambda m: m.update(crosses=[{"features": ["country", "amount"], "hash_buckets": 9}]),
        "market.toml",
        "crosses[0].features: 'amount' is not a string or int feature",
    ),
    (
        "crossed with itself",
        lambda m: m.update(crosses=[{"features": ["country", "country"], "hash_buckets": 9}]),
        "market.toml",
        "crosses[0].features: expected different features",
    ),
    (
        "crossed twice",
        lambda m: m.update(crosses=[{"features": n, "hash_buckets": 9} for n in (["clicks", "country"], ["country", "clicks"])]),
        "market.toml",
        "cross 'clicks*country' is defined twice",
    ),
    (
        "crossed alone",
        lambda m: m.update(crosses=[{"features": ["country"], "hash_buckets": 9}]),
        "crosses[0].features",
        "country",
    ),
    ("list of floats", lambda m: m["features"].append(TAGS | {"dtype": "float"}), 'features[5 "tags"]', "string or int one"),
    ("list's default", lambda m: m["features"].append(TAGS | {"default": "x"}), 'features[5 "tags"]', "`default` is required"),
    ("missing list", lambda m: m["features"].append(TAGS | {"missing": "own"}), 'features[5 "tags"]', "neither missing nor"),
    (
        "weighted ints",
        lambda m: m["features"].append(TAGS | {"dtype": "int", "weighted": True}),
        'features[5 "tags"]',
        "weighted belongs to",
    ),
    (
        "name of weights",
        lambda m: m["features"].extend([TAGS | {"weighted": True}, {"name": "tags_weights", "source": "offer", "default": ""}]),
        "market.toml",
        "'tags_weights' is defined twice",
    ),
    (
        "no list",
        lambda m: (m["features"].append(TAGS), m["offers"][0]["features"].update(tags="a")),
        "market.toml",
        "offers.o1.features.tags: must be a list, got 'a'",
    ),
    (
        "long list",
        lambda m: (m["features"].append(TAGS), m["offers"][0]["features"].update(tags=["a", "b", "c"])),
        "market.toml",
        "offers.o1.features.tags: must have at most 2 values, got 3",
    ),
    (
        "slices of lists",
        lambda m: (m["features"].append(TAGS), m.update(training={"slices": ["tags"]})),
        "market.toml",
        "training.slices: 'tags' is not a feature with single values",
    ),
    ("dropout", lambda m: m["features"][1].update(id_dropout=0.1), 'features[1 "amount"]', "id_dropout needs a vocabulary"),
    ("no bucket", lambda m: m["features"][0].update(oov_buckets=0), 'features[0 "country"].oov_buckets', "0"),
    ("hashed float", lambda m: m["features"][1].update(hash_buckets=9), 'features[1 "amount"]', "float feature takes"),
    ("twice", lambda m: m["offers"].append(m["offers"][0]), "market.toml", "offer 'o1' is defined twice"),
    ("given", lambda m: m["tasks"][1].update(given="view"), "market.toml", "tasks.cvr.given"),
    ("prior missing", lambda m: m["policy"].update(priors={"ctr": 0.1}), "market.toml", "prior for task 'cvr'"),
    ("prior range", lambda m: m["policy"].update(priors={"ctr": 1.5, "cvr": 0.1}), "policy", "(0, 1)"),
    ("negative bid", lambda m: m["campaigns"][0].update(bid_micros=-5), 'campaigns[0 "c1"].bid_micros', "-5"),
    ("fractional bid", lambda m: m["campaigns"][0].update(bid_micros=0.5), 'campaigns[0 "c1"].bid_micros', "0.5"),
    (
        "targeting",
        lambda m: m["campaigns"][0].update(targeting={"category": ["x"]}),
        "market.toml",
        "'category' is not a shopper",
    ),
    ("targeting value", lambda m: m["campaigns"][0].update(targeting={"country": [3]}), "market.toml", "must be a string"),
    ("offer's campaign", lambda m: m["offers"][0].update(campaign="c9"), "market.toml", "'c9'"),
    ("offer's feature", lambda m: m["offers"][0].update(features={"amount": 3}), "market.toml", "'amount' is not a feature"),
    ("landing url", lambda m: m["offers"][0].update(landing_url="javascript:x"), 'offers[0 "o1"].landing_url', "javascript"),
    ("cpa without cvr", lambda m: m.update(tasks=m["tasks"][:1]), "market.toml", "cpa needs a task that predicts"),
    (
        "slice that is nothing",
        lambda m: m.update(training={"calibration": {"slices": ["city"]}}),
        "market.toml",
        "training.calibration.slices: expected a string or int feature with single values, or 'campaign' where there is an offer "
        "feature 'offer_id'",
    ),
    (
        "slice of lists",
        lambda m: m["features"].append(TAGS) or m.update(training={"calibration": {"slices": ["tags"]}}),
        "market.toml",
        "with single values, or 'campaign' where there is an offer feature 'offer_id', got 'tags'",
    ),
    ("slice of floats", lambda m: m.update(training={"calibration": {"slices": ["amount"]}}), "market.toml", "got 'amount'"),
    (
        "campaign without offer_id",
        lambda m: (m["features"].pop(3), m.update(training={"calibration": {"slices": ["campaign"]}})),
        "market.toml",
        "got 'campaign'",
    ),
    ("max_missing", lambda m: m.update(training={"max_missing": {"x": 0.1}}), "market.toml", "training.max_missing: 'x'"),
    ("split", lambda m: m.update(training={"split": {"kind": "time"}}), "training.split", "`by` names the column"),
]


@pytest.mark.parametrize(("change", "key", "said"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_a_wrong_market_names_key_and_value(raw_market: dict[str, Any], change: Change, key: str, said: str) -> None:
    change(raw_market)
    with pytest.raises(InvalidMarket) as caught:
        parse_market(raw_market)
    assert caught.value.field == key
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"name = ", "valid TOML"), (b"\xff\xfe", "UTF-8"), (None, "no such file")],
    ids=["syntax", "encoding", "absent"],
)
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "market.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidMarket, match=r"market\.toml") as caught:
        load_market(path)
    assert said in str(caught.value)
