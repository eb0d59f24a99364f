from typing import Any

import numpy as np
import pytest

from features.market import parse_market
from features.slices import slice_values
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
