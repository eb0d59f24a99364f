"""What the towers put before the offer that a shopper clicked, with towers of two dimensions."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from small_market import RAW

from features.market import Market, parse_market

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own imports
    from models.legacy_keras import tf
    from pipelines import recall
    from pipelines.recall import AHEAD, ahead, positives

ANGLES = {b"tea": 0, b"jam": 20, b"wine": 60, b"gone": 10}
"""Degrees; a request looks in the direction of 0."""


def pointing(name: str) -> Callable[..., dict[str, Any]]:
    """A tower that reads one feature; values it does not know point to 0."""

    def tower(**tensors: Any) -> dict[str, Any]:
        radians = np.deg2rad([ANGLES.get(v, 0) for v in tensors[name].numpy()])
        return {"embedding": tf.constant(np.stack([np.cos(radians), np.sin(radians)], axis=1), tf.float32)}

    return tower


TOWERS = {"query": pointing("city"), "offers": pointing("brand")}


def market(retrieved: int) -> Market:
    offer = RAW["offers"][0]
    offers = [offer | {"id": brand, "features": {"brand": brand}} for brand in ("wine", "tea", "jam")]
    return parse_market(RAW | {"offers": offers, "policy": RAW["policy"] | {"max_candidates": retrieved}})


def rows(*brands: str, clicked: int = 1) -> dict[str, Any]:
    n = len(brands)
    return {"city": np.array(["Ulm"] * n, object), "brand": np.array(brands, object), "click": np.full(n, clicked)}


def test_the_offers_that_are_nearer_than_the_one_that_was_clicked_are_ahead() -> None:
    assert ahead(market(2), TOWERS, rows("tea", "wine", "jam"))[AHEAD].tolist() == [0, 2, 1]


def test_an_offer_that_the_market_no_longer_has_is_looked_up_beside_those_of_today() -> None:
    assert ahead(market(2), TOWERS, rows("gone"))[AHEAD].tolist() == [1]


def test_only_positives_are_looked_up() -> None:
    assert ahead(market(2), TOWERS, rows("tea", "jam", clicked=0))[AHEAD].tolist() == [-1, -1]
    unusable = rows("tea", "jam") | {"click_usable": np.array([0, 1])}
    assert ahead(market(2), TOWERS, unusable)[AHEAD].tolist() == [-1, 1]


def test_where_all_offers_are_ranked_nothing_is_retrieved() -> None:
    assert ahead(market(3), TOWERS, rows("tea")) == {}


def test_of_many_rows_at_most_so_many_are_looked_up_at_random() -> None:
    many = rows(*["tea", "jam", "wine"] * 7_000)
    found = ahead(market(2), TOWERS, many)[AHEAD]
    asked = positives(market(2), market(2).tasks[0], many)
    assert int(asked.sum()) == recall.MOST_POSITIVES
    assert np.array_equal(asked, found >= 0)
    assert np.array_equal(found[asked], np.tile([0, 1, 2], 7_000)[asked])
