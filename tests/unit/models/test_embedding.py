"""What a row's ids become; above all, that of an offer which training never met."""

import warnings
from pathlib import Path

import numpy as np
from learned import Learned, learn

from features.model_spec import ModelSpec

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own imports
    from models.embedding import GroupEmbedding
    from models.fit import Rows, fit_ranker
    from models.preprocessing import Group, Unseen

MARKET = """
name = "shop"
currency = "EUR"
placements = [{ name = "main", count = 1 }]
features = [
  { name = "country", source = "shopper", default = "DE", vocabulary = ["DE", "NL"] },
  { name = "offer_id", source = "offer", default = "" },
  { name = "category", source = "offer", default = "other", vocabulary = ["shoes", "cars", "games", "food"] },
]
tasks = [{ name = "ctr", label = "click" }]
campaigns = [{ id = "c", advertiser = "a", bid_kind = "cpc", bid_micros = 1 }]
offers = [{ id = "o", campaign = "c", title = "t", landing_url = "https://example.com" }]
policy = { id = "p", priors = { ctr = 0.1 } }
model = { batch_size = 256 }
"""
CTR = {"shoes": 0.05, "cars": 0.1, "games": 0.2, "food": 0.4}
OFFERS = 40
HELD_OUT = range(4)  # one of each category


def offer_tensors(numbers: np.ndarray) -> dict[str, np.ndarray]:
    """Offer i is of category i mod 4, and nothing else matters."""
    category = np.array([c.encode() for c in CTR], object)[numbers % 4]
    return {"offer_id": np.array([f"offer-{i}".encode() for i in numbers], object), "category": category}


def predicted_for_unseen_offers(folder: Path) -> np.ndarray:
    """CTR of an offer per category, none of which is among the rows that trained."""
    rng = np.random.default_rng(5)
    trained = np.arange(len(HELD_OUT), OFFERS)
    tensors = offer_tensors(trained)
    rows = [{"country": b"DE", **{k: v[i] for k, v in tensors.items()}} for i in range(len(trained))]
    shop = learn(MARKET, rows, folder)

    def sample(n: int) -> Rows:
        shown = rng.choice(trained, n)
        click = rng.random(n) < np.array(list(CTR.values()))[shown % 4]
        return Rows(packed(shop, shown), {"click": click.astype(np.float32)})

    fitted, _ = fit_ranker(shop.market, shop.encoding, sample(12_000), sample(2_000), lambda _: None)
    return np.asarray(fitted.probabilities(packed(shop, np.array(HELD_OUT))))[:, 0]


def packed(shop: Learned, offers: np.ndarray) -> dict[str, np.ndarray]:
    country = np.full(len(offers), b"DE", object)
    return shop.packed({"country": country, **offer_tensors(offers)})


GROUP = Group(ids=(("offer_id:id", 10), ("category:id", 4)), numbers=("price:z",), unseen={"offer_id:id": Unseen(7, 3, 0.25)})
BAGS = Group(ids=(("offer_id:id", 10),), numbers=(), bags=(("tags", 5, 3), ("brands", 4, 2)))
ROWS = 4000


def embedded_ids(group: Group, ids: np.ndarray, *, training: bool) -> np.ndarray:
    """[N, F] the ids whose embeddings come out: a table whose row i holds i says which."""
    layer = GroupEmbedding(group, ModelSpec(embedding_dim=1), "offer")
    numbers = np.full((len(ids), len(group.numbers)), 0.5, np.float32)
    layer(ids, numbers)
    layer.set_weights([np.arange(sum(size for _, size in group.ids), dtype=np.float32)[:, None]])
    out = layer(ids, numbers, training=training).numpy()
    np.testing.assert_array_equal(out[:, len(group.ids) :], numbers)
    return out[:, : len(group.ids)] - np.array([0, 10], np.float32)[: len(group.ids)]


def test_ids_are_what_they_are_in_serving() -> None:
    ids = np.array([[2, 3], [9, 0]], np.int32)
    np.testing.assert_array_equal(embedded_ids(GROUP, ids, training=False), ids)


def test_a_share_of_the_ids_in_training_are_those_of_unseen_values() -> None:
    ids = np.tile(np.array([[2, 3]], np.int32), (ROWS, 1))
    offer_id, category = embedded_ids(GROUP, ids, training=True).T
    np.testing.assert_array_equal(category, 3)
    assert set(np.unique(offer_id)) == {2, 7, 8, 9}
    # A binomial share of 0.25 in 4000 draws has a standard deviation of 0.007.
    assert abs(np.mean(offer_id != 2) - 0.25) < 0.03


def test_a_bag_is_the_weighted_mean_of_its_values() -> None:
    layer = GroupEmbedding(BAGS, ModelSpec(embedding_dim=2), "offer")
    ids, numbers = np.array([[7], [7]], np.int32), np.zeros((2, 0), np.float32)
    bag_ids = np.array([[1, 4, 0, 3, 0], [0, 0, 0, 0, 0]], np.int32)
    bag_weights = np.array([[1, 3, 0, 0.5, 0], [0, 0, 0, 0, 0]], np.float32)
    layer(ids, numbers, bag_ids, bag_weights)
    table = np.arange(10 + 5 + 4, dtype=np.float32)[:, None] * np.array([1, 100], np.float32)
    layer.set_weights([table])
    # Tags start at row 10 of the table, brands at 15: (1 * 11 + 3 * 14) / 4 = 13.25, and 18; an empty bag is 0.
    expected = np.array([[7, 13.25, 18], [7, 0, 0]])
    out = layer(ids, numbers, bag_ids, bag_weights).numpy()
    np.testing.assert_allclose(out[:, 0::2], expected)
    np.testing.assert_allclose(out[:, 1::2], 100 * expected)


def test_an_offer_that_was_never_in_training_is_judged_by_its_content(tmp_path: Path) -> None:
    p = predicted_for_unseen_offers(tmp_path)
    truth = np.array(list(CTR.values()))
    assert np.all(np.diff(p) > 0), p
    assert np.all((p > truth / 1.5) & (p < truth * 1.5)), p
