"""Names and reading of the archive: its newest part alone says which stream entries have been archived.

    <log_dir>/<log>/hour=YYYY-MM-DDTHH/part-<number>-<first ms>-<last ms>.parquet

A log has one stream, as decisions, or one for each partition of the money, as events. Its parts are numbered in the order of
their commits, and a part holds entries of any of its streams, logged between the two times of its name. The metadata of a part
say up to which id each stream is archived, with that part and all before it; so the metadata of the newest are the only state
that an archiver needs to resume.

Parts of before have the names `part-<first id>-<last id>.parquet` and hold all entries of their log's one stream in between.
"""

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from domain.errors import ContractError, InvalidTrainingData
from domain.keys import PARTITIONS
from features.log_schema import conform

DECISIONS, EVENTS = "decisions", "events"
STREAMS = {DECISIONS: 1, EVENTS: PARTITIONS}
"""Log -> how many streams it is collected from."""
_NUMBERED = re.compile(r"part-(\d+)-(\d+)-(\d+)\.parquet")
_OF_BEFORE = re.compile(r"part-(\d+)-(\d+)-(\d+)-(\d+)\.parquet")
_METADATA = b"offerrank.archived"


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
class Archived:
    """How far a log is archived."""

    number: int = 0
    """Of the newest part."""
    last: Mapping[int, StreamId] = field(default_factory=dict)
    """Stream -> its last archived entry; `ORIGIN` for one that is absent."""
    complete_ms: int = 0
    """All entries of all streams that were logged before this time are archived."""

    def to(self, stream: int) -> StreamId:
        """The last archived entry of a stream."""
        return self.last.get(stream, ORIGIN)

    def metadata(self) -> dict[bytes, bytes]:
        """As the Parquet metadata of the part `number`."""
        last = {str(stream): str(entry) for stream, entry in sorted(self.last.items())}
        return {_METADATA: orjson.dumps({"last": last, "complete_ms": self.complete_ms})}


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file, and the log times in ms between which its entries lie, both ends included."""

    number: int
    """0 for one of before."""
    first_ms: int
    last_ms: int
    path: Path


def part_path(log_dir: Path, log: str, number: int, first_ms: int, last_ms: int) -> Path:
    """Where a part belongs: in the hour of its first entry's log time."""
    return log_dir / log / f"hour={hour_of(first_ms)}" / f"part-{number:010d}-{first_ms}-{last_ms}.parquet"


def hour_of(log_ms: int) -> str:
    """The UTC hour of a log time, `YYYY-MM-DDTHH`."""
    return datetime.fromtimestamp(log_ms // 1000, UTC).strftime("%Y-%m-%dT%H")


def parts(log_dir: Path, log: str, since_ms: int = 0) -> list[Part]:
    """The finished parts of a log, in the order of their commits; empty where nothing was archived.

    Args:
      since_ms: leaves out hours that ended before, so that little of a long archive is looked through.
    """
    folder, since = log_dir / log, f"hour={hour_of(since_ms)}"
    return _in_order(part for hour in _hours(folder) if hour >= since for part in _parts_in(folder / hour))


def parts_by_hour(log_dir: Path, log: str, since_ms: int, until_ms: int, newest_first: bool = False) -> Iterator[list[Part]]:
    """The finished parts that may hold entries logged between two times, hour by hour, so that who stops early has listed little.

    Within an hour by the times of their last entries.
    """
    first, last = f"hour={hour_of(max(since_ms, 0))}", f"hour={hour_of(until_ms)}"
    for hour in sorted(_hours(log_dir / log), reverse=newest_first):
        if first <= hour <= last:
            found = (p for p in _parts_in(log_dir / log / hour) if p.last_ms >= since_ms and p.first_ms <= until_ms)
            yield sorted(found, key=lambda part: part.last_ms, reverse=newest_first)


def begun_ms(log_dir: Path, log: str) -> int | None:
    """Log time of its first archived entry; None where nothing was archived."""
    folder = log_dir / log
    return next((min(p.first_ms for p in found) for hour in _hours(folder) if (found := _parts_in(folder / hour))), None)


def _newest_hour(folder: Path) -> list[Part]:
    """The parts of the newest hour that has any; of a log of one stream the newest is among them, however long it is."""
    return next((_in_order(found) for hour in reversed(_hours(folder)) if (found := _parts_in(folder / hour))), [])


def _in_order(found: Iterable[Part]) -> list[Part]:
    return sorted(found, key=lambda part: (part.number, part.first_ms, part.path.name))


def _hours(folder: Path) -> list[str]:
    """The names of a log's folders, in the order of their hours; as names, since there are thousands."""
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(name for name in names if name.startswith("hour="))


def _parts_in(hour: Path) -> list[Part]:
    found = []
    for path in hour.glob("part-*.parquet"):
        if name := _NUMBERED.fullmatch(path.name):
            number, first_ms, last_ms = map(int, name.groups())
            found.append(Part(number, first_ms, last_ms, path))
        elif name := _OF_BEFORE.fullmatch(path.name):
            first_ms, _, last_ms, _ = map(int, name.groups())
            found.append(Part(0, first_ms, last_ms, path))
    return found


def archived(log_dir: Path, log: str) -> Archived:
    """How far a log is archived, according to its newest part.

    Raises:
      ContractError: that part cannot be read.
    """
    found = parts(log_dir, log) if STREAMS[log] > 1 else _newest_hour(log_dir / log)
    if not found:
        return Archived()
    if found[-1].number == 0:
        # The one stream of events of before is no stream of today, and decisions go on where they were.
        ids = (_OF_BEFORE.fullmatch(part.path.name) for part in found)
        last = max(StreamId(int(name[3]), int(name[4])) for name in ids if name)
        return Archived(0, {0: last} if STREAMS[log] == 1 else {}, last.ms)
    return archived_with(found[-1])


def archived_with(part: Part, file: pq.ParquetFile | None = None) -> Archived:
    """How far its log is archived with a part and all before it.

    Args:
      file: the part, where it is open.
    Raises:
      ContractError: it cannot be read.
    """
    try:
        metadata = (pq.read_metadata(part.path) if file is None else file.metadata).metadata
        said = orjson.loads(metadata[_METADATA])
        last = {int(stream): StreamId.parse(entry) for stream, entry in said["last"].items()}
        return Archived(part.number, last, said["complete_ms"])
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as e:
        raise ContractError(f"{part.path}: expected a part that says how far its log is archived: {e}") from None


def parts_after(log_dir: Path, log: str, number: int) -> list[Part]:
    """The parts that were committed after one, in their order; looks into the newest hours only, where all of them are there."""
    found: list[Part] = []
    folder = log_dir / log
    for hour in reversed(_hours(folder)):
        here = _parts_in(folder / hour)
        found = sorted([*found, *(part for part in here if part.number > number)], key=lambda part: part.number)
        whole = [part.number for part in found] == list(range(number + 1, number + 1 + len(found)))
        if whole and any(part.number <= number for part in here):
            break
    return found


def read_log(log_dir: Path, log: str, schema: pa.Schema, since_ms: int = 0, until_ms: float = math.inf) -> pa.Table:
    """The columns of `schema` from every part that holds entries logged from `since_ms` to `until_ms`, each stream's in order.

    Raises:
      InvalidTrainingData: a column's type differs from the schema's, or a part cannot be read, as one that was cut short.
    """
    return pa.concat_tables(_tables(log_dir, log, schema, since_ms, until_ms))


def read_part(part: Part, schema: pa.Schema) -> pa.Table:
    """The columns of `schema` from one part; errors as of `read_log`."""
    return conform(_read(part.path, schema.names), schema, str(part.path))


def entry_times(part: Part) -> tuple[int, int, int] | None:
    """When the entries of a part happened, the first and the last, and how many there are, by its footer; None where that does
    not say.

    Raises:
      InvalidTrainingData: as of `read_log`.
    """
    try:
        metadata = pq.read_metadata(part.path)
    except (pa.ArrowException, OSError) as e:
        raise _unreadable(part.path, e) from None
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    columns = [group.column(i) for group in groups for i in range(group.num_columns)]
    found = [column.statistics for column in columns if column.path_in_schema == "time_ms"]
    if not found or len(found) < len(groups) or not all(of and of.has_min_max for of in found):
        return None
    return min(of.min for of in found), max(of.max for of in found), metadata.num_rows


def _tables(log_dir: Path, log: str, schema: pa.Schema, since_ms: int, until_ms: float) -> Iterator[pa.Table]:
    yield conform(schema.empty_table(), schema, log)
    for part in parts(log_dir, log):
        if part.last_ms >= since_ms and part.first_ms <= until_ms:
            yield read_part(part, schema)


def _read(path: Path, names: list[str]) -> pa.Table:
    """The columns that a part has of those."""
    try:
        # Opened as a file: read_table of a path takes `hour=` for a column.
        with pq.ParquetFile(path) as file:
            present = set(file.schema_arrow.names)
            return file.read([n for n in names if n in present])
    except (pa.ArrowException, OSError) as e:
        raise _unreadable(path, e) from None


def _unreadable(path: Path, error: Exception) -> InvalidTrainingData:
    return InvalidTrainingData(str(path), "a readable Parquet file", str(error).split("\n")[0])
