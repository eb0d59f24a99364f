"""An archive that is written as time goes on, each entry when it happens."""

from operator import itemgetter
from pathlib import Path

from log_entries import decision, decision_fields, event_fields, slot

from features.log_archive import StreamId
from features.market import Market
from serving.archiver.files import write_part
from serving.archiver.rows import Entry, log_formats


class GrowingArchive:
    """Pages of one offer and what came of them; an empty page and a dismissal at its end say how far it reaches."""

    def __init__(self, market: Market, log_dir: Path) -> None:
        self.market, self.log_dir = market, log_dir
        self.entries: dict[str, list[tuple[int, dict[bytes, bytes]]]] = {"decisions": [], "events": []}
        self._archived_ms = -1

    def shows(self, name: str, at_ms: int, click_ms: int | None = None, conversion_ms: int | None = None) -> None:
        self.entries["decisions"].append((at_ms, decision_fields(decision(name, at_ms, slot(name)))))
        times = {"impression": at_ms, "click": click_ms, "conversion": conversion_ms}
        happened = [(t, event_fields(kind, name, name, t)) for kind, t in times.items() if t is not None]
        self.entries["events"] += happened

    def until(self, now_ms: int) -> Path:
        ends = {
            "decisions": decision_fields(decision(f"empty-{now_ms}", now_ms)),
            "events": event_fields("dismiss", "none", "none", now_ms),
        }
        for log in log_formats(self.market):
            new = [e for e in self.entries[log.name] if self._archived_ms < e[0] <= now_ms] + [(now_ms, ends[log.name])]
            numbered = [Entry(StreamId(ms, i), fields) for i, (ms, fields) in enumerate(sorted(new, key=itemgetter(0)))]
            table, rejected = log.table(numbered)
            assert not rejected
            write_part(self.log_dir, log.name, table, rejected, numbered[0].id, numbered[-1].id)
        self._archived_ms = now_ms
        return self.log_dir
