"""Names and reading of the archive: the file names alone say which stream entries have been archived.

    <log_dir>/<log>/hour=YYYY-MM-DDTHH/part-<first id>-<last id>.parquet

A part holds the entries from its first to its last stream id, without gaps; the parts of a log do not overlap. So the
log is archived up to the greatest last id, and that is the only state an archiver needs to resume.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from features.log_schema import conform

DECISIONS, EVENTS = "decisions", "events"
_PART = re.compile(r"part-(\d+)-(\d+)-(\d+)-(\d+)\.parquet")


class StreamId(NamedTuple):
    """Id of a stream entry: the log time in ms, and a sequence number within it. Orders as the stream does."""

    ms: int
    seq: int

    @classmethod
    def parse(cls, text: str | bytes) -> "StreamId":
        """`1700000000000-3`; raises ValueError for anything else."""
        ms, seq = (text.decode() if isinstance(text, bytes) else text).split("-")
        return cls(int(ms), int(seq))

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"


ORIGIN = StreamId(0, 0)


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file and the range of stream ids it holds, both ends included."""

    first: StreamId
    last: StreamId
    path: Path


def part_path(log_dir: Path, log: str, first: StreamId, last: StreamId) -> Path:
    """Where a part belongs: in the hour of its first entry's log time."""
    return log_dir / log / f"hour={hour_of(first)}" / f"part-{first}-{last}.parquet"


def hour_of(entry: StreamId) -> str:
    """The UTC hour of an entry's log time, `YYYY-MM-DDTHH`."""
    return datetime.fromtimestamp(entry.ms // 1000, UTC).strftime("%Y-%m-%dT%H")


def parts(log_dir: Path, log: str) -> list[Part]:
    """All finished parts of a log, in the stream's order; empty where nothing was archived."""
    found = []
    for path in (log_dir / log).glob("hour=*/part-*.parquet"):
        name = _PART.fullmatch(path.name)
        if name:
            a, b, c, d = map(int, name.groups())
            found.append(Part(StreamId(a, b), StreamId(c, d), path))
    return sorted(found, key=lambda part: part.first)


def archived_to(log_dir: Path, log: str) -> StreamId:
    """The last archived entry; `ORIGIN` where there is none."""
    return max((part.last for part in parts(log_dir, log)), default=ORIGIN)


def read_log(log_dir: Path, log: str, schema: pa.Schema, since_ms: int = 0, until_ms: float = math.inf) -> pa.Table:
    """The columns of `schema` from every part that holds entries logged from `since_ms` to `until_ms`, in the stream's order.

    Raises:
      InvalidTrainingData: a column's type differs from the schema's.
    """
    return pa.concat_tables(_tables(log_dir, log, schema, since_ms, until_ms))


def _tables(log_dir: Path, log: str, schema: pa.Schema, since_ms: int, until_ms: float) -> Iterator[pa.Table]:
    yield conform(schema.empty_table(), schema, log)
    for part in parts(log_dir, log):
        if part.last.ms >= since_ms and part.first.ms <= until_ms:
            # Opened as a file: read_table of a path takes `hour=` for a column.
            with pq.ParquetFile(part.path) as file:
                present = set(file.schema_arrow.names)
                yield conform(file.read([n for n in schema.names if n in present]), schema, str(part.path))
