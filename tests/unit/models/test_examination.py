"""The curve that a release brings to the auction: what it says of a page, and what it may not say."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from models.examination import ExaminationCurve

CURVE = ExaminationCurve(
    seen=(1.0, 0.6, 0.4),
    by={"device": {"values": {"phone": (1.0, 0.5, 0.25), "": (1.0, 1.0, 1.0)}, "other": (1.0, 1.1, 1.2)}},
)


def test_a_page_is_looked_at_as_its_request_says() -> None:
    assert CURVE.at(2, {"device": "phone"}).tolist() == [1.0, 0.3]
    assert CURVE.at(2, {"device": None}).tolist() == [1.0, 0.6]
    np.testing.assert_allclose(CURVE.at(3, {"device": "fridge"}), [1.0, 0.66, 0.48])


def test_further_down_than_it_knows_the_last_value_goes_on() -> None:
    assert CURVE.at(5, {"device": ""}).tolist() == [1.0, 0.6, 0.4, 0.4, 0.4]


def test_where_all_slots_are_looked_at_alike_there_is_nothing_to_say() -> None:
    assert CURVE.at(1, {"device": "phone"}) is None
    assert ExaminationCurve(seen=(1.0, 1.0)).at(9, {}) is None


def test_no_slot_leaves_next_to_nothing_or_many_times_as_much() -> None:
    steep = {"values": {"deep": (1.0, 0.001)}, "other": (1.0, 10.0)}
    assert ExaminationCurve(seen=(1.0, 0.5), by={"f": steep}).at(2, {"f": "deep"}).tolist() == [1.0, 0.001]
    assert ExaminationCurve(seen=(1.0, 5.0), by={"f": steep}).at(2, {}).tolist() == [1.0, 10.0]


@pytest.mark.parametrize(
    ("seen", "wrong"),
    [
        ("[]", "seen: expected 1 positions, got 0"),
        ("[0.5, 0.2]", "seen: expected 1 at the first position, got 0.5"),
        ("[1.0, 0.0]", "seen: expected 0.001 to 10 at position 1, got 0.0"),
        ("[1.0, 0.5, -0.1]", "seen: expected 0.001 to 10 at position 2, got -0.1"),
        ("[1.0, 11.0]", "seen: expected 0.001 to 10 at position 1, got 11.0"),
        ("[1.0, NaN]", "seen"),
        ("[1.0, Infinity]", "seen"),
        ("[1.0, null]", "seen"),
    ],
)
def test_what_no_page_looks_like_is_refused(seen: str, wrong: str) -> None:
    with pytest.raises(ValidationError, match=wrong):
        ExaminationCurve.model_validate_json(f'{{"seen": {seen}}}')


def test_the_factors_of_a_feature_are_held_to_the_same() -> None:
    said = json.loads(CURVE.model_dump_json())
    said["by"]["device"]["values"]["phone"] = [1.0, 0.5]
    with pytest.raises(ValidationError, match=r"by\.device\.'phone': expected 3 positions, got 2"):
        ExaminationCurve.model_validate(said)
    said["by"]["device"]["values"]["phone"] = [1.0, 0.5, 0.0]
    with pytest.raises(ValidationError, match=r"by\.device\.'phone': expected 0\.001 to 10 at position 2, got 0\.0"):
        ExaminationCurve.model_validate(said)
