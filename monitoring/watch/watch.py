"""One turn after the other: new parts, hours that are over, what is old. Its only input is the archive."""

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from features.market import Market
from monitoring.watch.compaction import Compaction
from monitoring.watch.database import MonitorDamaged, set_aside
from monitoring.watch.finishing import OVER, HourFinisher
from monitoring.watch.reading import ArchiveReader
from monitoring.watch.store import Hour, MonitorStore

log = logging.getLogger("offerrank.watch")
PARTS_AT_ONCE = 50
RETRY_S = 300.0
"""Between two tries of parts that could not be read."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How far the watch is."""

    complete_ms: int
    """What was logged before is summarised."""
    hour_ms: int
    """The newest hour that is over; 0 where none is."""
    skipped: int
    """Parts that could not be read."""


class Watch:
    """Follows one archive. What it holds in memory can be lost at any time.

    Args:
      stop: ends a turn early, between two steps.
    """

    def __init__(self, market: Market, log_dir: Path, stop: threading.Event | None = None) -> None:
        self._market, self._log_dir = market, log_dir
        self._stop = stop or threading.Event()
        self._retry_at = time.monotonic()
        self._open: _Opened | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open is not None:
            self._open.store.close()
            self._open = None

    def turn(self) -> bool:
        """Takes what is new; whether there is more to take at once.

        Raises:
          MonitorUnavailable: disk full, locked; nothing is lost, and the next turn goes on.
        """
        try:
            return self._turn()
        except MonitorDamaged as e:
            self.__exit__()
            log.error("%s: moved to %s, and made anew from the archive", e, set_aside(self._log_dir))
            return True

    def seen(self) -> Seen:
        """How far it is; errors as in `turn`."""
        parts = self.opened
        hour_ms = parts.store.first_and_last_hour()[1]
        return Seen(parts.reader.complete_ms, hour_ms, len(parts.store.skipped()))

    @property
    def opened(self) -> "_Opened":
        """The file and who works on it."""
        if self._open is None:
            self._open = _Opened.of(self._market, self._log_dir)
        return self._open

    def _turn(self) -> bool:
        reader, finisher, compaction = self.opened.reader, self.opened.finisher, self.opened.compaction
        if time.monotonic() >= self._retry_at:
            self._retry_at = time.monotonic() + RETRY_S
            reader.retry()
        more = False
        for _ in range(PARTS_AT_ONCE):
            if self._stop.is_set():
                return False
            more = reader.take(1)
            while (due := finisher.next_due(reader.complete_ms)) is not None and not self._stop.is_set():
                self._finish(finisher, *due)
            if not more:
                break
        return compaction.step() or more

    def _finish(self, finisher: HourFinisher, hour: Hour, stage: int) -> None:
        store = finisher.store
        tally = finisher.finish(hour, stage)
        with store.writing():
            store.merge(tally)
            store.reach(hour.hour_ms, stage)
            finisher.tidy()
        if stage == OVER:
            log.info("hour %d is over: %d pages", hour.hour_ms, hour.pages)


@dataclass(frozen=True, slots=True)
class _Opened:
    store: MonitorStore
    reader: ArchiveReader
    finisher: HourFinisher
    compaction: Compaction

    @classmethod
    def of(cls, market: Market, log_dir: Path) -> Self:
        store = MonitorStore.to_write(log_dir)
        return cls(store, ArchiveReader(market, log_dir, store), HourFinisher(market, log_dir, store), Compaction(market, store))
