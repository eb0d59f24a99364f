"""From a log whose latest clicks may yet convert to a model of conversions: waiting for them, and taking "not yet" for "no"."""

from pathlib import Path

import log_entries
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from growing_archive import GrowingArchive
from learned import learn

from features.market import load_market
from models.fit import fit_ranker
from models.legacy_keras import tf
from pipelines.examples import write_training_rows
from pipelines.ingest import ingest
from pipelines.training import load_rows

NOW_MS = 2_000_000_000_000
HOUR_MS = 3_600_000
PAGES, PCVR = 3000, 0.4
NETWORK = "[model]\nhidden_units = [8]\nembedding_dim = 2\nexpert_units = 4\nlearning_rate = 0.01\nepochs = 4\n"


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages of four hours: half are clicked, 40 % of the clicks convert, at some time in the two hours after the click."""
    folder = tmp_path_factory.mktemp("delayed")
    (folder / "market.toml").write_text(log_entries.MARKET_TOML)
    growing = GrowingArchive(load_market(folder / "market.toml"), folder / "log")
    rng = np.random.default_rng(8)
    for i, at in enumerate(np.linspace(NOW_MS - 4 * HOUR_MS, NOW_MS - 1000, PAGES).astype(int).tolist()):
        clicked, converts = rng.random(2) < (0.5, PCVR)
        after = int(rng.integers(0, 2 * HOUR_MS))
        growing.shows(f"i{i}", at, at if clicked else None, at + after if clicked and converts else None)
    return growing.until(NOW_MS)


@pytest.mark.parametrize(("delayed_labels", "expected"), [("wait", PCVR), ("ignore", 0.75 * PCVR)])
def test_waiting_for_conversions_leaves_no_bias(log_dir: Path, tmp_path: Path, delayed_labels: str, expected: float) -> None:
    """Of the clicks of the last two hours half the conversions are still to come, of all clicks a quarter."""
    windows = f'delayed_labels = "{delayed_labels}"\nclick_window_s = 60\nconversion_window_s = 7200'
    text = log_entries.MARKET_TOML.replace("click_window_s = 100\nconversion_window_s = 1000", windows) + NETWORK
    (tmp_path / "market.toml").write_text(text)
    market = load_market(tmp_path / "market.toml")
    write_training_rows(market, log_dir, NOW_MS, tmp_path / "rows.parquet")
    splits = ingest(market, tmp_path / "rows.parquet", tmp_path / "rows").directory
    rows = pq.read_table(splits / "train" / "rows.parquet").to_pylist()
    learned = learn(text, rows, tmp_path)
    train, valid = (
        load_rows(market, learned.encoding, learned.transform, [write_examples(splits / s / "rows.parquet")])
        for s in ("train", "valid")
    )
    ensemble, _ = fit_ranker(market, learned.encoding, train, valid, lambda progress: None)
    pctr, pcvr = np.asarray(ensemble.probabilities(valid.inputs)).mean(axis=0)
    assert pctr == pytest.approx(0.5, abs=0.05)
    assert pcvr == pytest.approx(expected, abs=0.04)


def write_examples(rows: Path) -> str:
    """As ExampleGen writes them."""
    from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

    table = pq.read_table(rows)
    types = [pa.binary() if pa.types.is_string(t) else t for t in table.schema.types]
    columns = [pa.array([[v] for v in c.cast(t).to_pylist()], pa.list_(t)) for c, t in zip(table.columns, types, strict=True)]
    batch = pa.RecordBatch.from_arrays(columns, names=table.column_names)
    with tf.io.TFRecordWriter(str(rows.with_suffix(".gz")), "GZIP") as writer:
        for example in RecordBatchToExamplesEncoder().encode(batch):
            writer.write(example)
    return str(rows.with_suffix(".gz"))
