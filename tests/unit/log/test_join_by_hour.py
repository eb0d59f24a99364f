"""The join goes hour by hour, and tells what one over all entries at once tells: here a few lines of Python."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from log_entries import decision, decision_fields, event_fields, slot

from domain.events import Decision
from features.log_archive import DECISIONS, Archived, Part, StreamId, parts
from features.market import Market
from pipelines.examples import join_log, learnable_rows, rendered_rows
from pipelines.newest_first import NewestFirst
from serving.archiver.files import write_part
from serving.archiver.rows import Entry, log_formats

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
BEGIN_MS = 490_000 * HOUR_MS
CLICK_MS, CONVERSION_MS = HOUR_MS, 2 * DAY_MS


@dataclass
class Log:
    """Entries with the times at which they are logged, and what was meant."""

    decisions: list[tuple[int, Decision]] = field(default_factory=list)
    events: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)

    def happens(self, kind: str, impression: str, at_ms: int, logged_ms: int, status: str = "logged") -> None:
        self.events.append((logged_ms, {"kind": kind, "impression": impression, "at_ms": at_ms, "status": status}))

    def write(self, market: Market, log_dir: Path) -> Path:
        """In parts of an hour."""
        fields = {
            "decisions": [(ms, decision_fields(made)) for ms, made in self.decisions],
            "events": [
                (ms, event_fields(e["kind"], e["impression"], e["impression"], e["at_ms"], status=e["status"]))
                for ms, e in self.events
            ],
        }
        for log in log_formats(market):
            entries = sorted((StreamId(ms, i), entry) for i, (ms, entry) in enumerate(fields[log.name]))
            for number, (_, some) in enumerate(groupby(entries, key=lambda entry: entry[0].ms // HOUR_MS)):
                part = [Entry(*entry) for entry in some]
                first, last = part[0].id, part[-1].id
                table, rejected = log.table(part)
                write_part(log_dir, log.name, table, rejected, first, last, Archived(number + 1, {0: last}, last.ms))
                assert not rejected
        return log_dir


def random_log(rng: np.random.Generator, days: float = 2.5, pages: int = 200) -> Log:
    """Late and lost beacons, robots, clawbacks, repeated entries, conversions days later, events of nothing."""
    log = Log()
    for i, at_ms in enumerate((BEGIN_MS + rng.integers(0, int(days * DAY_MS), pages)).tolist()):
        slots = [slot(f"i{i}-{k}", position=k) for k in range(int(rng.integers(0, 3)))]
        made = decision(f"d{i}", at_ms, *slots, invalid="robot" if rng.random() < 0.05 else "", explored=bool(rng.random() < 0.3))
        for _ in range(1 + (rng.random() < 0.05)):
            log.decisions.append((at_ms + int(rng.integers(-HOUR_MS, HOUR_MS)), made))
        for shown in slots:
            times: list[tuple[str, int]] = []
            if rng.random() < 0.8:
                times.append(("impression", at_ms + int(rng.integers(0, HOUR_MS))))
            if rng.random() < 0.5:
                # Most within their window; some far too late.
                clicked_ms = at_ms + int(rng.integers(0, 3 * HOUR_MS if rng.random() < 0.9 else CLICK_MS + CONVERSION_MS))
                times.append(("click", clicked_ms))
                if rng.random() < 0.5:
                    times.append(
                        (
                            "conversion",
                            min(clicked_ms + int(rng.integers(0, 1.1 * CONVERSION_MS)), at_ms + CONVERSION_MS + CLICK_MS),
                        )
                    )
            if rng.random() < 0.05:
                times.append(("adjustment", at_ms + int(rng.integers(0, 10 * DAY_MS))))
            if rng.random() < 0.1:
                times.append(("dismiss", at_ms + 9))
            for kind, event_ms in times:
                status = "invalid" if rng.random() < 0.1 and kind != "adjustment" else "logged"
                for _ in range(1 + (rng.random() < 0.05)):
                    log.happens(kind, shown.impression_id, event_ms, event_ms + int(rng.integers(-HOUR_MS, HOUR_MS)), status)
    for i in range(20):
        at_ms = BEGIN_MS + int(rng.integers(0, int(days * DAY_MS)))
        log.happens(str(rng.choice(["impression", "click", "conversion", "return"])), f"nobody{i}", at_ms, at_ms)
    return log


def expected(log: Log, now_ms: int, since_ms: int, *, reported: bool) -> tuple[dict[str, tuple[int, ...]], Counter[str]]:
    """Impression -> time, click, conversion, elapsed; and counts."""
    known = [e for _, e in log.events if e["at_ms"] <= now_ms]
    first: dict[tuple[str, str], int] = {}
    for e in (e for e in known if e["status"] != "invalid"):
        key = (e["kind"], e["impression"])
        first[key] = min(first.get(key, now_ms), e["at_ms"])
    marked = {e["impression"] for e in known if e["kind"] == "click" and e["status"] == "invalid"}
    rows: dict[str, tuple[int, ...]] = {}
    counts: Counter[str] = Counter()
    slots = {
        s.impression_id: made.time_ms
        for _, made in log.decisions
        if since_ms <= made.time_ms <= now_ms and not made.invalid
        for s in made.slots
    }
    for name, at_ms in slots.items():
        shown, click, conversion = (first.get((kind, name)) for kind in ("impression", "click", "conversion"))
        spoilt = ("adjustment", name) in first or (name in marked and click is None)
        counts["clicked"] += click is not None and not spoilt
        if spoilt or (reported and shown is None):
            counts["not_rendered"] += 1
            counts["clicks_without_impression"] += not spoilt and click is not None
            continue
        shown = at_ms if shown is None else shown
        clicks = click is not None and click - shown <= CLICK_MS
        converts = clicks and conversion is not None and conversion - (click or 0) <= CONVERSION_MS
        rows[name] = (at_ms, int(clicks), int(converts), now_ms - shown)
    counts |= {"rows": len(rows), "clicks": sum(r[1] for r in rows.values()), "conversions": sum(r[2] for r in rows.values())}
    counts["orphan_events"] = sum(
        e["status"] != "invalid" and e["impression"] not in slots and e["kind"] in ("impression", "click", "conversion")
        for e in known
    )
    return rows, counts


@pytest.fixture
def weekly(market: Market) -> Market:
    windows = {"click_window_s": CLICK_MS // 1000, "conversion_window_s": CONVERSION_MS // 1000}
    return market.model_copy(update={"training": market.training.model_copy(update=windows)})


@pytest.mark.parametrize("seed", range(3))
def test_hour_by_hour_tells_what_all_entries_at_once_tell(weekly: Market, tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    log = random_log(rng)
    log_dir = log.write(weekly, tmp_path / "log")
    unreported = weekly.model_copy(update={"policy": weekly.policy.model_copy(update={"impressions": "unreported"})})
    for market, now_ms, since_ms in (
        (weekly, BEGIN_MS + 20 * DAY_MS, 0),
        (unreported, BEGIN_MS + 20 * DAY_MS, 0),
        (weekly, BEGIN_MS + 2 * DAY_MS + 12_345, BEGIN_MS + HOUR_MS // 2),
    ):
        table, report = join_log(market, log_dir, now_ms, since_ms)
        rows, counts = expected(log, now_ms, since_ms, reported=market is weekly)
        found = table.select(["impression_id", "time_ms", "click", "conversion", "elapsed_ms"]).to_pylist()
        assert {r["impression_id"]: tuple(r.values())[1:] for r in found} == rows
        assert {name: getattr(report, name) for name in counts} == counts
        assert len(table) == len(rows)
        hours = [r["time_ms"] // HOUR_MS for r in found]
        assert hours == sorted(hours)


def test_the_rows_of_a_span_are_those_of_the_whole(weekly: Market, tmp_path: Path) -> None:
    log = random_log(np.random.default_rng(9))
    log_dir = log.write(weekly, tmp_path / "log")
    begin_ms, end_ms = BEGIN_MS + DAY_MS + 123, BEGIN_MS + DAY_MS + 7 * HOUR_MS
    rows = rendered_rows(weekly, log_dir, begin_ms, end_ms)["impression_id"].to_pylist()
    whole = join_log(weekly, log_dir, end_ms + HOUR_MS)[0].to_pylist()
    assert rows == [r["impression_id"] for r in whole if begin_ms <= r["time_ms"] <= end_ms]


@pytest.mark.parametrize(("lost", "impressions"), [(0.0, "reported"), (0.1, "reported"), (0.3, "reported"), (1.0, "unreported")])
def test_lost_beacons_leave_the_click_rate_what_it_is(weekly: Market, tmp_path: Path, lost: float, impressions: str) -> None:
    rng = np.random.default_rng(1)
    log, pages, rate = Log(), 4_000, 0.2
    for i in range(pages):
        at_ms = BEGIN_MS + 1000 * i
        log.decisions.append((at_ms, decision(f"d{i}", at_ms, slot(f"i{i}"))))
        if rng.random() >= lost:
            log.happens("impression", f"i{i}", at_ms + 50, at_ms + 60)
        if rng.random() < rate:
            log.happens("click", f"i{i}", at_ms + 5_000, at_ms + 5_010)
    market = weekly.model_copy(update={"policy": weekly.policy.model_copy(update={"impressions": impressions})})
    rows, report = join_log(market, log.write(weekly, tmp_path / "log"), BEGIN_MS + DAY_MS)
    # A row that a click stands in for raises 10 % lost to .217 and 30 % to .263; four standard errors are .025 at most.
    error = (rate * (1 - rate) / len(rows)) ** 0.5
    assert abs(report.clicks / report.rows - rate) < 3 * error
    assert len(rows) == pytest.approx(pages * (1 - lost) if impressions == "reported" else pages, rel=0.05)
    if impressions == "reported":
        assert report.used.without_impression == pytest.approx(lost, abs=0.05)


def test_a_log_of_lost_beacons_is_refused_in_one_line_and_not_taken_for_one_that_is_too_short(
    weekly: Market, tmp_path: Path
) -> None:
    log = Log()
    for i in range(40):
        at_ms = BEGIN_MS + i
        log.decisions.append((at_ms, decision(f"d{i}", at_ms, slot(f"i{i}"))))
        log.happens("click", f"i{i}", at_ms + 5_000, at_ms + 5_010)
    log.happens("dismiss", "none", BEGIN_MS + 9 * DAY_MS, BEGIN_MS + 9 * DAY_MS)
    log.decisions.append((BEGIN_MS + 9 * DAY_MS, decision("last", BEGIN_MS + 9 * DAY_MS)))
    log_dir = log.write(weekly, tmp_path / "log")
    said = (
        r"expected impressions of the offers that were clicked \(training.max_clicks_without_impression = 0.2\), got "
        r"'none for 40 of 40 clicks; where pages report no impressions, say so: policy.impressions = \"unreported\"'"
    )
    with pytest.raises(Exception, match=said) as refused:
        learnable_rows(weekly, log_dir, BEGIN_MS + 10 * DAY_MS)
    assert type(refused.value).__name__ == "InvalidTrainingData"


def test_entries_are_given_once_and_those_of_one_time_together(market: Market, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    log = Log()
    for i, at_ms in enumerate((BEGIN_MS + rng.integers(0, 6 * HOUR_MS, 300) // 60_000 * 60_000).tolist()):
        log.decisions.append((at_ms + int(rng.integers(-HOUR_MS, HOUR_MS)), decision(f"d{i}", at_ms)))
    log_dir = log.write(market, tmp_path / "log")
    schema = pa.schema([("decision_id", pa.string()), ("time_ms", pa.int64())])
    entries = NewestFirst(parts(log_dir, DECISIONS), schema)
    spans, before_ms = [], 10**15
    while (begin_ms := entries.next_span_ms(rows=20)) is not None:
        some = entries.since(begin_ms)
        at = some["time_ms"].to_numpy()
        assert begin_ms <= at.min()
        assert at.max() < before_ms
        assert at.max() // HOUR_MS == at.min() // HOUR_MS
        spans += some["decision_id"].to_pylist()
        before_ms = begin_ms
    assert sorted(spans) == sorted(made.decision_id for _, made in log.decisions)


def test_a_part_that_does_not_say_when_is_read_all_the_same(market: Market, tmp_path: Path) -> None:
    log = Log(decisions=[(BEGIN_MS, decision("d", BEGIN_MS))])
    (part,) = parts(log.write(market, tmp_path / "log"), DECISIONS)
    whole = pa.parquet.read_table(part.path, partitioning=None)
    pa.parquet.write_table(whole, part.path, write_statistics=False)
    schema = pa.schema([("decision_id", pa.string()), ("time_ms", pa.int64())])
    entries = NewestFirst([Part(1, BEGIN_MS, BEGIN_MS, part.path)], schema)
    assert entries.newest_ms() == BEGIN_MS
    assert entries.since(BEGIN_MS)["decision_id"].to_pylist() == ["d"]
    assert entries.newest_ms() is None
