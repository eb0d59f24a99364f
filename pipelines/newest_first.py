"""A log of the archive from its end to its beginning, by when entries happened and not by when they were logged."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter, itemgetter

import pyarrow as pa
import pyarrow.compute as pc

from features.log_archive import Part, entry_times, read_part
from features.log_schema import conform

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class _Unread:
    """A part that was not opened yet, and the times between which its entries happened."""

    at: int
    """Its place in the log."""
    part: Part
    first_ms: int
    last_ms: int
    rows: int


class NewestFirst:
    """Gives every entry once, those of a span of time at a time; holds what it has read and not given yet, which is little where
    parts are short."""

    def __init__(self, parts: Iterable[Part], schema: pa.Schema) -> None:
        """Args:
        parts: in the order of the log; their footers are read, so that each is opened when its time has come.
        schema: the columns to read, `time_ms` among them.
        """
        self._schema = schema
        self._open: list[tuple[int, pa.Table]] = []
        unread = []
        for at, part in enumerate(parts):
            times = entry_times(part)
            if times is None:
                self._open.append((at, read_part(part, schema)))
            else:
                unread.append(_Unread(at, part, *times))
        self._unread = sorted(unread, key=attrgetter("last_ms"))

    def newest_ms(self) -> int | None:
        """When the newest entry happened that was not given yet; None when all were."""
        times = [pc.max(table["time_ms"]).as_py() for _, table in self._open] + [part.last_ms for part in self._unread[-1:]]
        return max((ms for ms in times if ms is not None), default=None)

    def next_span_ms(self, rows: int) -> int | None:
        """Where the next span begins: with the hour of the newest entry, or later, where that would be many more than `rows`."""
        newest_ms = self.newest_ms()
        if newest_ms is None:
            return None
        begin_ms = newest_ms // HOUR_MS * HOUR_MS
        held = 0
        for part in reversed(self._unread):
            if part.last_ms < begin_ms:
                break
            held += part.rows
            if held >= rows:
                return max(begin_ms, part.first_ms)
        return begin_ms

    def since(self, begin_ms: int, keep: Callable[[pa.Table], pa.Table] = lambda table: table) -> pa.Table:
        """The entries that happened at `begin_ms` or later and were not given before, in the order of the log.

        Args:
          keep: what to make of those of a part, before more are read.
        """
        held, self._open = self._open, []
        given = [(at, keep(self._take(at, table, begin_ms))) for at, table in held]
        while self._unread and self._unread[-1].last_ms >= begin_ms:
            opened = self._unread.pop()
            given.append((opened.at, keep(self._take(opened.at, read_part(opened.part, self._schema), begin_ms))))
        empty = keep(conform(self._schema.empty_table(), self._schema, "log"))
        return pa.concat_tables([empty, *(table for _, table in sorted(given, key=itemgetter(0)))])

    def _take(self, at: int, table: pa.Table, begin_ms: int) -> pa.Table:
        """Of a part's entries those since `begin_ms`; the others are held."""
        since = pc.greater_equal(table["time_ms"], begin_ms)
        if len(earlier := table.filter(pc.invert(since))):
            self._open.append((at, earlier))
        return table.filter(since)
