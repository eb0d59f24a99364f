"""What a learned vocabulary may gain from new rows."""

import warnings

import pyarrow as pa

from features.spec import MISSING, FeatureSpec

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own imports
    from pipelines.vocabulary_growth import new_entries, values_of

CITY = FeatureSpec(name="city", source="context", dtype="int", missing="own", vocabulary=9)
TAGS = FeatureSpec(name="tags", source="offer", multiple=True, max_values=3, vocabulary=9)


def test_the_most_frequent_new_values_come_first() -> None:
    column = pa.chunked_array([["a", "b", "c"], ["c", ""]])
    assert new_entries(column, ["a"]) == ["c", "b"]


def test_a_value_of_several_lines_is_the_entry_that_transform_would_make_of_it() -> None:
    column = pa.chunked_array([["two\r\nlines", "two\r\nlines", "one\nmore"]])
    assert new_entries(column, ["one␊more"]) == ["two␍␊lines"]


def test_a_missing_value_is_no_entry() -> None:
    column = pa.chunked_array([[7, MISSING["int"]], [MISSING["int"], 8, 8]])
    assert new_entries(values_of(CITY, column), ["7"]) == ["8"]


def test_lists_give_their_values_and_not_what_fills_them_up() -> None:
    column = pa.chunked_array([[["tea", "jam", ""]], [["jam", "", ""], ["", "", ""]]])
    assert new_entries(values_of(TAGS, column), ["tea"]) == ["jam"]
