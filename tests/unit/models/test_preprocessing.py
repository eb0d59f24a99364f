"""What Transform makes of raw features, learned from rows and applied as serving does."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from learned import Learned, Unseen, learn

from features.assemble import request_tensors, to_tensor, to_tensors

MARKET = """
name = "shop"
currency = "EUR"
placements = [{ name = "main", count = 1 }]
features = [
  { name = "city", source = "shopper", missing = "own", vocabulary = ["Bonn", "Ulm"], oov_buckets = 3 },
  { name = "device", source = "context", missing = "own", vocabulary = 10, oov_buckets = 2 },
  { name = "street", source = "shopper", missing = "own", hash_buckets = 50, id_dropout = 0.2 },
  { name = "age", source = "shopper", dtype = "int", missing = "own", quantiles = 2, normalize = true },
  { name = "amount", source = "context", dtype = "float", missing = "own", quantiles = 2, normalize = true },
  { name = "fresh", source = "context", dtype = "float", missing = "own" },
  { name = "spent", source = "shopper", dtype = "int", default = 0, ranks = 3 },
  { name = "plain", source = "context", default = "x", vocabulary = ["x", "y"] },
  { name = "tags", source = "shopper", multiple = true, max_values = 3, vocabulary = 10, oov_buckets = 2 },
  { name = "visited", source = "context", dtype = "int", multiple = true, max_values = 2, hash_buckets = 30 },
  { name = "offer_id", source = "offer", default = "" },
  { name = "topics", source = "offer", multiple = true, max_values = 2, weighted = true, vocabulary = ["a", "b"] },
]
crosses = [
  { features = ["city", "device"], hash_buckets = 1000 },
  { features = ["city", "plain", "offer_id"], hash_buckets = 100_000 },
]
tasks = [{ name = "ctr", label = "click" }]
campaigns = [{ id = "c", advertiser = "a", bid_kind = "cpc", bid_micros = 1 }]
offers = [{ id = "o", campaign = "c", title = "t", landing_url = "https://example.com" }]
policy = { id = "p", priors = { ctr = 0.1 } }
"""
NAN = float("nan")
NONE = -(2**63)
TWO_LINES = "of\r\nold"
ROWS = [
    ("Bonn", "web", "a", 10, 1.0, NAN, "x", ["new", TWO_LINES, ""], "o1", 0),
    ("Ulm", "web", "b", 20, 3.0, NAN, "y", ["new", "", ""], "o2", 10),
    ("", "app", "", NONE, NAN, NAN, "x", ["", "", ""], "o1", 20),
    ("", "", "c", NONE, NAN, NAN, "x", ["", "", ""], "o1", 30),
]
NAMES = ("city", "device", "street", "age", "amount", "fresh", "plain", "tags", "offer_id", "spent")
BAGS = {"visited": [NONE, NONE], "topics": ["", ""], "topics_weights": [0.0, 0.0]}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    return learn(MARKET, [dict(zip(NAMES, row, strict=True)) | BAGS for row in ROWS], tmp_path_factory.mktemp("shop"))


def ask(shop: Learned, **values: Any) -> dict[str, Any]:
    """Columns of one request."""
    return {name: column[0] for name, column in shop.columns(request_tensors(shop.market, values)).items()}


def page(shop: Learned, offer_ids: Sequence[str], topics: Sequence[dict[str, float]] = (), **values: Any) -> dict[str, Any]:
    """Tensors of one request and some offers."""
    offer_id, described = shop.market.offer_features
    offers = to_tensors(offer_id, offer_ids) | to_tensors(described, topics or [{}] * len(offer_ids))
    return request_tensors(shop.market, values) | offers


def test_a_missing_value_is_an_id_and_a_bucket_of_its_own(shop: Learned) -> None:
    columns = ask(shop)
    own = ("city:id", "device:id", "street:id", "age:bucket", "amount:bucket", "fresh:range")
    assert [columns[name] for name in own] == [0] * 6
    known = ask(shop, city="Bonn", device="web", street="a", age=10, amount=3.0)
    assert all(known[name] > 0 for name in own[:5])


def test_a_missing_number_is_zero_with_an_indicator_and_leaves_mean_and_deviation_alone(shop: Learned) -> None:
    assert {n: ask(shop)[n] for n in ("age:z", "age:missing", "amount:z", "amount:missing")} == {
        "age:z": 0.0,
        "age:missing": 1.0,
        "amount:z": 0.0,
        "amount:missing": 1.0,
    }
    # 10 and 20 have mean 15 and standard deviation 5; 1 and 3 have mean 2 and standard deviation 1.
    known = ask(shop, age=20, amount=1.0)
    assert (known["age:z"], known["age:missing"]) == (1.0, 0.0)
    assert (known["amount:z"], known["amount:missing"]) == (-1.0, 0.0)
    assert (ask(shop, age=10)["age:bucket"], known["age:bucket"]) == (1, 2)


def test_a_number_that_training_never_saw_says_nothing(shop: Learned) -> None:
    columns = ask(shop, fresh=3.5)
    assert np.isfinite(columns["fresh:rank"])
    assert 0 < columns["fresh:range"] <= 64
    assert ask(shop)["fresh:rank"] == 0


def test_a_ranked_number_tells_its_default_apart_and_has_no_tail(shop: Learned) -> None:
    found = [ask(shop, spent=value) for value in (0, 10, 20, 30, 10**15)]
    ranges, ranks = [[columns[f"spent:{name}"] for columns in found] for name in ("range", "rank")]
    assert ranges[0] == 0 < ranges[1] < ranges[3] == ranges[4] == 3
    # Ranks of a third each have mean 0 and deviation 1 where they are spread evenly from -1.73 to 1.73.
    assert ranks == sorted(ranks)
    assert (ranks[0], ranks[3], ranks[4]) == pytest.approx((-np.sqrt(3), np.sqrt(3), np.sqrt(3)))


def test_unknown_values_are_spread_over_the_buckets_behind_the_vocabulary(shop: Learned) -> None:
    cities = {ask(shop, city=f"city {i}")["city:id"] for i in range(40)}
    devices = {ask(shop, device=f"device {i}")["device:id"] for i in range(40)}
    # 0 missing, 1 and 2 the vocabulary; the rows hold web and app.
    assert (cities, devices) == ({3, 4, 5}, {3, 4})
    assert {ask(shop, city=c)["city:id"] for c in ("Bonn", "Ulm")} == {1, 2}


def test_columns_have_as_many_ids_as_the_encoding_says(shop: Learned) -> None:
    assert dict(shop.encoding.request.ids) == {
        "city:id": 1 + 2 + 3,
        "device:id": 1 + 2 + 2,
        "street:id": 1 + 50,
        "age:bucket": 1 + 2,
        "amount:bucket": 1 + 2,
        "fresh:range": 1 + 64,
        "spent:range": 1 + 3,
        "plain:id": 2 + 1,
        "city*device:id": 1000,
    }
    assert shop.encoding.request.numbers == ("age:z", "age:missing", "amount:z", "amount:missing", "fresh:rank", "spent:rank")
    inputs = shop.packed(page(shop, ("o1", "?")))
    assert {name: tensor.shape for name, tensor in inputs.items()} == {
        "request_ids": (1, 9),
        "request_numbers": (1, 6),
        "offer_ids": (2, 1),
        "offer_numbers": (2, 0),
        "request_bag_ids": (1, 3 + 2),
        "request_bag_weights": (1, 3 + 2),
        "offer_bag_ids": (2, 2),
        "offer_bag_weights": (2, 2),
        "pair_ids": (2, 1),
        "pair_numbers": (2, 0),
    }


def test_ids_of_unseen_values_are_those_an_unknown_value_gets(shop: Learned) -> None:
    assert dict(shop.encoding.offer.unseen) == {"offer_id:id": Unseen(2, 1, 0.05)}
    assert dict(shop.encoding.request.unseen) == {"street:id": Unseen(1, 50, 0.2)}
    assert shop.packed(page(shop, ("never seen",)))["offer_ids"].item() == 2


def test_a_default_is_a_value_like_any_other(shop: Learned) -> None:
    assert ask(shop)["plain:id"] == ask(shop, plain="x")["plain:id"] == 0
    assert ask(shop, plain="?")["plain:id"] == 2


@pytest.mark.parametrize("name", ["city", "age", "amount"])
def test_null_and_the_value_that_stands_for_it_are_one(shop: Learned, name: str) -> None:
    feature = next(f for f in shop.market.features if f.name == name)
    null, stands_for_it = to_tensor(feature, [None]), to_tensor(feature, [feature.fill])
    np.testing.assert_array_equal(null, stands_for_it)


def test_a_cross_is_hashed_on_the_side_it_belongs_to(shop: Learned) -> None:
    encoding = shop.encoding
    assert encoding.request.ids[-1] == ("city*device:id", 1000)
    assert encoding.offer.ids == (("offer_id:id", 3),)
    assert encoding.pair.ids == (("city*plain*offer_id:id", 100_000),)


def test_a_cross_of_both_sides_has_one_id_per_offer(shop: Learned) -> None:
    bonn, ulm = (shop.packed(page(shop, ("o1", "o2", "o1"), city=c)) for c in ("Bonn", "Ulm"))
    assert (bonn["request_ids"].shape, bonn["pair_ids"].shape, bonn["pair_numbers"].shape) == ((1, 9), (3, 1), (3, 0))
    first, second, third = bonn["pair_ids"][:, 0].tolist()
    assert first == third != second
    # Four combinations in 100000 buckets.
    assert len({first, second, *ulm["pair_ids"][:2, 0].tolist()}) == 4


def test_a_cross_in_training_is_that_of_serving(shop: Learned) -> None:
    asked = page(shop, ("o1", "o2"), city="Bonn")
    rows = {name: x if len(x) == 2 else np.repeat(x, 2, axis=0) for name, x in asked.items()}
    np.testing.assert_array_equal(shop.packed(asked)["pair_ids"], shop.packed(rows)["pair_ids"])


def test_either_side_alone_needs_nothing_of_the_other(shop: Learned) -> None:
    alone = shop.columns(request_tensors(shop.market, {"city": "Bonn"}))
    assert "city*device:id" in alone
    assert not {"city*plain*offer_id:id", "offer_id:id"} & set(alone)


def test_a_bag_has_an_id_and_a_weight_per_value_and_none_beyond_them(shop: Learned) -> None:
    columns = ask(shop, tags=[TWO_LINES, "elsewhere"], visited=[7])
    # The vocabulary by frequency: new, that of two lines; then the two buckets of unknown values.
    assert columns["tags:ids"].tolist()[::2] == [1, 0]
    assert columns["tags:ids"][1] in (2, 3)
    assert columns["tags:weights"].tolist() == [1, 1, 0]
    assert columns["visited:weights"].tolist() == [1, 0]
    assert columns["visited:ids"][1] == 0
    assert ask(shop)["tags:weights"].tolist() == [0, 0, 0]
    assert shop.encoding.request.bags == (("tags", 2 + 2, 3), ("visited", 30, 2))


def test_weights_travel_beside_their_values(shop: Learned) -> None:
    columns = shop.columns(page(shop, ("o1", "o2"), [{"b": 0.5, "other": 2.0}, {}]))
    assert columns["topics:ids"].tolist() == [[1, 2], [0, 0]]
    assert columns["topics:weights"].tolist() == [[0.5, 2.0], [0, 0]]
