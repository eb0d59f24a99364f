"""From the log to the splits of a training, as `offerrank retrain` goes."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from log_entries import decision, decision_fields, event_fields, slot

from features.log_archive import StreamId
from features.market import Market
from pipelines.examples import write_training_rows
from pipelines.ingest import ingest
from pipelines.splits import SPLITS
from serving.archiver.files import write_part
from serving.archiver.rows import Entry, log_formats

BEGIN_MS, PAGES, SHOPPERS = 1_800_000_000_000, 400, 60


@pytest.fixture
def log_dir(market: Market, tmp_path: Path) -> Path:
    """Pages of two offers, each shopper's over a minute; one in eight impressions is lost."""
    rng = np.random.default_rng(7)
    decisions, events = [], []
    for i in range(PAGES):
        at_ms, shopper = BEGIN_MS + 150 * i, f"shopper{int(rng.integers(0, SHOPPERS))}"
        explored = bool(rng.random() < 0.25)
        slots = [slot(f"i{i}-{k}", position=k, propensity=0.125 if explored else 0.9) for k in range(2)]
        decisions.append(decision_fields(decision(f"d{i}", at_ms, *slots, shopper_key=shopper, explored=explored)))
        for one in slots:
            if rng.random() > 1 / 8:
                events.append(event_fields("impression", one.impression_id, f"d{i}", at_ms))
            events += [
                event_fields(kind, one.impression_id, f"d{i}", at_ms) for kind in ("click", "conversion") if rng.random() < 0.5
            ]
    end_ms = BEGIN_MS + 10_000_000
    decisions.append(decision_fields(decision("last", end_ms)))
    events.append(event_fields("dismiss", "none", "last", end_ms))
    for log in log_formats(market):
        fields = {"decisions": decisions, "events": events}[log.name]
        entries = [Entry(StreamId(BEGIN_MS + i, 0), entry) for i, entry in enumerate(fields[:-1])]
        entries.append(Entry(StreamId(end_ms, 0), fields[-1]))
        table, rejected = log.table(entries)
        assert not rejected
        write_part(tmp_path / "log", log.name, table, rejected, entries[0].id, entries[-1].id)
    return tmp_path / "log"


def places(market: Market, log_dir: Path, folder: Path, split: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    training = market.training.model_dump() | {"split": split}
    split_so = market.model_validate(market.model_dump() | {"training": training})
    write_training_rows(split_so, log_dir, BEGIN_MS + 20_000_000, folder / "rows.parquet")
    done = ingest(split_so, folder / "rows.parquet", folder / "rows")
    used = done.used().log
    assert used is not None
    assert used.without_impression == pytest.approx(1 / 8, abs=0.06)
    return {name: pq.read_table(folder / "rows" / name / "rows.parquet").to_pylist() for name in SPLITS}


@pytest.mark.parametrize(("by", "shows_as"), [("shopper_key", "cluster_id"), ("decision_id", "time_ms")])
def test_a_log_is_split_by_shopper_or_by_page(market: Market, log_dir: Path, tmp_path: Path, by: str, shows_as: str) -> None:
    found = places(market, log_dir, tmp_path, {"kind": "hash", "by": by, "valid_fraction": 0.2, "eval_fraction": 0.3})
    homes = defaultdict(set)
    for name, rows in found.items():
        assert rows
        for row in rows:
            homes[row[shows_as]].add(name)
    assert {len(splits) for splits in homes.values()} == {1}
    assert len(homes) > (PAGES * 0.9 if by == "decision_id" else SHOPPERS * 0.9)


def test_exploration_travels_from_the_decision_to_the_rows(market: Market, log_dir: Path, tmp_path: Path) -> None:
    rows = [row for of in places(market, log_dir, tmp_path, {"kind": "random"}).values() for row in of]
    told = {(row["explored"], row["propensity_ppb"]) for row in rows}
    assert told == {(1, 125_000_000), (0, 900_000_000)}
    assert np.mean([row["explored"] for row in rows]) == pytest.approx(0.25, abs=0.07)
    position = pq.read_table(tmp_path / "rows.parquet")["position"].to_pylist()
    assert set(position) == {0, 1}
