"""What the archive says of releases and decisions: by footers and single columns, since it may be long."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.log_archive import DECISIONS, EVENTS, Part, parts

CLOCKS_DIFFER_MS = 3_600_000
"""An entry is logged this much before or after the time it bears, at most."""
SHOWN = ("decision_id", "time_ms", "shopper_key", "policy_id", "release", "explored", "degraded", "invalid", "features", "slots")


@dataclass(frozen=True, slots=True)
class Counted:
    """Archived decisions of a span."""

    decisions: int
    first_ms: int | None
    last_ms: int | None
    unreadable: tuple[str, ...]
    """Parts that were left out, with the reason."""

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        found = {"decisions": self.decisions, "first_ms": self.first_ms, "last_ms": self.last_ms}
        return found | {"unreadable": list(self.unreadable)}


def count_decisions(log_dir: Path, from_ms: int, through_ms: int) -> Counted:
    """Decisions made in a span, both ends included; whole row groups are counted by their footers."""
    count, times, unreadable = 0, [], []
    for part in _parts_of(log_dir, DECISIONS, from_ms, through_ms):
        try:
            with pq.ParquetFile(part.path) as file:
                for group in range(file.num_row_groups):
                    stats = _statistics(file.metadata.row_group(group), "time_ms")
                    if stats is not None and stats.has_min_max and from_ms <= stats.min and stats.max <= through_ms:
                        count += file.metadata.row_group(group).num_rows
                        times += [stats.min, stats.max]
                        continue
                    ms = file.read_row_group(group, ["time_ms"])["time_ms"]
                    ms = ms.filter(pc.and_(pc.greater_equal(ms, from_ms), pc.less_equal(ms, through_ms)))
                    count += len(ms)
                    times += pc.min_max(ms).as_py().values() if len(ms) else []
        except (OSError, pa.ArrowException, KeyError) as e:
            unreadable.append(f"{part.path}: {_line(e)}")
    return Counted(count, min(times, default=None), max(times, default=None), tuple(unreadable))


def find_decision(log_dir: Path, decision_id: str) -> dict[str, Any] | None:
    """A decision as it was logged, the newest parts looked through first; None where there is none of that id."""
    for part in reversed(parts(log_dir, DECISIONS)):
        try:
            with pq.ParquetFile(part.path) as file:
                for group in range(file.num_row_groups):
                    ids = file.read_row_group(group, ["decision_id"])["decision_id"]
                    at = pc.index(ids, pa.scalar(decision_id)).as_py()
                    if at >= 0:
                        names = [name for name in SHOWN if name in file.schema_arrow.names]
                        found = file.read_row_group(group, names).slice(at, 1).to_pylist()[0]
                        return dict.fromkeys(SHOWN) | found  # a part of before has not all of them
        except (OSError, pa.ArrowException, KeyError):
            continue  # what is damaged holds nothing that could be found
    return None


def events_of(log_dir: Path, decision: dict[str, Any], window_s: int) -> list[dict[str, Any]]:
    """What was reported of a decision's slots within a time."""
    begin_ms, found = decision["time_ms"], []
    shown = pa.array([slot["impression_id"] for slot in decision["slots"] or ()], pa.string())
    for part in _parts_of(log_dir, EVENTS, begin_ms, begin_ms + 1000 * window_s):
        read = _read(part.path, "impression_id", "type", "status", "time_ms")
        if read is not None:
            found += read.filter(pc.is_in(read["impression_id"], value_set=shown)).to_pylist()
    return found


def newest_decision(log_dir: Path) -> tuple[str | None, int] | None:
    """Release that made the newest archived decision, None in a part of before, and when."""
    for part in reversed(parts(log_dir, DECISIONS)):
        read = _read(part.path, "release", "time_ms")
        if read is not None and len(read):
            at = int(pc.index(read["time_ms"], pc.max(read["time_ms"])).as_py())
            return read["release"][at].as_py(), read["time_ms"][at].as_py()
    return None


def _read(path: Path, *names: str) -> pa.Table | None:
    """Columns of a part, null where it is of before and has them not; None where it cannot be read."""
    try:
        with pq.ParquetFile(path) as file:
            read = file.read([name for name in names if name in file.schema_arrow.names])
    except (OSError, pa.ArrowException):
        return None
    for name in names:
        if name not in read.column_names:
            read = read.append_column(name, pa.nulls(len(read)))
    return read


def _parts_of(log_dir: Path, log: str, from_ms: int, through_ms: int) -> list[Part]:
    """Those that may hold what happened in a span; a part may be longer than its hour."""
    begin, end = from_ms - CLOCKS_DIFFER_MS, through_ms + CLOCKS_DIFFER_MS
    return [part for part in parts(log_dir, log) if part.last_ms >= begin and part.first_ms <= end]


def _statistics(group: Any, name: str) -> Any:
    columns = (group.column(i) for i in range(group.num_columns))
    return next((column.statistics for column in columns if column.path_in_schema == name), None)


def _line(error: Exception) -> str:
    return str(error).split("\n", maxsplit=1)[0]
