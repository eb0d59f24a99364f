"""What is kept of each row that judged a model."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.assemble import from_rows
from features.market import Market, parse_market
from pipelines.ingest import PLACES, ingest
from tests.unit.pipelines.conftest import MARKET, MakeMarket, write_csv

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own imports
    from pipelines.predictions import write_predictions

Columns = dict[str, list[Any]]
NONE = -(2**63)


def predicted(rows: pa.Table) -> dict[str, Any]:
    """Rows of `eval` as they come out of the pipeline, in an order of their own, with made-up predictions."""
    order = np.random.default_rng(0).permutation(len(rows))
    columns = {name: np.array(rows[name].to_pylist())[order] for name in rows.column_names}
    made_up = np.linspace(0, 1, len(rows))
    made_up_too = {f"{kind}.{task}": made_up for kind in ("raw", "calibrated") for task in ("ctr", "cvr")}
    return columns | made_up_too | {"examination": np.ones(len(rows))}


def written(market: Market, rows: dict[str, Any], places: Path) -> pa.Table:
    """Of predictions, in the order of the rows."""
    write_predictions(market, rows, places, to := places.with_name("predictions.parquet"))
    return pq.read_table(to)


@pytest.mark.parametrize("split", [{}, {"kind": "hash", "by": "shopper"}, {"kind": "time", "by": "time_ms"}], ids=str)
def test_predictions_join_back_to_the_users_files(
    make_market: MakeMarket, columns: Columns, tmp_path: Path, split: dict[str, Any]
) -> None:
    (tmp_path / "log").mkdir()
    columns["Age"] = list(range(200))
    columns["shopper"] = [f"0{i // 10}" for i in range(200)]
    halves = [{name: column[a : a + 100] for name, column in columns.items()} for a in (0, 100)]
    write_csv(tmp_path / "log" / "a.csv", halves[0])
    pq.write_table(pa.table(halves[1]), tmp_path / "log" / "b.parquet")
    market = make_market(split=split)
    done = ingest(market, tmp_path / "log", tmp_path / "rows")
    rows = pq.read_table(done.directory / "eval")
    table = written(market, predicted(rows), done.directory / PLACES)
    assert 20 < len(table) == done.rows["eval"]
    assert "log_row" not in table.column_names
    assert set(table["log.file"].to_pylist()) <= {f"{tmp_path}/log/a.csv", f"{tmp_path}/log/b.parquet"}
    for row in table.to_pylist():
        half = halves[row["log.file"].endswith("b.parquet")]
        assert half["Age"][row["log.row"] - 1] == row["age"]
        if split:
            assert str(half[split["by"]][row["log.row"] - 1]) == row[f"log.{split['by']}"]


def test_a_missing_whole_number_is_null_and_serves_as_missing(columns: Columns, tmp_path: Path) -> None:
    city, _, brand = MARKET["features"]
    own = {"name": "age", "source": "shopper", "dtype": "int", "missing": "own", "column": "Age"}
    visits = {"name": "visits", "source": "shopper", "dtype": "int", "multiple": True, "max_values": 2, "hash_buckets": 9}
    market = parse_market(MARKET | {"features": [city, own, brand, visits]})
    columns |= {"Age": [None if i % 3 else i for i in range(200)], "visits": [str(i) for i in range(200)]}
    done = ingest(market, write_csv(tmp_path / "log.csv", columns), tmp_path / "rows")
    rows = pq.read_table(done.directory / "eval")
    table = written(market, predicted(rows), done.directory / PLACES)
    shown, held = table["age"].to_pylist(), table["visits"].to_pylist()
    assert 0 < shown.count(None) < len(shown)
    assert NONE not in shown
    assert all(second is None and first is not None for first, second in held)
    tensors = {t.name: from_rows(t, table[t.name].to_pylist()) for f in market.features for t in f.tensors}
    assert (tensors["age"] == NONE).sum() == shown.count(None)
    assert (tensors["visits"][:, 1] == NONE).all()
