"""Parquet files as Arrow batches: by Arrow, and what an older Arrow does not know, such as text of newer writers, by DuckDB."""

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from domain.errors import InvalidTrainingData
from pipelines.present import present_columns

BATCH_ROWS = 16_384


def read_parquet(file: Path, columns: tuple[str, ...], optional: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    """Batches of the columns.

    Raises:
      InvalidTrainingData: columns are missing, or neither can read it; says what Arrow said.
    """
    done = 0
    try:
        for batch in _by_arrow(file, columns, optional):
            yield batch
            done += batch.num_rows
    except (pa.ArrowException, OSError) as e:
        yield from _by_duckdb(file, columns, optional, done, e)


def _by_arrow(file: Path, columns: tuple[str, ...], optional: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(file, coerce_int96_timestamp_unit="us") as parquet:
        present = present_columns(file, parquet.schema_arrow.names, columns, optional)
        if any("_view" in str(parquet.schema_arrow.field(name).type) for name in present):
            raise pa.ArrowNotImplementedError("string views")  # known to newer Arrows, and cast by few
        yield from parquet.iter_batches(BATCH_ROWS, columns=present)


def _by_duckdb(
    file: Path, columns: tuple[str, ...], optional: tuple[str, ...], done: int, first: Exception
) -> Iterator[pa.RecordBatch]:
    """The rows after those that are done."""
    import duckdb

    path = re.sub(r"([*?\[])", r"[\1]", str(file))
    rows = "read_parquet(?, hive_partitioning = false)"
    try:
        with duckdb.connect(config={"threads": 1}) as db:
            names = [str(row[0]) for row in db.sql(f"DESCRIBE SELECT * FROM {rows}", params=[path]).fetchall()]
            present = present_columns(file, names, columns, optional)
            chosen = ", ".join('"' + name.replace('"', '""') + '"' for name in present)
            yield from db.sql(f"SELECT {chosen} FROM {rows} OFFSET {done}", params=[path]).to_arrow_reader(BATCH_ROWS)
    except duckdb.Error:
        raise InvalidTrainingData(str(file), "a readable file", str(first).split("\n")[0]) from None
