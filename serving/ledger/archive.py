"""The archived events as entries of the books, part by part."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from domain.errors import ContractError
from features.log_archive import EVENTS, Archived, Part, StreamId, archived_with, parts_after
from features.log_schema import conform, event_schema
from ledger import Entry, Key

COLUMNS = (
    *("partition", "stream_id", "type", "status", "charged_micros", "price_micros"),
    *("campaign_id", "advertiser", "day", "impression_id", "event_id", "reason"),
)
_SCHEMA = pa.schema([event_schema().field(name) for name in COLUMNS])


def parts_since(log_dir: Path, number: int) -> Iterator[tuple[Archived, list[Entry]]]:
    """The parts of events after one, in the order of their commits, each with how far the log is archived with it.

    Raises:
      ContractError: a part is damaged.
    """
    for part in parts_after(log_dir, EVENTS, number):
        with open_part(part) as file:
            yield archived_with(part, file), money_entries(read_columns(file, COLUMNS))


@contextmanager
def open_part(part: Part) -> Iterator[pq.ParquetFile]:
    """A part to read.

    Raises:
      ContractError: it is damaged.
    """
    try:
        with pq.ParquetFile(part.path, memory_map=True) as file:
            yield file
    except pa.ArrowException as e:
        raise ContractError(f"{part.path}: is damaged: {e}") from None


def read_columns(file: pq.ParquetFile, names: Sequence[str]) -> pa.Table:
    """Those of the columns that the part has: one of older gateways lacks some."""
    present = set(file.schema_arrow.names)
    # Columns of so few rows are read sooner than handed to other threads.
    return file.read([name for name in names if name in present], use_threads=False)


def money_entries(table: pa.Table) -> list[Entry]:
    """The rows of an archived part that are charged, or could have been, in their order; the others post nothing.

    Args:
      table: columns of `event_schema`; what gateways of before did not log may be absent.
    """
    moved = pc.not_equal(table["charged_micros"], 0)
    if "price_micros" in table.column_names:
        moved = pc.or_(moved, pc.not_equal(pc.fill_null(table["price_micros"], 0), 0))
    rows = conform(table.filter(moved), _SCHEMA, EVENTS).to_pydict()
    return [
        Entry(
            Key(partition, *StreamId.parse(stream_id)),
            *(kind, status, charged, price or 0, campaign, advertiser, day or 0, f"{impression}|{event}", reason or ""),
        )
        for partition, stream_id, kind, status, charged, price, campaign, advertiser, day, impression, event, reason in zip(
            *(rows[name] for name in COLUMNS), strict=True
        )
    ]
