"""The books on disk: exactly once, all or nothing, append-only, and named errors where the file or the disk fails."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from features.log_archive import StreamId
from ledger import Entry, Key
from serving.ledger.database import LedgerDamaged, LedgerUnavailable, ledger_path, open_to_read
from serving.ledger.store import LedgerStore

PRICE = 250_000


def entry(ms: int, kind: str = "click", status: str = "settled", charged: int = PRICE, **changes: object) -> Entry:
    made = Entry(Key(3, ms, 0), kind, status, charged, PRICE, "tea", "leaf", 20_000, f"d-0|{ms}")
    return made._replace(**changes)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return ledger_path(tmp_path)


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    db = open_to_read(path)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def market_micros(path: Path) -> int:
    ((micros,),) = rows(path, "SELECT coalesce(sum(posted_micros), 0) FROM balances WHERE kind = 'market'")
    return int(str(micros))


def test_what_is_posted_twice_is_there_once(path: Path) -> None:
    store = LedgerStore(path)
    store.post(2, [entry(1), entry(2)], {3: StreamId(2, 0)})
    store.post(5, [entry(1), entry(2), entry(3)], {3: StreamId(5, 0)})
    assert store.posted() == 5
    store.close()
    assert market_micros(path) == 3 * PRICE
    assert rows(path, "SELECT count(*) FROM transfers") == [(3,)]


def test_balances_are_the_sum_of_the_postings_and_all_together_nothing(path: Path) -> None:
    store = LedgerStore(path)
    store.post(
        3,
        [entry(1), entry(2, "return", "returned", -PRICE), entry(3, status="invalid", charged=0, reason="robot")],
        {3: StreamId(3, 0)},
    )
    store.post(1, [entry(1, key=Key(4, 1, 0), campaign="wine", advertiser="cellar")], {4: StreamId(1, 0)})
    store.close()
    assert rows(path, "SELECT sum(posted_micros), sum(pending_micros) FROM balances") == [(0, 0)]
    assert rows(path, "SELECT sum(micros) FROM postings") == [(0,)]
    by_account = "SELECT account, sum(micros) FROM postings WHERE account <> 'invalid' GROUP BY 1 ORDER BY 1"
    from_balances = "SELECT kind, sum(posted_micros) FROM balances WHERE kind <> 'invalid' GROUP BY 1 ORDER BY 1"
    assert rows(path, by_account) == rows(path, from_balances)


def test_a_charge_finds_what_was_pending_in_an_earlier_batch(path: Path) -> None:
    store = LedgerStore(path)
    store.post(1, [entry(1, status="pending", charged=0, subject="s")], {3: StreamId(1, 0)})
    store.close()
    store = LedgerStore(path)
    book = store.post(2, [entry(2, "charge", subject="s", day=20_001)], {3: StreamId(2, 0)})
    again = store.post(3, [entry(3, "charge", subject="s", day=20_001)], {3: StreamId(3, 0)})
    store.close()
    assert (len(book.transfers), [r.result.value for r in again.refusals]) == (1, ["already_posted"])
    assert rows(path, "SELECT kind, day, posted_micros FROM balances WHERE posted_micros <> 0 ORDER BY kind") == [
        ("advertiser", 20_001, -PRICE),
        ("market", 20_001, PRICE),
    ]
    assert rows(path, "SELECT sum(abs(pending_micros)) FROM balances") == [(0,)]
    assert rows(path, "SELECT result, micros FROM refusals") == [("already_posted", PRICE)]


def test_what_waits_too_long_expires_and_is_forgotten_a_turn_later(path: Path) -> None:
    store = LedgerStore(path)
    store.post(5, [entry(1, status="pending", charged=0), entry(5, status="pending", charged=0)], {3: StreamId(5, 0)})
    assert [store.expire(before_ms=5), store.expire(before_ms=5)] == [1, 0]
    store.close()
    assert rows(path, "SELECT state, count(*) FROM transfers GROUP BY 1") == [("expired", 1), ("pending", 2)]
    assert rows(path, "SELECT sum(pending_micros) FROM balances WHERE kind = 'market'") == [(PRICE,)]


def test_transfers_cannot_be_changed_or_removed(path: Path) -> None:
    store = LedgerStore(path)
    store.post(1, [entry(1)], {3: StreamId(1, 0)})
    store.close()
    with sqlite3.connect(path) as db:
        for statement in ("UPDATE transfers SET micros = 1", "DELETE FROM transfers"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                db.execute(statement)
    db.close()


def test_a_failed_batch_leaves_nothing_behind_and_the_next_one_is_whole(path: Path) -> None:
    store = LedgerStore(path)
    with sqlite3.connect(path) as db:
        db.execute("CREATE TRIGGER fail BEFORE INSERT ON transfers WHEN new.ms = 3 BEGIN SELECT RAISE(ABORT, 'for once'); END")
    db.close()
    with pytest.raises(LedgerUnavailable, match="for once"):
        store.post(3, [entry(1), entry(2), entry(3)], {3: StreamId(3, 0)})
    assert store.posted() == 0
    store.post(1, [entry(1)], {3: StreamId(1, 0)})
    store.close()
    assert market_micros(path) == PRICE


def test_holds_and_limits_are_taken_over_as_they_are(path: Path) -> None:
    store = LedgerStore(path)
    store.mirror({("tea", "leaf", 7): 500, ("own", "shop", 7): 20}, {("tea", 7): 900, ("own", 7): None}, since_day=0)
    store.mirror({("tea", "leaf", 7): 0, ("own", "shop", 8): 1}, {("tea", 7): 800, ("own", 8): None}, since_day=0)
    assert store.post(1, [], {3: StreamId(1, 0)}).transfers == []
    store.close()
    held = (
        "SELECT campaign, day, pending_micros FROM balances JOIN campaigns ON id = campaign_id WHERE kind = 'holds' ORDER BY 1, 2"
    )
    assert rows(path, held) == [("own", 7, 20), ("own", 8, 1), ("tea", 7, 0)]
    assert rows(path, "SELECT * FROM limits ORDER BY 1, 2") == [("own", 7, None), ("own", 8, None), ("tea", 7, 800)]
    assert rows(path, "SELECT sum(pending_micros), sum(posted_micros) FROM balances") == [(0, 0)]


def test_damage_is_told_from_what_may_pass(path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match="there is none"):
        open_to_read(path)
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(LedgerDamaged, match="no database"):
        LedgerStore(path)
    path.unlink()
    store = LedgerStore(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA user_version = 99")
    store.close()
    other.close()
    with pytest.raises(LedgerDamaged, match="expected version 1, got 99"):
        LedgerStore(path)


def test_another_writer_and_a_full_disk_are_named(path: Path) -> None:
    store = LedgerStore(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnavailable, match="another process keeps it locked"):
        store.post(1, [entry(1)], {3: StreamId(1, 0)})
    other.execute("ROLLBACK")
    other.close()
    store._db.execute("PRAGMA max_page_count = 1")  # which SQLite raises to what is there: not a page more
    with pytest.raises(LedgerUnavailable, match="the disk is full"):
        store.post(500, [entry(ms, reason="r" * 500) for ms in range(1, 500)], {3: StreamId(500, 0)})
    store._db.execute("PRAGMA max_page_count = 100000")
    store.post(1, [entry(1)], {3: StreamId(1, 0)})
    store.close()
    assert market_micros(path) == PRICE


@contextmanager
def nobody() -> Iterator[None]:
    """Root may write anywhere; for the length of the block it is nobody."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_books_in_a_folder_that_cannot_be_written_to_are_read() -> None:
    with tempfile.TemporaryDirectory() as folder:  # not below pytest's own, which nobody else may enter
        path = Path(folder) / "ledger.sqlite"
        store = LedgerStore(path)
        store.post(1, [entry(1)], {3: StreamId(1, 0)})
        store.close()
        Path(folder).chmod(0o555)
        path.chmod(0o444)
        try:
            with nobody():
                with pytest.raises(PermissionError):
                    (Path(folder) / "more").touch()
                assert market_micros(path) == PRICE
        finally:
            Path(folder).chmod(0o700)
