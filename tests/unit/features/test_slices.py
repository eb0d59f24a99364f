import re
from typing import Any

import numpy as np
import pytest

from domain.errors import InvalidMarket
from features.market import parse_market
from features.slices import combined, slice_values
from features.spec import MISSING

DTYPES = ("string", "int")


def test_values_are_text_and_the_campaign_is_the_offers(raw_market: dict[str, Any]) -> None:
    market = parse_market(raw_market | {"training": {"calibration": {"slices": ["clicks", "campaign"]}}})
    columns = {"clicks": np.array([3, 0, 3]), "offer_id": np.array(["o2", "o1", "gone"], dtype=object)}
    found = slice_values(market, market.training.calibration.slices, columns)
    assert found == {"clicks": ["3", "0", "3"], "campaign": ["c2", "c1", ""]}


def test_the_campaign_goes_by_the_offer_id_as_the_model_sees_it(raw_market: dict[str, Any]) -> None:
    raw_market["offers"][0]["features"]["offer_id"] = "first"
    found = slice_values(parse_market(raw_market), ["campaign"], {"offer_id": ["first", "o1", "o2"]})
    assert found == {"campaign": ["c1", "", "c2"]}


def test_a_missing_value_is_the_same_slice_in_requests_and_in_training_rows(raw_market: dict[str, Any]) -> None:
    raw_market["features"] += [{"name": n, "source": "context", "dtype": n, "missing": "own", "vocabulary": 9} for n in DTYPES]
    market = parse_market(raw_market)
    asked = slice_values(market, DTYPES, {n: [None] for n in DTYPES})
    logged = {"string": np.array([MISSING["string"]], dtype=object), "int": np.array([MISSING["int"]])}
    assert asked == slice_values(market, DTYPES, logged)


def test_an_empty_text_is_the_slice_of_the_default(raw_market: dict[str, Any]) -> None:
    raw_market["features"][0]["default"] = "unknown"
    assert slice_values(parse_market(raw_market), ["country"], {"country": ["", "DE"]}) == {"country": ["unknown", "DE"]}


def test_a_column_that_is_missing_is_an_error(raw_market: dict[str, Any]) -> None:
    with pytest.raises(KeyError, match="offer_id"):
        slice_values(parse_market(raw_market), ["campaign"], {"country": ["DE"]})


def test_a_position_and_a_placement_are_read_from_checked_rows(raw_market: dict[str, Any]) -> None:
    raw_market["placements"].append({"name": "side", "count": 1})
    market = parse_market(raw_market | {"training": {"slices": ["position", "placement"]}})
    assert {"position", "placement"} <= set(market.row_columns)
    columns = {"position": np.array([0, 2, -1]), "placement": np.array([1, 0, -1])}
    assert slice_values(market, market.training.slices, columns) == {
        "position": ["0", "2", ""],
        "placement": ["side", "main", ""],
    }


def test_a_pair_is_every_combination_of_its_two(raw_market: dict[str, Any]) -> None:
    market = parse_market(raw_market | {"training": {"slices": ["category x placement", "campaign x clicks"]}})
    columns = {"category": ["food", "other"], "placement": [0, 0], "clicks": [3, 0], "offer_id": ["o1", "o2"]}
    assert slice_values(market, market.training.slices, columns) == {
        "category x placement": ["food x main", "other x main"],
        "campaign x clicks": ["c1 x 3", "c2 x 0"],
    }
    assert "placement" in market.row_columns
    assert "position" not in market.row_columns


def test_what_holds_for_all_rows_is_combined_with_each() -> None:
    assert combined("category x country", {"category": ["food", "other"], "country": ["DE"]}) == ["food x DE", "other x DE"]
    assert combined("country x category", {"category": [], "country": ["DE"]}) == []
    assert combined("country", {"country": ["DE"]}) == ["DE"]


def test_a_feature_of_that_name_comes_before_the_place(raw_market: dict[str, Any]) -> None:
    raw_market["features"].append({"name": "placement", "source": "context", "default": "top"})
    market = parse_market(raw_market | {"training": {"slices": ["placement"], "calibration": {"slices": ["placement"]}}})
    assert slice_values(market, ["placement"], {"placement": ["left", ""]}) == {"placement": ["left", "top"]}
    assert "placement" not in market.row_columns


@pytest.mark.parametrize("key", ["slices", "calibration.slices"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("city", "'city' is not a string or int feature with single values"),
        ("amount", "'amount' is not a string or int feature with single values"),
        ("category x city", "'city' is not a string or int feature with single values"),
        ("category x category", "expected a slice or a pair of two, such as 'format x placement', got 'category x category'"),
        ("category x country x clicks", "expected a slice or a pair of two, such as 'format x placement', got"),
    ],
)
def test_metrics_and_calibration_accept_the_same_names_and_name_the_key(
    raw_market: dict[str, Any], key: str, name: str, said: str
) -> None:
    def training(name: str) -> dict[str, Any]:
        return {"slices": [name]} if key == "slices" else {"calibration": {"slices": [name]}}

    for good in ("category", "campaign", "category x campaign", "country x clicks"):
        parse_market(raw_market | {"training": training(good)})
    with pytest.raises(InvalidMarket, match=rf"^training\.{re.escape(key)}: {re.escape(said)}"):
        parse_market(raw_market | {"training": training(name)})


@pytest.mark.parametrize("name", ["position", "category x placement"])
def test_a_price_cannot_be_calibrated_by_a_place_that_the_auction_has_yet_to_give(raw_market: dict[str, Any], name: str) -> None:
    said = r"^training\.calibration\.slices: '(position|placement)' is known only after the auction"
    with pytest.raises(InvalidMarket, match=said):
        parse_market(raw_market | {"training": {"calibration": {"slices": [name]}}})
