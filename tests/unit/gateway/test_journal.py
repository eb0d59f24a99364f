"""Events that wait for Redis outlive their process, are stored once, and hold nobody up."""

import asyncio
import json
import logging
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events import EventType
from features.market import load_market
from monitoring import metrics
from serving.gateway.adapters.journal import Journal
from serving.gateway.adapters.memory import MemoryLedger
from serving.gateway.adapters.waiting_events import WaitingEvents
from serving.gateway.ports import BudgetsClosed, PageEvent
from serving.gateway.tokens import Sold

MARKET = load_market(Path(__file__).resolve().parents[2] / "golden" / "market.toml")
NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


def event(number: int, kind: EventType = EventType.CLICK, issued_ms: int = NOW_MS - 1000) -> PageEvent:
    names = (f"d{number}", f"d{number}-0", "alpha-shoes", "alpha-spring", "alpha", 0, "cpc", 750_000, 20_833)
    sold = Sold(*names, shopper_key=f"schöpfer\n{number}", issued_ms=issued_ms, test=False, asked_by="shop")
    return PageEvent(kind, sold, f"d{number}-0.{kind}", NOW_MS - number, 59_900_000, "order 7", True, "robot", "client")


def left(folder: Path) -> list[PageEvent]:
    """What the next process finds."""
    journal = Journal(folder)
    legacies = journal.legacies()
    for legacy in legacies:
        journal.take(legacy)
    journal.close()
    return [e for legacy in legacies for e in legacy.events]


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.journal"))


@given(st.integers(), st.text(), st.sampled_from(EventType), st.none() | st.integers(0, 2**53))
def test_every_field_of_an_event_comes_back(tmp_path_factory, number, text, kind, micros):
    folder = tmp_path_factory.mktemp("journal")
    written = replace(event(1, kind), event_id=text, value_micros=micros, time_ms=number % 2**50)
    journal = Journal(folder)
    journal.append(written)
    journal.close()
    assert left(folder) == [written]


def test_what_waits_is_there_for_the_next_process_and_not_for_another_that_runs_beside(tmp_path):
    journal = Journal(tmp_path)
    for i in range(3):
        journal.append(event(i))
    assert left(tmp_path) == []
    journal.close()
    assert left(tmp_path) == [event(0), event(1), event(2)]


def test_one_process_takes_over_and_others_do_not(tmp_path):
    dead = Journal(tmp_path)
    dead.append(event(1))
    dead.close()
    one, other = Journal(tmp_path), Journal(tmp_path)
    (legacy,) = one.legacies()
    one.take(legacy)
    assert (one.legacies(), other.legacies()) == ([], [])
    one.clear()
    assert files(tmp_path) == []


def test_what_was_taken_over_is_there_for_the_next_if_this_one_dies_too(tmp_path):
    dead = Journal(tmp_path)
    dead.append(event(1))
    dead.close()
    heir = Journal(tmp_path)
    heir.take(heir.legacies()[0])
    heir.append(event(2))
    heir.close()
    assert sorted(left(tmp_path), key=lambda e: e.event_id) == [event(1), event(2)]


def test_clear_leaves_nothing_or_what_still_waits(tmp_path):
    journal = Journal(tmp_path)
    journal.append(event(1))
    journal.append(event(2))
    journal.clear(waiting=[event(2)])
    journal.append(event(3))
    assert len(files(tmp_path)) == 1
    journal.close()
    assert left(tmp_path) == [event(2), event(3)]
    other = Journal(tmp_path)
    other.append(event(4))
    other.clear()
    other.close()
    assert event(4) not in left(tmp_path)


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_torn_last_line_is_left_out_and_said(tmp_path, caplog, cut):
    journal = Journal(tmp_path)
    journal.append(event(1))
    journal.append(event(2))
    journal.close()
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    expected = [event(1)] if cut > 1 else [event(1), event(2)]  # without its end of line it is whole
    assert left(tmp_path) == expected
    assert ("1 lines are torn" in caplog.text) == (cut > 1)


def test_a_line_that_rotted_costs_no_other(tmp_path):
    journal = Journal(tmp_path)
    for i in range(3):
        journal.append(event(i))
    journal.close()
    (path,) = files(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b"750000", b"950000") + b"\x00\xff\n" + lines[2])
    assert left(tmp_path) == [event(0), event(2)]


def test_events_of_another_version_stay_for_people(tmp_path, caplog):
    journal = Journal(tmp_path)
    journal.append(event(1))
    journal.close()
    (path,) = files(tmp_path)
    record = json.loads(path.read_bytes().partition(b" ")[2])
    del record["sold"]["price_micros"]
    text = json.dumps(record).encode()
    path.write_bytes(b"%08x %b\n" % (zlib.crc32(text), text))
    heir = Journal(tmp_path)
    (legacy,) = heir.legacies()
    assert (legacy.events, legacy.unread) == ([], 1)
    heir.take(legacy)
    heir.clear()
    assert (files(tmp_path), len(list(tmp_path.glob("*.unread")))) == ([], 1)
    assert "cannot be read; they stay in the folder" in caplog.text


def failures() -> float:
    return metrics.JOURNAL_FAILURES._value.get()


def test_a_file_has_a_bound(tmp_path, caplog):
    journal, before = Journal(tmp_path, max_bytes=2000), failures()
    for i in range(10):
        journal.append(event(i))
    (path,) = files(tmp_path)
    assert path.stat().st_size <= 2000
    assert failures() - before == 10 - len(path.read_bytes().splitlines()) > 0
    assert caplog.text.count("wait in memory alone") == 1
    journal.clear()
    journal.append(event(11))
    journal.close()
    assert left(tmp_path) == [event(11)]


def test_a_disk_that_takes_nothing_is_said_and_counted_and_stops_nobody(tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.touch()
    journal, before = Journal(blocked / "journal"), failures()
    assert "wait in memory alone" in caplog.text
    journal.append(event(1))
    journal.append(event(2))
    assert failures() - before == 2
    assert journal.legacies() == []
    journal.clear()
    journal.close()


class HalfOpenLedger(MemoryLedger):
    """Some budgets are not open."""

    closed: frozenset[str] = frozenset()

    async def accept(self, events, now_ms, timeout_s):
        closed = [e for e in events if e.sold.decision_id in self.closed]
        settled = await super().accept([e for e in events if e not in closed], now_ms, timeout_s)
        if closed:
            raise BudgetsClosed(closed)
        return settled


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def ids(ledger: MemoryLedger) -> list[str]:
    return [e.sold.decision_id for e in ledger.accepted]


def run(waiting: WaitingEvents, until_: Callable[[], bool]) -> None:
    async def scenario() -> None:
        task = asyncio.create_task(waiting.run())
        await until(until_)
        task.cancel()

    asyncio.run(scenario())


def test_events_are_stored_in_the_end_and_the_journal_is_empty_then(tmp_path):
    ledger = MemoryLedger()
    waiting = WaitingEvents(ledger, MARKET, lambda: NOW_MS, tmp_path)
    for i in range(100):
        waiting.put(event(i))
    assert files(tmp_path / MARKET.name)
    run(waiting, lambda: not len(waiting) and not files(tmp_path / MARKET.name))
    assert ids(ledger) == [f"d{i}" for i in range(100)]


def test_the_next_process_stores_what_the_last_one_could_not(tmp_path):
    dead = WaitingEvents(MemoryLedger(away=True), MARKET, lambda: NOW_MS, tmp_path)
    dead.put(event(1))
    dead.put(event(2))
    dead._journal.close()  # as the kernel does for the dead
    ledger = MemoryLedger()
    heir = WaitingEvents(ledger, MARKET, lambda: NOW_MS, tmp_path)
    heir.inherit()
    run(heir, lambda: not files(tmp_path / MARKET.name))
    assert ids(ledger) == ["d1", "d2"]
    assert [e.time_ms for e in ledger.accepted] == [NOW_MS - 1, NOW_MS - 2]


def test_what_redis_may_have_forgotten_is_not_charged_again(tmp_path, caplog):
    dead = WaitingEvents(MemoryLedger(away=True), MARKET, lambda: NOW_MS, tmp_path)
    for kind in (EventType.IMPRESSION, EventType.CLICK):
        dead.put(event(1, kind, issued_ms=NOW_MS - HOUR_MS - 1))
    dead._journal.close()
    ledger = MemoryLedger()
    heir = WaitingEvents(ledger, MARKET, lambda: NOW_MS, tmp_path)
    heir.inherit()
    run(heir, lambda: not files(tmp_path / MARKET.name))
    assert [e.type for e in ledger.accepted] == [EventType.CLICK]
    assert "impression of d1-0 waited for too long" in caplog.text


def test_events_whose_budgets_are_not_open_wait_beside_and_in_the_journal(tmp_path):
    ledger = HalfOpenLedger()
    ledger.closed = frozenset({"d1"})
    waiting = WaitingEvents(ledger, MARKET, lambda: NOW_MS, tmp_path)
    for i in range(3):
        waiting.put(event(i))
    run(waiting, lambda: len(waiting) == 1)
    assert ids(ledger) == ["d0", "d2"]
    waiting._journal.close()
    assert left(tmp_path / MARKET.name) == [event(1)]


def test_each_market_has_its_own(tmp_path):
    one = WaitingEvents(MemoryLedger(), MARKET, lambda: NOW_MS, tmp_path)
    one.put(event(1))
    one._journal.close()
    ledger = MemoryLedger()
    other = WaitingEvents(ledger, MARKET.model_copy(update={"name": "other"}), lambda: NOW_MS, tmp_path)
    other.inherit()
    assert len(other) == 0


def test_at_the_end_what_waits_is_left_to_the_next_process(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    waiting = WaitingEvents(MemoryLedger(away=True), MARKET, lambda: NOW_MS, tmp_path)
    waiting.put(event(1))
    asyncio.run(waiting.end())
    assert "1 events wait in the journal for the next gateway" in caplog.text
    assert left(tmp_path / MARKET.name) == [event(1)]
