"""The archived events as entries of the books, part by part."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.log_archive import EVENTS, Archived, Part, StreamId, archived_with, parts_after
from features.log_schema import conform, event_schema
from ledger import Entry, Key

COLUMNS = (
    *("partition", "stream_id", "type", "status", "charged_micros", "price_micros"),
    *("campaign_id", "advertiser", "day", "impression_id", "event_id", "reason"),
)
_SCHEMA = pa.schema([event_schema().field(name) for name in COLUMNS])


def money_entries(table: pa.Table) -> list[Entry]:
    """The rows of an archived part that are charged, or could have been, in their order; the others post nothing.

    Args:
      table: columns of `event_schema`, those that gateways of before did not log may be absent.
    """
    columns = conform(table, _SCHEMA, EVENTS)
    moved = pc.or_(*(pc.not_equal(pc.fill_null(columns[n], 0), 0) for n in ("charged_micros", "price_micros")))
    rows = columns.filter(moved).to_pydict()
    return [
        Entry(
            Key(partition, *StreamId.parse(stream_id)),
            *(kind, status, charged, price or 0, campaign, advertiser, day or 0, f"{impression}|{event}", reason or ""),
        )
        for partition, stream_id, kind, status, charged, price, campaign, advertiser, day, impression, event, reason in zip(
            *(rows[name] for name in COLUMNS), strict=True
        )
    ]


def parts_since(log_dir: Path, number: int) -> Iterator[tuple[Archived, list[Entry]]]:
    """The parts of events after one, in the order of their commits, each with how far the log is archived with it."""
    for part in parts_after(log_dir, EVENTS, number):
        yield archived_with(part), money_entries(read_part(part))


def read_part(part: Part) -> pa.Table:
    """The columns that the books are made of."""
    with pq.ParquetFile(part.path) as file:
        present = set(file.schema_arrow.names)
        return file.read([name for name in COLUMNS if name in present])
