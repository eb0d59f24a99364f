"""The archived events that a Redis has to know."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
AHEAD = 16
TOGETHER = 20_000
"""Entries that are taken together, since a part alone may hold few of each partition."""
CLOCKS_APART_MS = 60_000
"""By how much a gateway's time of a decision may be ahead of Redis' time of its events."""
Row = tuple[int, Happened]
"""Log time in ms, and what happened."""
OF_A_PAGE = (EventType.IMPRESSION, EventType.DISMISS, EventType.CLICK)
"""Matter to their impression alone, which a closed budget guards as well. Of the others also orders and lists of what waits."""
OF_ORDERS = tuple(kind for kind in EventType if kind not in OF_A_PAGE)
_FIELDS = {
    OF_A_PAGE: ("type", "status", "charged_micros", "time_ms", "event_id", "campaign_id", "impression_id"),
    OF_ORDERS: Happened._fields,
}
"""What matters of them."""
_HAPPENED = [event_schema().field(name) for name in Happened._fields]
_KINDS = list(EventType)
_NOTHING_LOST = StreamId(2**62, 0)


def forgotten_after_ms(kind: EventType, market: Market) -> int:
    """How long an entry matters: as long as something may follow it, such as the return of a conversion or of its charge."""
    return accepted_for_ms(kind if kind in OF_A_PAGE else EventType.RETURN, market)


class LostEvents:
    """What the archive has, Redis had lost and still matters: first what guards money that is about to move, then the rest.

    Opens only parts that may hold such entries, going by their names: that takes no longer the older an archive is.

    Args:
      lost: partition -> the last entry before those that were lost; absent where none was.
      open_from_ms: begin of the first budget day that is open before the rest is there.
    """

    def __init__(self, log_dir: Path, market: Market, lost: Mapping[int, StreamId], now_ms: int, open_from_ms: int) -> None:
        self._last = np.array([lost.get(p, _NOTHING_LOST) for p in range(PARTITIONS)], dtype=np.int64)
        self._oldest_ms = np.array([now_ms - forgotten_after_ms(kind, market) for kind in _KINDS], dtype=np.int64)
        self._living_ms, pages_ms = (now_ms - accepted_for_ms(k, market) for k in (EventType.CLICK, EventType.IMPRESSION))
        self._recent_ms = min(open_from_ms, pages_ms) - CLOCKS_APART_MS
        since_ms = max(min((entry.ms for entry in lost.values()), default=now_ms), int(self._oldest_ms.min()))
        found = parts(log_dir, EVENTS, since_ms) if lost else []
        self._parts = [part for part in found if part.number and part.last_ms >= since_ms]

    def first(self) -> Iterator[list[Row]]:
        """Orders and what came of them while their tokens live, of each partition in its stream's order; pages of open days."""
        living = [part for part in self._parts if part.last_ms >= self._living_ms]
        yield from self._rows(living, OF_ORDERS)
        yield from self._rows([part for part in living if part.last_ms >= self._recent_ms], OF_A_PAGE)

    def then(self) -> Iterator[list[Row]]:
        """Pages of closed days, and orders that may only be returned any more."""
        earlier = [part for part in self._parts if part.last_ms < self._recent_ms]
        yield from self._rows([part for part in earlier if part.last_ms >= self._living_ms], OF_A_PAGE)
        yield from self._rows([part for part in earlier if part.last_ms < self._living_ms], OF_ORDERS)

    def _rows(self, some: Sequence[Part], kinds: tuple[EventType, ...]) -> Iterator[list[Row]]:
        """An empty list now and then, where little is found."""
        schema = pa.schema([event_schema().field(name) for name in ("partition", "stream_id", *_FIELDS[kinds])])
        found, n = list[pa.Table](), 0
        with ThreadPoolExecutor(READERS) as readers:
            for start in range(0, len(some), AHEAD):
                for table in readers.map(lambda part: _read(part, kinds, schema), some[start : start + AHEAD]):
                    if table is not None:
                        found.append(table)
                        n += len(table)
                if found and (n >= TOGETHER or start + AHEAD >= len(some)):
                    yield self._that_matter(pa.concat_tables(found))
                    found, n = [], 0
                else:
                    yield []

    def _that_matter(self, table: pa.Table) -> list[Row]:
        ids = pc.extract_regex(table["stream_id"], r"(?P<ms>\d+)-(?P<seq>\d+)").combine_chunks()
        ms, seq = (ids.field(i).cast(pa.int64()).to_numpy(zero_copy_only=False) for i in range(2))
        last = self._last[table["partition"].to_numpy()]
        gone = (ms > last[:, 0]) | ((ms == last[:, 0]) & (seq > last[:, 1]))
        kind = pc.index_in(table["type"], value_set=pa.array(_KINDS)).to_numpy()
        mask = gone & (ms >= self._oldest_ms[kind])
        kept = table.filter(pa.array(mask))
        values = [_values(kept, field) for field in _HAPPENED]
        return list(zip(ms[mask].tolist(), map(Happened._make, zip(*values, strict=True)), strict=True))


def _read(part: Part, kinds: tuple[EventType, ...], schema: pa.Schema) -> pa.Table | None:
    """The entries of these kinds; None where there are none, of which nothing but their kind is read."""
    with open_part(part) as file:
        wanted = pc.is_in(file.read(["type"], use_threads=False)["type"], value_set=pa.array(kinds))
        if not pc.any(wanted).as_py():
            return None
        table = read_columns(file, schema.names).filter(wanted)
    # Of one schema, whichever it is, and nullable throughout, as conformed ones are.
    return pa.table(table.columns, names=schema.names) if table.schema.equals(schema) else conform(table, schema, str(part.path))


def _values(table: pa.Table, field: pa.Field) -> Iterable[object]:
    """What does not matter, or gateways of before did not log, is empty."""
    empty: object = None if field.name == "value_micros" else "" if pa.types.is_string(field.type) else 0
    if field.name not in table.column_names or table[field.name].null_count == len(table):
        return [empty] * len(table)
    column = table[field.name]
    values: list[object] = column.to_pylist() if empty is None else pc.fill_null(column, empty).to_numpy().tolist()
    return values
