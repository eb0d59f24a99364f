"""Parquet files as newer and other programs write them."""

import base64
import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from domain.errors import InvalidTrainingData
from pipelines.parquet_source import read_parquet
from pipelines.times import time_column

TEXT_OF_NEWER_ARROW, TEXT = 24, 5
TABLE = pa.table({"city": ["Köln", None, "Ulm"] * 20_000, "age": range(60_000)})


def says_views(schema: bytes) -> bool:
    """Whether an Arrow that knows string views finds one in a serialized schema, and an older one what it does not know."""
    try:
        return "string_view" in map(str, pa.ipc.read_schema(pa.py_buffer(schema)).types)
    except pa.ArrowInvalid as e:
        return "Unrecognized type" in str(e)
    except OSError:
        return False


def write_as_a_newer_arrow(table: pa.Table, path: Path) -> Path:
    """What differs from today's file is one byte of the schema in its footer: the number of the type of text."""
    pq.write_table(table, path)
    said = base64.b64decode(pq.read_metadata(path).metadata[b"ARROW:schema"])
    changed = (said[:at] + bytes([TEXT_OF_NEWER_ARROW]) + said[at + 1 :] for at, byte in enumerate(said) if byte == TEXT)
    views = next(schema for schema in changed if says_views(schema))
    path.write_bytes(path.read_bytes().replace(base64.b64encode(said), base64.b64encode(views)))
    return path


def rows_of(path: Path, *columns: str) -> list[dict[str, Any]]:
    return [row for batch in read_parquet(path, columns, ()) for row in batch.to_pylist()]


def test_text_of_newer_writers_is_read(tmp_path: Path) -> None:
    path = write_as_a_newer_arrow(TABLE, tmp_path / "log [1].parquet")
    assert rows_of(path, "age", "city") == TABLE.select(["age", "city"]).to_pylist()
    with pytest.raises(InvalidTrainingData, match=r"log \[1\].parquet: expected columns 'brand', got"):
        rows_of(path, "brand")


@pytest.mark.parametrize("options", [{"data_page_version": "2.0"}, {"version": "2.6"}, {"version": "1.0"}], ids=str)
def test_pages_and_formats_of_all_versions_are_read(tmp_path: Path, options: dict[str, Any]) -> None:
    pq.write_table(TABLE, tmp_path / "log.parquet", **options)
    assert rows_of(tmp_path / "log.parquet", "city", "age") == TABLE.to_pylist()


def test_the_old_96_bit_times_are_those_that_were_written(tmp_path: Path) -> None:
    # Nanoseconds of 64 bits begin in 1677.
    times = pa.array([datetime.datetime(year, 1, 2, tzinfo=datetime.UTC) for year in (1600, 2026)], pa.timestamp("us"))
    pq.write_table(pa.table({"at": times}), tmp_path / "log.parquet", use_deprecated_int96_timestamps=True)
    (batch,) = read_parquet(tmp_path / "log.parquet", ("at",), ())
    assert time_column(batch.column(0), str).values.tolist() == times.cast(pa.int64()).to_pylist()


def test_what_nobody_can_read_is_said_as_arrow_says_it(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "log.parquet")
    content = (tmp_path / "log.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(InvalidTrainingData, match=r"cut.parquet: expected a readable file, got 'Parquet magic bytes not found"):
        rows_of(tmp_path / "cut.parquet", "city")
