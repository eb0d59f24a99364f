"""Takes new parts of the archive: each once, with all that it changed, whatever happens in between."""

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from domain.clock import budget_day, hour_begin_ms, hour_of_day
from domain.errors import ContractError, Unavailable
from features.log_archive import DECISIONS, EVENTS, Part, archived_with, parts, parts_after
from features.market import Market
from monitoring.watch import events, traffic
from monitoring.watch.columns import Columns, Ints, opened
from monitoring.watch.sampling import rate_of, sampled
from monitoring.watch.slicing import Tally
from monitoring.watch.store import MonitorStore, Skipped
from monitoring.watch.watched import Watched

log = logging.getLogger("offerrank.watch")
CLOCKS_DIFFER_MS: Final = 3_600_000
"""At most, between the time in an entry and the time it was logged; what is further off is taken to have happened when logged."""
QUIET_S: Final = 30.0
BETWEEN_LOOKS_MS: Final = 5_000
_TOLD_FROM: Final = "told_from"
_LOGS = (DECISIONS, EVENTS)


Count = Callable[[str, pa.Table], None]
"""Name of a part, and columns of its decisions."""


class ArchiveReader:
    """Reads the archive of one market into a store.

    Args:
      quiet_s: how long after a part of one log the other may be without one and still have something to write.
      count: counts shoppers' decisions for others; may be called again for a part, if the watch was killed in between.
    """

    def __init__(
        self, market: Market, log_dir: Path, store: MonitorStore, count: Count | None = None, quiet_s: float = QUIET_S
    ) -> None:
        self.market, self.log_dir, self.store, self._count = market, log_dir, store, count
        self._quiet_s, self._news_s = quiet_s, time.monotonic()
        self._told_from_ms: int | None = None
        self._found: dict[str, list[Part]] = {name: [] for name in _LOGS}
        """New parts that were found and not yet taken: finding them takes long where there are many."""

    @property
    def complete_ms(self) -> int:
        """What was logged before is taken or skipped.

        The archiver writes both logs at once, and nothing of one in which nothing happened: beacons that are lost altogether must
        not hold up the hours in which they are missed. So a log that has no new part for `quiet_s` after one of the other is as
        complete as the other, but for what may have come between the looks at the two.
        """
        ends = {name: self.store.complete_ms(name) for name in _LOGS}
        if time.monotonic() - self._news_s < self._quiet_s:
            return min(ends.values())
        newest = max(ends.values()) - BETWEEN_LOOKS_MS
        return min(end if self._found[name] else max(end, newest) for name, end in ends.items())

    @property
    def told_from_ms(self) -> int:
        """Hours that ended before are learned from and told to nobody: a day before the archive's end when the file was made."""
        if self._told_from_ms is None:
            said = self.store.recall(_TOLD_FROM)
            if said is None:
                ends = [self.store.complete_ms(name) for name in _LOGS]
                ends += [found[-1].last_ms for found in self._found.values() if found]
                said = str(max(ends) - self.market.policy.day_length_s * 1000).encode()
                with self.store.writing():
                    self.store.remember(_TOLD_FROM, said)
            self._told_from_ms = int(said)
        return self._told_from_ms

    def take(self, most: int) -> bool:
        """Takes the next parts, the oldest first, but not more than so many; whether there are more."""
        for name, found in self._found.items():
            if not found:
                found.extend(self._new(name))
        for _ in range(most):
            heads = [(found[0].last_ms, i, name) for i, (name, found) in enumerate(self._found.items()) if found]
            if not heads:
                return False
            name = min(heads)[2]
            self._take(name, self._found[name][0])
            self._news_s = time.monotonic()
            self._found[name].pop(0)
        return any(self._found.values())

    def retry(self) -> None:
        """Takes what was skipped before, where it can be read now."""
        skipped = {(one.log, one.number): one for one in self.store.skipped()}
        for name in {log for log, _ in skipped}:
            for part in parts(self.log_dir, name):
                if (name, part.number) in skipped:
                    self._take(name, part, skipped[name, part.number])

    def _new(self, name: str) -> list[Part]:
        """Parts that were committed since; those that are missing in between are skipped."""
        last = self.store.taken(name)
        found = parts_after(self.log_dir, name, last)
        there = {part.number for part in found}
        for number in sorted(set(range(last + 1, max(there, default=last) + 1)) - there):
            first_ms = max((p.last_ms for p in found if p.number < number), default=self.store.complete_ms(name))
            last_ms = min(p.first_ms for p in found if p.number > number)
            self._skip(Skipped(name, number, "is missing", min(first_ms, last_ms), last_ms))
        return found

    def _take(self, name: str, part: Part, before: Skipped | None = None) -> None:
        read = self._decisions if name == DECISIONS else self._events
        try:
            with opened(part) as file:
                complete_ms = archived_with(part, file).complete_ms
                columns = Columns.read(file, traffic.COLUMNS if name == DECISIONS else events.COLUMNS)
        except ContractError as e:
            if before is None:
                self._skip(Skipped(name, part.number, str(e), part.first_ms, part.last_ms))
            return
        if before is not None:
            log.info("part %d of %s can be read now", part.number, name)
        try:
            if name == DECISIONS and self._count is not None and part.last_ms >= self.told_from_ms:
                self._count(f"{name}/{part.number}", traffic.promised(columns))
            with self.store.writing():
                from_ms, to_ms = read(part, columns) if columns.rows else (part.first_ms, part.last_ms)
                self.store.take(name, part, from_ms, to_ms, complete_ms)
        except Unavailable:
            raise
        except Exception as e:  # our bug, or a part that somebody else wrote: the rest goes on
            if before is None:
                log.exception("part %d of %s", part.number, name)
                reason = f"cannot be summarised: {type(e).__name__}: {e}"
                self._skip(Skipped(name, part.number, reason, part.first_ms, part.last_ms))

    def _hours(self, part: Part, columns: Columns) -> tuple[Ints, tuple[int, int]]:
        """The hour in which each row happened; and when the first and the last did."""
        happened = np.clip(columns.ints("time_ms"), part.first_ms - CLOCKS_DIFFER_MS, part.last_ms + CLOCKS_DIFFER_MS)
        return hours_of(self.market, happened), (int(happened.min()), int(happened.max()))

    def _decisions(self, part: Part, columns: Columns) -> tuple[int, int]:
        hour, between = self._hours(part, columns)
        rates = {}
        for hour_ms, pages in zip(*(x.tolist() for x in np.unique(hour, return_counts=True)), strict=True):
            rates[hour_ms] = self._rate(hour_ms, pages)
            self.store.add_pages(hour_ms, pages, rates[hour_ms])
        kept, tally = self._watched(int(hour[0])), Tally()
        rows = traffic.pages_of(self.market, columns, hour, kept)
        traffic.count_pages(self.market, columns, rows, tally)
        chosen = np.flatnonzero(sampled(part.number, hour, rates) & traffic.valid_pages(columns))
        traffic.describe(self.market, columns, rows, kept, chosen, tally)
        self.store.merge(tally)
        kept.write()
        return between

    def _events(self, part: Part, columns: Columns) -> tuple[int, int]:
        hour, between = self._hours(part, columns)
        kept, tally = self._watched(int(hour[0])), Tally()
        events.count_events(self.market, columns, hour, kept.chosen, tally)
        self.store.merge(tally)
        self.store.add_late(events.late_events(columns))
        return between

    def _rate(self, hour_ms: int, pages: int) -> float:
        """That of the hour, set when its first decisions come."""
        if (known := self.store.hour(hour_ms)) is not None:
            return known.rate
        before = next(iter(self.store.hours("hour_ms = (SELECT max(hour_ms) FROM hours WHERE hour_ms < ?)", hour_ms)), None)
        return rate_of(pages, before.pages if before else 0, self.market.monitoring.rows_per_hour)

    def _watched(self, at_ms: int) -> Watched:
        return Watched(self.store, budget_day(at_ms, self.market.policy.day_length_s), self.market.monitoring.slice_values)

    def _skip(self, skipped: Skipped) -> None:
        log.error("part %d of %s: %s; it is left out until it can be read", skipped.number, skipped.log, skipped.reason)
        with self.store.writing():
            self.store.skip(skipped)


def hours_of(market: Market, time_ms: Ints) -> Ints:
    """[R] when the hour of each time began."""
    hour = partial(hour_of_day, day_length_s=market.policy.day_length_s)
    begin = partial(hour_begin_ms, day_length_s=market.policy.day_length_s)
    return np.asarray(begin(hour(time_ms)), np.int64)  # type: ignore[arg-type]
