from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_market import RAW

from features.market import parse_market
from pipelines.clusters import cluster_column, clusters_of
from pipelines.ingest import ingest

NAMES = ["a", "b", "a", None]


def ids(**columns: list[Any] | pa.Array) -> list[int]:
    arrays = {name: column if isinstance(column, pa.Array) else pa.array(column) for name, column in columns.items()}
    return cluster_column(arrays, 4).tolist()


def test_rows_of_one_shopper_belong_together_and_else_those_of_one_page() -> None:
    a, b, c, d = ids(shopper_key=["ann", None, "ann", ""], decision_id=["p1", "p2", "p3", "p2"])
    assert a == c
    assert b == d
    assert len({a, b}) == 2


def test_a_row_of_nobody_known_stands_for_itself() -> None:
    assert ids(decision_id=["p1", None, "p1", None])[1::2] == [-1, -1]
    found = clusters_of({"cluster_id": np.array([7, -1, 7, -1])})
    assert found is not None
    assert found[0] == found[2]
    assert len(set(found.tolist())) == 3


def test_where_no_row_says_there_are_no_clusters() -> None:
    assert ids() == [-1] * 4
    assert clusters_of({"cluster_id": np.array([-1, -1])}) is None
    assert clusters_of({}) is None


@pytest.mark.parametrize(
    "said",
    [pa.array([3, 4, 3, None]), pa.array(NAMES).dictionary_encode(), pa.array(NAMES, pa.large_string())],
    ids=["numbers", "dictionary", "large text"],
)
def test_ids_are_of_any_kind(said: pa.Array) -> None:
    first, second, third, none = ids(decision_id=said)
    assert first == third != second
    assert none == -1


def test_rows_of_a_log_keep_their_shopper_through_ingest(tmp_path: Path) -> None:
    n = 400
    rows = {"city": ["Ulm"] * n, "brand": ["x"] * n, "click": [i % 2 for i in range(n)]}
    known_by = {"shopper_key": [f"s{i // 4}" for i in range(n)]}
    market = parse_market(RAW)
    for name, columns in (("log", rows | known_by), ("file", rows)):
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
        ingest(market, tmp_path / f"{name}.parquet", tmp_path / name)
    known, unknown = (
        np.concatenate([pq.read_table(tmp_path / name / split)["cluster_id"].to_numpy() for split in ("train", "valid", "eval")])
        for name in ("log", "file")
    )
    assert np.unique(known, return_counts=True)[1].tolist() == [4] * 100
    assert set(unknown.tolist()) == {-1}
