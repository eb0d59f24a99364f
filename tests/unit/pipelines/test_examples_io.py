"""Checked rows pass through an Examples artifact unchanged, in order, however they are batched."""

import warnings
import weakref
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_market import market_of

from pipelines.examples_io import count_rows, files_of, read_files, write_split
from pipelines.ingest import arrow_schema
from pipelines.split_columns import in_batches, split_columns

FEATURES = [
    {"name": "city", "source": "shopper", "default": ""},
    {"name": "amount", "source": "context", "dtype": "float", "default": 0.0},
    {"name": "tags", "source": "offer", "multiple": True, "weighted": True, "max_values": 2, "vocabulary": 10},
]
MARKET = market_of(FEATURES, [{"name": "ctr", "label": "click"}], 2, {})
ROWS = 40_000  # more than two batches


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    columns = {
        "city": [f"Zürich {n % 7}" for n in range(ROWS)],
        "amount": np.arange(ROWS, dtype=np.float32),
        "tags": [["a", f"t{n % 3}"] for n in range(ROWS)],
        "tags_weights": [[0.5, float(n % 2)] for n in range(ROWS)],
        "click": np.arange(ROWS) % 2,
    }
    columns |= {name: np.arange(ROWS) for name in MARKET.row_columns}
    schema = arrow_schema(MARKET)
    for part, rows in (("a", slice(None, 30_000)), ("b", slice(30_000, None))):
        (folder / "rows").mkdir(exist_ok=True)
        table = pa.table({name: columns[name][rows] for name in schema.names}, schema=schema)
        pq.write_table(table, folder / "rows" / f"{part}.parquet")
    write_split(folder / "rows", folder, "train")
    return folder


def test_all_values_come_back_in_the_order_of_the_files_and_rows(examples: Path) -> None:
    files = files_of(str(examples), "train")
    batches = list(read_files(files, MARKET))
    assert count_rows(files) == ROWS
    assert max(len(others["click"]) for _, others in batches) < ROWS / 2
    features = {name: np.concatenate([f[name] for f, _ in batches]) for name in batches[0][0]}
    np.testing.assert_array_equal(features["amount"], np.arange(ROWS, dtype=np.float32))
    assert features["city"].tolist() == [f"Zürich {n % 7}".encode() for n in range(ROWS)]
    assert features["tags"].tolist() == [[b"a", f"t{n % 3}".encode()] for n in range(ROWS)]
    np.testing.assert_array_equal(features["tags_weights"][:, 1], np.arange(ROWS) % 2)
    np.testing.assert_array_equal(np.concatenate([o["time_ms"] for _, o in batches]), np.arange(ROWS))


def test_features_stay_on_the_disk_until_they_are_asked_for_and_are_not_kept(examples: Path) -> None:
    rows = split_columns(MARKET, str(examples), "train")
    city = rows["city"]
    assert city.tolist() == [f"Zürich {n % 7}" for n in range(ROWS)]
    assert len({id(value) for value in city}) == 7
    np.testing.assert_array_equal(rows["tags_weights"][:, 1], np.arange(ROWS) % 2)
    gone = weakref.ref(city)
    del city
    assert gone() is None
    assert rows["time_ms"] is rows["time_ms"]  # what every metric asks for


def test_what_is_added_to_rows_is_held_and_leaves_them_as_they_were(examples: Path) -> None:
    rows = split_columns(MARKET, str(examples), "train")
    p = np.linspace(0, 1, ROWS)
    more = rows | {"raw.ctr": p, "amount": -p}
    assert more["raw.ctr"] is p
    assert more["amount"] is not rows["amount"]
    assert {"city", "click", "raw.ctr"} <= set(more)
    assert len(more) == len(rows) + 1 == len(list(more))
    assert "raw.ctr" not in rows


@pytest.mark.parametrize("names", [["amount", "city", "time_ms"], ["time_ms"]])
def test_rows_come_in_batches_from_the_disk_and_from_memory_alike(examples: Path, names: list[str]) -> None:
    rows = split_columns(MARKET, str(examples), "train")
    for source in (rows, {name: rows[name] for name in names}):
        batches = list(in_batches(source, names))
        assert max(len(batch["time_ms"]) for batch in batches) < ROWS / 2
        for name in names:
            np.testing.assert_array_equal(np.concatenate([batch[name] for batch in batches]), rows[name])


def test_equal_text_of_a_batch_is_one_object(examples: Path) -> None:
    features, _ = next(read_files(files_of(str(examples), "train"), MARKET))
    assert len({id(value) for value in features["city"]}) == 7


def test_tfx_reads_the_lists_that_it_derives_from_the_schema(examples: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Beam's own imports
        from tfx_bsl.coders.csv_decoder import GetArrowSchema

        from pipelines.schema import schema_of

    schema = pq.read_schema(files_of(str(examples), "train")[0])
    assert schema.equals(GetArrowSchema(schema.names, schema_of(MARKET)))
