"""Which decisions are looked at: a few of each of a few parts of the archive, the same ones each time."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from domain.errors import InvalidTrainingData
from features.log_archive import DECISIONS, Part, parts, read_part
from features.log_schema import conform, decision_schema
from features.market import Market
from features.valid_traffic import valid_decisions
from pipelines.joining import CLOCKS_DIFFER_MS

PARTS = 24
"""Of these at most, unless so many have too few: a part is read as a whole, however few rows of it are wanted."""
_LIGHT = ("decision_id", "time_ms", "release", "invalid")
_WHOLE = ("decision_id", "time_ms", "features", "slots", "candidates")


@dataclass(frozen=True, slots=True)
class Sample:
    """Decisions that one release ranked."""

    decisions: pa.Table
    """Columns of `decision_schema`: id, time, features, slots, candidates."""
    unreadable: tuple[str, ...]
    """What is wrong with each part that could not be read."""


def sample_decisions(market: Market, log_dir: Path, release: int, since_ms: int, until_ms: float, most: int) -> Sample:
    """Up to `most` decisions of shoppers that were made between two times, both included.

    Which parts and which of their decisions is decided by a hash of their names, so another call gives the same.
    """
    schema = decision_schema(market)
    light, whole = (pa.schema([schema.field(name) for name in names]) for names in (_LIGHT, _WHOLE))
    in_time = [p for p in parts(log_dir, DECISIONS, since_ms - CLOCKS_DIFFER_MS) if _overlaps(p, since_ms, until_ms)]
    found, unreadable, left = [conform(whole.empty_table(), whole, DECISIONS)], [], most
    for part in sorted(in_time, key=lambda p: zlib.crc32(p.path.name.encode())):
        try:
            rows = _chosen(read_part(part, light), str(release), since_ms, until_ms)
            rows = rows[: min(left, -(-most // min(len(in_time), PARTS)))]
            if len(rows):
                found.append(read_part(part, whole).take(pa.array(np.sort(rows))))
        except InvalidTrainingData as e:
            unreadable.append(str(e))
            continue
        left -= len(rows)
        if left <= 0:
            break
    return Sample(pa.concat_tables(found), tuple(unreadable))


def releases_in(log_dir: Path, since_ms: int, until_ms: float) -> set[str]:
    """What ranked in that time, `cold-start` included, as far as parts can be read."""
    schema = pa.schema([pa.field("release", pa.string())])
    found: set[str] = set()
    for part in parts(log_dir, DECISIONS, since_ms - CLOCKS_DIFFER_MS):
        if _overlaps(part, since_ms, until_ms):
            try:
                column = read_part(part, schema)["release"]
            except InvalidTrainingData:
                continue
            found |= set(pc.unique(column).to_pylist())
    return found - {None}


def _overlaps(part: Part, since_ms: int, until_ms: float) -> bool:
    return part.last_ms >= since_ms - CLOCKS_DIFFER_MS and part.first_ms <= until_ms + CLOCKS_DIFFER_MS


def _chosen(rows: pa.Table, release: str, since_ms: int, until_ms: float) -> Sequence[int]:
    """Row numbers, in the order of their hashes."""
    rows = valid_decisions(rows.append_column("row", pa.array(np.arange(len(rows)))))
    time_ms = rows["time_ms"].to_numpy()
    of_release = pc.fill_null(pc.equal(rows["release"], release), False).to_numpy()
    rows = rows.filter(pa.array(of_release & (time_ms >= since_ms) & (time_ms <= until_ms)))
    hashes = np.array([zlib.crc32(i.encode()) for i in rows["decision_id"].to_pylist()], np.int64)
    chosen: Sequence[int] = rows["row"].to_numpy()[np.argsort(hashes, kind="stable")]
    return chosen
