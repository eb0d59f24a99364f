"""The rows that the benchmark of the pipeline trains on."""

from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.pipeline import PAGES_AT_ONCE, benched, write_rows
from features.market import load_market
from pipelines.ingest import ingest
from simulation.advertisers import to_toml


def test_as_many_rows_as_are_asked_for_can_be_trained_on(tmp_path: Path) -> None:
    (tmp_path / "market.toml").write_text(to_toml(benched({"tfma": True})))
    market = load_market(tmp_path / "market.toml")
    asked = 3 * PAGES_AT_ONCE + 1000  # more than a block of pages of three slots
    write_rows(market, asked, tmp_path / "rows.parquet")
    assert pq.read_metadata(tmp_path / "rows.parquet").num_rows == asked
    assert (market.model.epochs, market.training.tfma) == (3, True)
    ingested = ingest(market, tmp_path / "rows.parquet", tmp_path / "rows")
    assert sum(ingested.rows.values()) == asked
    assert all(counted.positives for counted in ingested.tasks["train"].values())
