import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from domain.errors import InvalidTrainingData
from features.market import parse_market
from features.spec import FeatureSpec
from pipelines.bags import bag_columns
from pipelines.ingest import ingest
from pipelines.splits import SPLITS
from tests.unit.pipelines.conftest import MARKET, write_csv

TEXT = FeatureSpec(name="tags", source="context", multiple=True, max_values=3)
INT = FeatureSpec(name="seen", source="shopper", dtype="int", multiple=True, max_values=2, hash_buckets=9)
WEIGHTED = FeatureSpec(name="taste", source="shopper", multiple=True, max_values=2, weighted=True)
STRUCTS = pa.list_(pa.struct([("value", pa.string()), ("weight", pa.float64())]))
NONE = -(2**63)


def where(row: int) -> str:
    return f"row {row + 1}"


@pytest.mark.parametrize(
    ("feature", "raw", "expected"),
    [
        (TEXT, pa.array(["a|b", "", None, "c"]), [["a", "b", ""], ["", "", ""], ["", "", ""], ["c", "", ""]]),
        (TEXT, pa.array([["a", "a"], [], None]), [["a", "a", ""], ["", "", ""], ["", "", ""]]),
        (TEXT, pa.array([[b"a"]], pa.list_(pa.binary())), [["a", "", ""]]),
        (TEXT, pa.array([["x"], ["y"]])[1:], [["y", "", ""]]),
        (TEXT, pa.nulls(1), [["", "", ""]]),
        (TEXT, pa.array([[], []], pa.list_(pa.null())), [["", "", ""]] * 2),
        (INT, pa.array(["7| 8", "9", ""]), [[7, 8], [9, NONE], [NONE, NONE]]),
        (INT, pa.array([[2**60 + 1]]), [[2**60 + 1, NONE]]),
        (INT, pa.array([[3.0, 4.0]]), [[3, 4]]),
        (TEXT, pa.array(["['a', 'b']", "[]"]), [["a", "b", ""], ["", "", ""]]),
        (INT, pa.array(["[7, 8]", "[9.0]"]), [[7, 8], [9, NONE]]),
    ],
)
def test_lists_are_filled_up_to_one_length(feature: FeatureSpec, raw: pa.Array, expected: list) -> None:
    (column,) = bag_columns(feature, raw, where)
    assert column.to_pylist() == expected


@pytest.mark.parametrize(
    "raw",
    [
        pa.array(["a:b:0.5|c:2", ""]),
        pa.array([["a:b:0.5", "c:2"], None]),
        pa.array(['{"a:b": 0.5, "c": 2}', "{}"]),
        pa.array([[{"value": "a:b", "weight": 0.5}, {"value": "c", "weight": 2.0}], []], STRUCTS),
    ],
)
def test_weights_come_as_text_or_as_structs(raw: pa.Array) -> None:
    values, weights = bag_columns(WEIGHTED, raw, where)
    assert values.to_pylist() == [["a:b", "c"], ["", ""]]
    assert weights.to_pylist() == [[0.5, 2.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("feature", "raw", "message"),
    [
        (TEXT, pa.array([None, 1.5]), "row 2: expected lists, not double, got 1.5"),
        (TEXT, pa.array([[], [1.5]]), "row 2: expected strings, not double, got 1.5"),
        (TEXT, pa.array([["a"], ["a", "b", "c", "d"]]), "row 2: expected at most 3 values, got"),
        (TEXT, pa.array(["a", "b||c"]), "row 2: expected no empty value, got ''"),
        (TEXT, pa.array([["a", None]]), "row 1: expected no empty value, got nothing"),
        (TEXT, pa.array([[], ["x" * 257]]), "row 2: expected at most 256 characters"),
        (INT, pa.array(["1|2", "3|x"]), "row 2: expected a number, got 'x'"),
        (INT, pa.array([[1.5]]), "row 1: expected a whole number, got 1.5"),
        (WEIGHTED, pa.array(["a:1", "b"]), "row 2: expected `value:weight`, got 'b'"),
        (WEIGHTED, pa.array(["a:heavy"]), "row 1: expected a number, got 'heavy'"),
        (WEIGHTED, pa.array(["a:1|b:-1"]), r"row 1: expected a weight from 0 to 1e\+09, got '-1'"),
        (WEIGHTED, pa.array(["a:"]), "row 1: expected a weight from 0"),
        (WEIGHTED, pa.array([[{"value": "a", "weight": np.nan}]], STRUCTS), "row 1: expected a weight from 0"),
    ],
)
def test_other_lists_are_refused_by_row(feature: FeatureSpec, raw: pa.Array, message: str) -> None:
    with pytest.raises(InvalidTrainingData, match=message):
        bag_columns(feature, raw, where)


def test_lists_come_from_every_format(columns: dict[str, list[Any]], tmp_path: Path) -> None:
    features = [
        *MARKET["features"],
        {"name": "tags", "source": "context", "multiple": True, "max_values": 3},
        {"name": "taste", "source": "shopper", "multiple": True, "max_values": 2, "weighted": True},
    ]
    market = parse_market(MARKET | {"features": features})
    tags = [["a", "b", "c"][: i % 4] for i in range(200)]
    taste = [["tea:0.5", "jam:2"][: i % 3] for i in range(200)]
    write_csv(tmp_path / "log.csv", columns | {"tags": list(map("|".join, tags)), "taste": list(map("|".join, taste))})
    lists = columns | {"tags": tags, "taste": taste}
    pq.write_table(pa.table(lists), tmp_path / "log.parquet")
    write_tfrecord(tmp_path / "log.tfrecord", lists)
    rows = []
    for name in ("log.csv", "log.parquet", "log.tfrecord"):
        done = ingest(market, tmp_path / name, tmp_path / f"rows of {name}")
        rows.append([pq.read_table(done.directory / split).to_pylist() for split in SPLITS])
    assert rows[0] == rows[1] == rows[2]
    train, *_ = rows[0]
    assert {tuple(row["tags"]) for row in train} == {("", "", ""), ("a", "", ""), ("a", "b", ""), ("a", "b", "c")}
    assert {(*row["taste"], *row["taste_weights"]) for row in train} == {
        ("", "", 0, 0),
        ("tea", "", 0.5, 0),
        ("tea", "jam", 0.5, 2),
    }


def write_tfrecord(path: Path, columns: dict[str, list[Any]]) -> None:
    """One tf.Example per row."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own imports
        from models.legacy_keras import tf
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in zip(*columns.values(), strict=True):
            example = tf.train.Example()
            for name, value in zip(columns, row, strict=True):
                values = value if isinstance(value, list) else [value]
                if isinstance(columns[name][-1], int):
                    example.features.feature[name].int64_list.value.extend(values)
                else:
                    example.features.feature[name].bytes_list.value.extend(v.encode() for v in values)
            writer.write(example.SerializeToString())
