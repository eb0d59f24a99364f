"""Postings as Parquet, for those who want them beside other tables."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from serving.ledger.books import LedgerBooks

SCHEMA = pa.schema(
    [
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("stream_id", pa.string(), nullable=False),
        pa.field("step", pa.int32(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("account", pa.string(), nullable=False),
        pa.field("campaign_id", pa.string(), nullable=False),
        pa.field("advertiser", pa.string(), nullable=False),
        pa.field("day", pa.int64(), nullable=False),
        pa.field("micros", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)
"""Two rows to a transfer, of opposite `micros`; only those in state `posted` moved money. docs/ledger.md."""
AT_ONCE = 50_000


def export_postings(books: LedgerBooks, path: Path, since_day: int, until_day: int) -> int:
    """Writes the postings of these budget days, both included, whole or not at all; how many.

    Raises:
      LedgerUnavailable: the books cannot be read.
      OSError: the file cannot be written.
    """
    temporary, written = path.with_name(f".{path.name}.tmp"), 0
    try:
        with pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as out:
            for rows in books.postings(since_day, until_day, AT_ONCE):
                columns = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), SCHEMA, strict=True)]
                out.write_table(pa.table(columns, schema=SCHEMA))
                written += len(rows)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return written
