"""Numbers from any type and from text: exact, or refused by row."""

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import InvalidTrainingData
from pipelines.numbers import real_numbers, whole_numbers

LARGEST = 2**63 - 1
IDS = st.integers(-LARGEST, LARGEST)


def where(row: int) -> str:
    return f"row {row + 1}"


@settings(deadline=None)
@given(st.lists(st.none() | IDS, min_size=1))
def test_an_id_is_the_same_to_the_last_digit_in_every_type(ids: list[int | None]) -> None:
    decimals = pa.array([None if i is None else Decimal(i) for i in ids], pa.decimal128(38, 0))
    text = ["" if i is None else str(i) for i in ids]
    for raw in (pa.array(ids, pa.int64()), decimals, pa.array(text), pa.array([*text, "5.0"])):
        assert whole_numbers(raw, where).to_pylist()[: len(ids)] == ids


@settings(deadline=None)
@given(st.lists(st.integers(0, LARGEST), min_size=1))
def test_an_unsigned_id_is_the_same_to_the_last_digit(ids: list[int]) -> None:
    assert whole_numbers(pa.array([*ids, None], pa.uint64()), where).to_pylist() == [*ids, None]


def test_ids_that_differ_in_the_last_digits_stay_apart_beside_a_float() -> None:
    ids = [9_007_199_254_740_993_000 + i for i in range(271)]
    raw = pa.array([*map(str, ids), "5.0"])
    assert whole_numbers(raw, where).to_pylist() == [*ids, 5]


@pytest.mark.parametrize(
    ("said", "number"),
    [
        *(("7", 7), (" 7 ", 7), ("+5", 5), ("-5", -5), ("007", 7), ("5.", 5), ("5.0", 5), ("1e3", 1000), ("2.5e1", 25)),
        *(("True", 1), ("true", 1), ("FALSE", 0), ("", None), ("nan", None), ("NaN", None)),
    ],
)
def test_text_says_a_whole_number_in_many_ways(said: str, number: int | None) -> None:
    assert whole_numbers(pa.array([said]), where).to_pylist() == [number]
    assert whole_numbers(pa.array([said, "5.0", "12"]), where).to_pylist() == [number, 5, 12]
    (real,) = real_numbers(pa.array([said]), where)
    assert real == number if number is not None else math.isnan(real)


def test_booleans_are_numbers_in_a_column_of_text_as_in_one_of_booleans() -> None:
    for raw in (pa.array([True, False, None]), pa.array(["True", "False", ""])):
        assert whole_numbers(raw, where).to_pylist() == [1, 0, None]
        np.testing.assert_array_equal(real_numbers(raw, where), [1, 0, math.nan])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (pa.array(["1", "1_000"]), "row 2: expected a number, got '1_000'"),
        (pa.array(["1", "0x1F"]), "row 2: expected a number, got '0x1F'"),
        (pa.array(["5.0", "x", "1.5"]), "row 2: expected a number, got 'x'"),
        (pa.array(["5.0", "1.5", "x"]), "row 2: expected a whole number, got '1.5'"),
        (pa.array(["9223372036854775808"]), "row 1: expected a finite number that fits, got '9223372036854775808'"),
        (pa.array(["1", "1e400000000"]), "row 2: expected a finite number that fits"),
        (pa.array(["1", "inf"]), "row 2: expected a finite number that fits, got 'inf'"),
        (pa.array(["1.2345678901234567e+18"]), "row 1: expected a whole number with all its digits"),
        (pa.array([1, 2**63], pa.uint64()), "row 2: expected a finite number that fits, got 9223372036854775808"),
        (pa.array([Decimal(1), Decimal(2**63)], pa.decimal128(38, 0)), "row 2: expected a finite number that fits"),
        (pa.array([Decimal("1.0"), Decimal("1.5")]), "row 2: expected a whole number, got Decimal"),
        (pa.array([1.0, 2.0**53 + 2]), r"row 2: expected a whole number up to 2\^53, beyond which double holds several as one"),
        (pa.array([1.0, 2.0**24 + 2], pa.float32()), r"row 2: expected a whole number up to 2\^24"),
        (pa.array([None, [1]]), "row 2: expected a number, not list<item: int64>, got \\[1\\]"),
    ],
)
def test_what_is_no_whole_number_or_not_exact_is_refused_by_row(raw: pa.Array, message: str) -> None:
    with pytest.raises(InvalidTrainingData, match=message):
        whole_numbers(raw, where)


@pytest.mark.parametrize("said", ["1_000", "0x1F", "1e", "--1", "1,5", "yes", "1 2"])
def test_other_text_is_refused_alike_as_a_whole_and_as_a_real_number(said: str) -> None:
    readers: list[Any] = [whole_numbers, real_numbers]
    for read in readers:
        for others in ([], ["+5"], ["1.0"]):
            with pytest.raises(InvalidTrainingData, match=f"row {len(others) + 1}: expected a number, got '{said}'"):
                read(pa.array([*others, said]), where)
