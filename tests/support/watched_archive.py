"""An archive of the corner market that the watch reads, part by part, and what it should know of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path

import tomli
from log_entries import MARKET_TOML, decision_fields, event_fields

from domain.events import Decision, EventType
from features.log_archive import Archived, StreamId
from features.market import Market, parse_market
from monitoring.summaries import ALL, FLOW, Flows, Series, Slice, Summary
from monitoring.watch.store import MonitorStore
from monitoring.watch.watch import Incidents, Watch
from serving.archiver.files import write_part
from serving.archiver.rows import Entry, log_formats

HOUR_MS = 3_600_000
BEGIN_MS = 480_000 * HOUR_MS
"""Of a day and of an hour: 4 October 2024."""


def corner(**monitoring: object) -> Market:
    """The market of tests/support/log_entries.py, watched in a way of its own; clicks count within 100 s."""
    return parse_market(tomli.loads(MARKET_TOML) | {"monitoring": monitoring})


class WatchedArchive:
    """Decisions and events at times counted from `BEGIN_MS`, in parts that are complete up to when they are written."""

    def __init__(self, log_dir: Path, market: Market | None = None) -> None:
        self.log_dir, self.market = log_dir, market or corner()
        self._waiting: dict[str, list[tuple[int, dict[bytes, bytes]]]] = {"decisions": [], "events": []}
        self._number = 0

    def decides(self, made: Decision, logged_ms: int | None = None) -> None:
        self._waiting["decisions"].append((made.time_ms if logged_ms is None else logged_ms, decision_fields(made)))

    def happens(self, kind: EventType | str, impression_id: str, at_ms: int, offer: str = "green", **changes: object) -> None:
        decision_id = str(changes.pop("decision_id", "d"))
        self._waiting["events"].append((at_ms, event_fields(kind, impression_id, decision_id, at_ms, offer, **changes)))

    def write(self, until_ms: int) -> list[Path]:
        """One part of each log with what was logged before `until_ms`, from `BEGIN_MS`; says that it is complete till then."""
        end_ms, paths = BEGIN_MS + until_ms, []
        self._number += 1
        for log in log_formats(self.market):
            entries = sorted((e for e in self._waiting[log.name] if e[0] < end_ms), key=itemgetter(0))
            self._waiting[log.name] = [e for e in self._waiting[log.name] if e[0] >= end_ms]
            numbered = [Entry(StreamId(ms, i), fields) for i, (ms, fields) in enumerate(entries)]
            table, rejected = log.table(numbered)
            assert not rejected
            last = numbered[-1].id if numbered else StreamId(end_ms - 1, 0)
            to = Archived(self._number, {0: last}, end_ms)
            paths.append(write_part(self.log_dir, log.name, table, rejected, numbered[0].id if numbered else last, last, to))
        return paths

    def watched(self, incidents: Incidents | None = None) -> "Known":
        """After a watch has read it all."""
        with Watch(self.market, self.log_dir, incidents=incidents, quiet_s=0) as watch:
            while watch.turn():
                pass
        return Known(self.log_dir)


class Known:
    """What stands in the file."""

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir

    @contextmanager
    def store(self) -> Iterator[MonitorStore]:
        store = MonitorStore.to_read(self.log_dir)
        try:
            yield store
        finally:
            store.close()

    def by(self, hour: int = 0, release: str = "cold-start") -> dict[tuple[Slice, Series], Summary]:
        with self.store() as store:
            found = {h.release: h.by for h in store.summaries(BEGIN_MS + hour * HOUR_MS)}
        return dict(found.get(release, {}))

    def flow(self, hour: int = 0, where: Slice = ALL, release: str = "cold-start") -> dict[str, int]:
        flows = self.by(hour, release).get((where, FLOW), Flows())
        assert isinstance(flows, Flows)
        return dict(flows.counts)

    def everything(self) -> dict[object, object]:
        """All summaries and hours, to be compared with those of another file."""
        with self.store() as store:
            hours = store.hours()
            summaries = {(h.hour_ms, s.release): dict(s.by) for h in hours for s in store.summaries(h.hour_ms)}
        return {"hours": hours, **summaries}
