"""The archived events that a Redis has to know, in the order of their streams."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from domain.events import EventType
from domain.keys import PARTITIONS
from features.log_archive import EVENTS, Part, StreamId, parts
from features.log_schema import conform, event_schema
from features.market import Market
from serving.gateway.event_window import accepted_for_ms
from serving.ledger.archive import open_part, read_columns
from serving.repair.memory import Happened

READERS = 2
"""Threads that read ahead; Arrow works outside of Python's lock."""
AHEAD = 8
Row = tuple[int, Happened]
"""Log time in ms, and what happened."""
_COLUMNS = ("partition", "stream_id", *Happened._fields)
_SCHEMA = pa.schema([event_schema().field(name) for name in _COLUMNS])
_KINDS = list(EventType)
_NOTHING_LOST = StreamId(2**62, 0)


def forgotten_after_ms(kind: EventType, market: Market) -> int:
    """How long an entry matters: as long as something may follow it, such as the return of a conversion or of its charge."""
    last = kind if kind in (EventType.IMPRESSION, EventType.DISMISS, EventType.CLICK) else EventType.RETURN
    return accepted_for_ms(last, market)


def lost_parts(log_dir: Path, market: Market, lost: Mapping[int, StreamId], now_ms: int) -> tuple[list[Part], list[Part]]:
    """The parts with something that was lost: those whose pages may still report, and older ones, where only returns may follow.

    Args:
      lost: partition -> the last entry before those that were lost; absent where none was.
    """
    if not lost:
        return [], []
    known_ms = min(entry.ms for entry in lost.values())
    living_ms = now_ms - accepted_for_ms(EventType.CLICK, market)
    oldest_ms = now_ms - accepted_for_ms(EventType.RETURN, market)
    missing = [part for part in parts(log_dir, EVENTS) if part.number and part.last_ms >= max(known_ms, oldest_ms)]
    return [part for part in missing if part.last_ms >= living_ms], [part for part in missing if part.last_ms < living_ms]


def rows(some: Sequence[Part], market: Market, lost: Mapping[int, StreamId], now_ms: int) -> Iterator[list[Row]]:
    """What these parts hold that was lost and still matters, part by part; of each partition in its stream's order."""
    last = np.array([lost.get(p, _NOTHING_LOST) for p in range(PARTITIONS)], dtype=np.int64)
    oldest_ms = np.array([now_ms - forgotten_after_ms(kind, market) for kind in _KINDS], dtype=np.int64)

    def read(part: Part) -> list[Row]:
        with open_part(part) as file:
            table = read_columns(file, _COLUMNS)
        ids = pc.extract_regex(table["stream_id"], r"(?P<ms>\d+)-(?P<seq>\d+)").combine_chunks()
        ms, seq = (ids.field(i).cast(pa.int64()).to_numpy(zero_copy_only=False) for i in range(2))
        of = last[table["partition"].to_numpy()]
        gone = (ms > of[:, 0]) | ((ms == of[:, 0]) & (seq > of[:, 1]))
        kind = pc.index_in(table["type"], value_set=pa.array(_KINDS)).to_numpy()
        mask = gone & (ms >= oldest_ms[kind])
        kept = conform(table.filter(pa.array(mask)), _SCHEMA, str(part.path))
        values = [kept[name].to_pylist() if name == "value_micros" else _filled(kept[name]) for name in Happened._fields]
        return list(zip(ms[mask].tolist(), map(Happened._make, zip(*values, strict=True)), strict=True))

    with ThreadPoolExecutor(READERS) as readers:
        for start in range(0, len(some), AHEAD):
            yield from readers.map(read, some[start : start + AHEAD])


def _filled(column: pa.ChunkedArray) -> list[object]:
    """What gateways of before did not log is empty."""
    empty: object = "" if pa.types.is_string(column.type) else 0
    return [empty if value is None else value for value in column.to_pylist()]
