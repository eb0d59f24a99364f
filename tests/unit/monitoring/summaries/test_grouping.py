import numpy as np
import pyarrow as pa
import pytest

from monitoring.summaries import MOST_VALUES, NumberColumn, Numbers, ValueColumn, Values


@pytest.mark.parametrize("different", [3, 100_000], ids=["few", "many"])
def test_numbers_by_group_are_those_of_each_group_alone(different):
    rng = np.random.default_rng(1)
    x = rng.integers(0, different, 5_000).astype(float)
    x[rng.random(5_000) < 0.1] = np.nan
    group = rng.integers(0, 70, 5_000)
    found = dict(NumberColumn.of_rows(x).by_group(group, 71))
    assert sorted(found) == list(range(70))
    for g, numbers in found.items():
        assert numbers == Numbers.of(x[group == g])


def test_values_by_group_say_what_is_missing_and_unknown():
    values = pa.array(["DE", "NL", None, "DE", "", "XX"])
    found = dict(ValueColumn.of_rows(values, {"DE", "NL"}).by_group(np.array([0, 0, 0, 2, 2, 2]), 4))
    assert found == {
        0: Values(rows=3, missing=1, unknown=0, counts={"DE": 1, "NL": 1}),
        2: Values(rows=3, missing=1, unknown=1, counts={"DE": 1, "XX": 1}),
    }


def test_each_value_of_a_list_counts():
    values = pa.array([["a", "b"], [], ["b", "b"], None])
    assert dict(ValueColumn.of_rows(values).by_group(np.zeros(4, np.int64), 1)) == {
        0: Values(rows=4, missing=2, counts={"a": 1, "b": 3})
    }


def test_whole_numbers_that_name_something_are_text():
    assert dict(ValueColumn.of_rows(pa.array([7, 7, 10]), {"7"}).by_group(np.zeros(3, np.int64), 1)) == {
        0: Values(rows=3, unknown=1, counts={"7": 2, "10": 1})
    }


def test_many_values_are_cut_as_values_cuts_them():
    names = [f"v{i % 1000:04d}" for i in range(5_300)]
    (one,) = dict(ValueColumn.of_rows(pa.array(names)).by_group(np.zeros(5_300, np.int64), 1)).values()
    counts = {name: names.count(name) for name in set(names)}
    assert one == Values.of(counts, rows=5_300)
    assert len(one.counts) == MOST_VALUES


def test_nothing_has_no_groups():
    nothing = np.zeros(0, np.int64)
    assert list(NumberColumn.of_rows([]).by_group(nothing, 3)) == []
    assert list(ValueColumn.of_rows(pa.array([], pa.string())).by_group(nothing, 3)) == []


def test_long_text_is_cut():
    ((_, values),) = ValueColumn.of_rows(pa.array(["<script>" * 2000, "<script>" * 3000, "short"])).by_group(np.zeros(3, int), 1)
    assert values.counts == {"<script>" * 32: 2, "short": 1}


def test_text_with_nuls_stays_apart_however_it_is_kept():
    ((_, values),) = ValueColumn.of_rows(pa.array(["DE", "DE\0"])).by_group(np.zeros(2, int), 1)
    kept = [str(text) for text in np.array(list(values.counts), dtype=np.str_)]
    assert kept == list(values.counts) == ["DE", "DE\ufffd"]
