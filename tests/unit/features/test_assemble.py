from typing import Any

import numpy as np
import pytest

from features.assemble import OfferColumns, assemble
from features.market import parse_market
from features.spec import FeatureSpec


def test_request_features_are_sent_once_and_offer_features_per_candidate(raw_market: dict[str, Any]) -> None:
    market = parse_market(raw_market)
    columns = OfferColumns.of(market)
    tensors = assemble(market, {"country": "DE", "amount": 12.5}, columns, np.array([1, 0, 1], dtype=np.int32))
    assert {name: t.tolist() for name, t in tensors.items()} == {
        "country": [b"DE"],
        "amount": [12.5],
        "clicks": [0],  # absent: the default
        "offer_id": [b"o2", b"o1", b"o2"],
        "category": [b"other", b"food", b"other"],
    }
    assert {name: t.dtype for name, t in tensors.items()} == {
        "country": np.dtype(object),
        "amount": np.dtype(np.float32),
        "clicks": np.dtype(np.int64),
        "offer_id": np.dtype(object),
        "category": np.dtype(object),
    }


def test_an_empty_text_is_none_as_in_training(raw_market: dict[str, Any]) -> None:
    raw_market["features"][0]["default"] = "unknown"
    market = parse_market(raw_market)
    tensors = assemble(market, {"country": ""}, OfferColumns.of(market), np.array([0], dtype=np.int32))
    assert tensors["country"].tolist() == [b"unknown"]


@pytest.mark.parametrize(
    ("dtype", "value", "said"),
    [
        ("string", 3, "must be a string"),
        ("string", "x" * 257, "at most 256"),
        ("int", 1.5, "whole number"),
        ("int", True, "must be a number"),
        ("int", 2**63, "64 bits"),
        ("float", float("nan"), "finite"),
        ("float", 1e39, "finite"),
        ("float", "1", "must be a number"),
    ],
)
def test_values_of_another_type_are_refused(dtype: str, value: object, said: str) -> None:
    spec = FeatureSpec.model_validate(
        {"name": "f", "source": "shopper", "dtype": dtype, "default": "" if dtype == "string" else 0}
    )
    with pytest.raises(ValueError, match=said):
        spec.coerce(value)


def test_whole_floats_are_ints_and_ints_are_floats() -> None:
    spec = FeatureSpec(name="f", source="shopper", dtype="int", default=0)
    assert spec.coerce(3.0) == 3
    assert isinstance(FeatureSpec(name="f", source="shopper", dtype="float", default=0).default, float)
