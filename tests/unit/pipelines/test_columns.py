from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from domain.errors import InvalidTrainingData
from features.spec import FeatureSpec
from pipelines.columns import feature_column, label_column, value_column

TEXT = FeatureSpec(name="city", source="context", default="unknown")
INT = FeatureSpec(name="age", source="shopper", dtype="int", default=-1)
FLOAT = FeatureSpec(name="amount", source="context", dtype="float", default=9.5)
OWN_TEXT = FeatureSpec(name="city", source="context", missing="own")
OWN_INT = FeatureSpec(name="age", source="shopper", dtype="int", missing="own")
OWN_FLOAT = FeatureSpec(name="amount", source="context", dtype="float", missing="own")
ALL = np.ones(9, bool)


def where(row: int) -> str:
    return f"row {row + 1}"


@pytest.mark.parametrize(
    ("feature", "raw", "expected"),
    [
        (TEXT, pa.array(["Köln", "", None]), ["Köln", "unknown", "unknown"]),
        (TEXT, pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (TEXT, pa.array([b"x"], pa.binary()), ["x"]),
        (TEXT, pa.array([10115, None]), ["10115", "unknown"]),
        (TEXT, pa.array([None, None], pa.null()), ["unknown", "unknown"]),
        (TEXT, pa.array([Decimal(2**62 + 1), None], pa.decimal128(38, 0)), [str(2**62 + 1), "unknown"]),
        (INT, pa.array(["41", " 7 ", ""]), [41, 7, -1]),
        (INT, pa.array([3.0, float("nan"), None]), [3, -1, -1]),
        (INT, pa.array([True, False]), [1, 0]),
        (INT, pa.array([2**60 + 1, None]), [2**60 + 1, -1]),
        (INT, pa.array(["nan", "5.0"]), [-1, 5]),
        (FLOAT, pa.array(["1e3", "", "nan"]), [1000, 9.5, 9.5]),
        (FLOAT, pa.array([1, None]), [1, 9.5]),
        (OWN_TEXT, pa.array(["Ulm", "", None]), ["Ulm", "", ""]),
        (OWN_INT, pa.array([3, None]), [3, -(2**63)]),
        (OWN_INT, pa.array(["3", ""]), [3, -(2**63)]),
        (OWN_INT, pa.array([3.0, float("nan")]), [3, -(2**63)]),
    ],
)
def test_values_take_the_dtype_and_missing_ones_the_default(feature: FeatureSpec, raw: pa.Array, expected: list) -> None:
    column = feature_column(feature, raw, where)
    assert column.to_pylist() == expected
    assert column.null_count == 0


def test_part_of_a_column_of_text_keeps_its_text() -> None:
    cities = pa.array(["Köln", "Ulm", "", None, "Bonn"])
    assert feature_column(TEXT, cities[1:4], where).to_pylist() == ["Ulm", "unknown", "unknown"]
    assert feature_column(TEXT, cities[4:], where).to_pylist() == ["Bonn"]
    assert feature_column(INT, pa.array(["1", "22", "", "333"])[1:], where).to_pylist() == [22, -1, 333]


def test_a_missing_float_may_stay_missing() -> None:
    column = feature_column(OWN_FLOAT, pa.array(["1.5", "", "nan", None]), where)
    np.testing.assert_array_equal(column.to_numpy(), np.array([1.5, np.nan, np.nan, np.nan], np.float32))
    assert column.null_count == 0


@pytest.mark.parametrize(
    ("feature", "raw", "message"),
    [
        (TEXT, pa.array([1.5]), "row 1: expected strings, not double, got 1.5"),
        (TEXT, pa.array(["a", "b" * 257]), "row 2: expected at most 256 characters, got 'bbb"),
        (INT, pa.array(["1", "", "old"]), "row 3: expected a number, got 'old'"),
        (INT, pa.array([1.0, 2.5]), "row 2: expected a whole number, got 2.5"),
        (INT, pa.array([1e30]), r"row 1: expected a finite number that fits, got 1e\+30"),
        (OWN_INT, pa.array([-(2**63)]), "row 1: expected a finite number that fits"),
        (FLOAT, pa.array([1.0, float("inf")]), "row 2: expected a finite number that fits, got inf"),
        (FLOAT, pa.array([[1.0]]), "row 1: expected a number, not list"),
    ],
)
def test_other_values_are_refused_by_row(feature: FeatureSpec, raw: pa.Array, message: str) -> None:
    with pytest.raises(InvalidTrainingData, match=message):
        feature_column(feature, raw, where)


@pytest.mark.parametrize(
    "raw",
    [pa.array(["1", "0"]), pa.array([1, 0]), pa.array([1.0, 0.0]), pa.array([True, False]), pa.array(["True", "False"])]
    + [pa.array(words) for words in (["Y", "N"], ["yes", "no"], [" YES ", "No"], ["t", "F"], ["1.0", "n"])],
)
def test_labels_are_zero_or_one_in_any_type(raw: pa.Array) -> None:
    assert label_column(raw, ALL[:2], where).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (pa.array([0, 1, 2]), "row 3: expected 0 or 1 .*, got 2"),
        (pa.array(["1", "Maybe"]), "row 2: expected 0 or 1 .*, got 'Maybe'"),
        (pa.array([1, None]), "row 2: expected 0 or 1 .*, got nothing"),
        (pa.array(["1", ""]), "row 2: expected 0 or 1 .*, got ''"),
    ],
)
def test_other_labels_are_refused(raw: pa.Array, message: str) -> None:
    with pytest.raises(InvalidTrainingData, match=message):
        label_column(raw, ALL[: len(raw)], where)


def test_a_market_may_say_which_text_is_the_positive_label() -> None:
    raw = pa.array([" 50000+.", " - 50000.", " 50000+."])
    assert label_column(raw, ALL[:3], where, "50000+.").tolist() == [1, 0, 1]
    with pytest.raises(InvalidTrainingData, match="row 2: expected 0 or 1"):
        label_column(pa.array(["50000+.", ""]), ALL[:2], where, "50000+.")
    assert label_column(pa.array([1, 0]), ALL[:2], where, "50000+.").tolist() == [1, 0]  # of rows that were joined from the log


def test_a_label_may_be_missing_where_its_task_does_not_count() -> None:
    assert label_column(pa.array([None, 1]), np.array([False, True]), where).tolist() == [0, 1]


@pytest.mark.parametrize("raw", [pa.array([5, None, 0]), pa.array(["5", "", "0"]), pa.array([5.0, float("nan"), 0.0])])
def test_what_conversions_were_worth_is_whole_micros(raw: pa.Array) -> None:
    assert value_column(raw, where).to_pylist() == [5, None, 0]
    assert value_column(pa.nulls(2), where).to_pylist() == [None, None]


@pytest.mark.parametrize("wrong", [-1, 2**53 + 1, "2.5", 2.5, "much"])
def test_a_wrong_value_is_named_by_its_row(wrong: object) -> None:
    with pytest.raises(InvalidTrainingData, match=r"row 2: expected a whole number of micros, from 0 to 2\^53, got"):
        value_column(pa.array([None, wrong]), where)
