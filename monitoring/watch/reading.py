"""Takes new parts of the archive: each once, with all that it changed, whatever happens in between."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pyarrow as pa

from domain.clock import budget_day
from domain.errors import ContractError, Unavailable
from features.log_archive import DECISIONS, EVENTS, Part, parts
from features.market import Market
from monitoring.watch.part import Archive, PartAtHand, Source
from monitoring.watch.sampling import rate_of
from monitoring.watch.store import MonitorStore, Skipped
from monitoring.watch.watched import Watched

log = logging.getLogger("offerrank.watch")
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
      source: where its parts come from, the folder itself unless said.
    """

    def __init__(
        self,
        market: Market,
        log_dir: Path,
        store: MonitorStore,
        count: Count | None = None,
        quiet_s: float = QUIET_S,
        source: Source | None = None,
    ) -> None:
        self.market, self.log_dir, self.store, self._count = market, log_dir, store, count
        self._source = source or Archive(market, log_dir)
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
        """Takes what was skipped before, where it can be read now; of what had been taken before, only says so."""
        skipped = {(one.log, one.number): one for one in self.store.skipped()}
        for name in {log for log, _ in skipped}:
            for part in parts(self.log_dir, name):
                if (name, part.number) not in skipped:
                    continue
                if self.store.was_taken(name, part.number):
                    self._find(name, part)
                else:
                    self._take(name, part, skipped[name, part.number])

    def _new(self, name: str) -> list[Part]:
        """Parts that were committed since; those that are missing in between are skipped."""
        last = self.store.taken(name)
        found = self._source.after(name, last)
        there = {part.number for part in found}
        for number in sorted(set(range(last + 1, max(there, default=last) + 1)) - there):
            first_ms = max((p.last_ms for p in found if p.number < number), default=self.store.complete_ms(name))
            last_ms = min(p.first_ms for p in found if p.number > number)
            self._skip(Skipped(name, number, "is missing", min(first_ms, last_ms), last_ms))
        return found

    def _take(self, name: str, part: Part, before: Skipped | None = None) -> None:
        try:
            read = self._source.read(name, part)
        except ContractError as e:
            if before is None:
                self._skip(Skipped(name, part.number, str(e), part.first_ms, part.last_ms))
            return
        if before is not None:
            log.info("part %d of %s can be read now", part.number, name)
        try:
            if name == DECISIONS and self._count is not None and part.last_ms >= self.told_from_ms:
                self._count(f"{name}/{part.number}", read.promised())
            with self.store.writing():
                if read.rows:
                    self._merge(read)
                self.store.take(name, part, *read.between, read.complete_ms)
        except Unavailable:
            raise
        except Exception as e:  # our bug, or a part that somebody else wrote: the rest goes on
            if before is None:
                log.exception("part %d of %s", part.number, name)
                reason = f"cannot be summarised: {type(e).__name__}: {e}"
                self._skip(Skipped(name, part.number, reason, part.first_ms, part.last_ms))

    def _find(self, name: str, part: Part) -> None:
        try:
            self._source.read(name, part)
        except ContractError:
            return
        log.info("part %d of %s is there again", part.number, name)
        with self.store.writing():
            self.store.found(name, part.number)

    def _merge(self, read: PartAtHand) -> None:
        rates = {}
        for hour_ms, pages in read.pages.items():
            rates[hour_ms] = self._rate(hour_ms, pages)
            self.store.add_pages(hour_ms, pages, rates[hour_ms])
        watched = self._watched(read.hour_ms)
        self.store.merge(read.tally(rates, watched))
        if read.pages:
            watched.write()
        self.store.add_late(read.late)

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
