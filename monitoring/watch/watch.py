"""One turn after the other: new parts, hours that are over, what is old. Its only input is the archive."""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import pyarrow as pa

from domain.clock import now_ms
from domain.errors import Unavailable
from features.market import Market
from monitoring.detection.finding import Finding
from monitoring.summaries import ALL, FLOW, Flows
from monitoring.watch.baseline import take_baselines
from monitoring.watch.compaction import Compaction
from monitoring.watch.database import MonitorDamaged, monitor_path, set_aside
from monitoring.watch.finishing import OVER, HourFinisher, PartLost
from monitoring.watch.judging import Judge
from monitoring.watch.reading import QUIET_S, ArchiveReader
from monitoring.watch.slicing import Tally
from monitoring.watch.store import MonitorStore

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


class Incidents(Protocol):
    """Who takes what is found, and says when it cannot: `monitoring.incidents.Keeper`."""

    def count(self, source: str, decisions: pa.Table) -> None:
        """Counts a part's decisions for the service levels."""

    def observe(self, hour_ms: int, findings: Sequence[Finding], now_ms: int, streams: int = 0) -> None:
        """Takes over what was found in an hour."""

    def turn(self, now_ms: int, micros_per_page: float = 0.0) -> None:
        """What is due now and then."""


class Watch:
    """Follows one archive. What it holds in memory can be lost at any time.

    Args:
      stop: ends a turn early, between two steps.
      quiet_s: see `ArchiveReader`.
      releases: folder of releases, for what their training rows were like.
      incidents: takes what is found; none keeps to the statistics.
    """

    def __init__(
        self,
        market: Market,
        log_dir: Path,
        stop: threading.Event | None = None,
        incidents: "Incidents | None" = None,
        releases: Path | None = None,
        quiet_s: float = QUIET_S,
    ) -> None:
        self._quiet_s = quiet_s
        self._market, self._log_dir, self._incidents, self._releases = market, log_dir, incidents, releases
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
            log.error("%s: moved to %s, and made anew from the archive", e, set_aside(monitor_path(self._log_dir)))
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
            self._open = _Opened.of(self._market, self._log_dir, self._incidents, self._quiet_s)
        return self._open

    def _turn(self) -> bool:
        opened = self.opened
        if time.monotonic() >= self._retry_at:
            self._retry_at = time.monotonic() + RETRY_S
            opened.reader.retry()
        more = True
        for _ in range(PARTS_AT_ONCE):
            more = opened.reader.take(1)
            while not self._stop.is_set() and (opened.judge_next() or self._finish_next(opened)):
                pass
            if self._stop.is_set():
                return False
            if not more:
                break
        take_baselines(self._market, self._releases, opened.store)
        if self._incidents is not None:
            self._incidents.turn(now_ms(), opened.micros_per_page())
        return opened.compaction.step() or more

    @staticmethod
    def _finish_next(opened: "_Opened") -> bool:
        due = opened.finisher.next_due(opened.reader.complete_ms)
        if due is None:
            return False
        (hour, stage), tally, lost = due, Tally(), None
        try:
            tally = opened.finisher.finish(hour, stage)
        except Unavailable:
            raise
        except PartLost as e:
            lost = e
            log.error("hour %d goes without its labels: %s", hour.hour_ms, e)
        except Exception:  # our bug, or parts that somebody else wrote: the rest goes on
            log.exception("hour %d goes without its labels", hour.hour_ms)
        with opened.store.writing():
            opened.store.merge(tally)
            opened.store.reach(hour.hour_ms, stage)
            if lost is not None:
                opened.store.skip(lost.skipped)
                if stage == OVER:
                    opened.store.judged(hour.hour_ms)  # by nobody: it would look as if what is not known had not happened
            opened.finisher.tidy()
        if stage == OVER:
            log.info("hour %d is over: %d pages", hour.hour_ms, hour.pages)
        return True


@dataclass(frozen=True, slots=True)
class _Opened:
    store: MonitorStore
    reader: ArchiveReader
    finisher: HourFinisher
    compaction: Compaction
    judge: Judge | None

    @classmethod
    def of(cls, market: Market, log_dir: Path, incidents: Incidents | None, quiet_s: float) -> Self:
        store = MonitorStore.to_write(log_dir)
        reader = ArchiveReader(market, log_dir, store, incidents.count if incidents else None, quiet_s)
        finisher, judge = HourFinisher(market, log_dir, store), None
        if incidents is not None:
            taker = incidents

            def observe(hour_ms: int, findings: Sequence[Finding], streams: int) -> None:
                for found in findings:
                    log.warning("%s of %s in %s", found.kind, found.series, found.slice)
                taker.observe(hour_ms, findings, now_ms(), streams)

            judge = Judge(market, store, finisher, observe, lambda: reader.told_from_ms)
        return cls(store, reader, finisher, Compaction(market, store), judge)

    def judge_next(self) -> bool:
        """Whether there was an hour to judge."""
        return self.judge is not None and self.judge.judge_next()

    def micros_per_page(self) -> float:
        """What a page earned in the newest hour that is over."""
        hours = self.store.summaries(self.store.first_and_last_hour()[1], kinds=(FLOW.kind,))
        flows = [f for h in hours if isinstance(f := h.by.get((ALL, FLOW)), Flows)]
        charged, pages = (sum(f[name] for f in flows) for name in ("charged_micros", "pages"))
        return charged / pages if pages else 0.0
