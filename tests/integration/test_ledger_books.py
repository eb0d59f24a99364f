"""The books against a real Redis: what the archive says was charged is what was spent, to the micro, at any instant."""

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from archiving import EventArchiver
from money_path import MARKET, MoneyPath
from open_market import let_in

from domain.events import EventType
from domain.keys import Keys, partition_of
from features.log_archive import EVENTS, parts
from serving.ledger.books import LedgerBooks
from serving.ledger.database import ledger_path
from serving.ledger.keeper import LedgerKeeper
from serving.ledger.reconcile import Account

KEYS = Keys(MARKET.name)


class Ledger:
    """Books, archive and money of one market."""

    def __init__(self, url: str, log_dir: Path) -> None:
        self.log_dir = log_dir
        self.money = MoneyPath(url, now_ms=None)
        let_in(self.money.raw, MARKET.name)
        self.money.open(self.today - 1, self.today, self.today + 1)
        self.archiver = EventArchiver(url, MARKET, log_dir)
        self.client = redis.Redis.from_url(url)
        self.keeper = LedgerKeeper(self.client, MARKET, log_dir)

    @property
    def today(self) -> int:
        return self.money.at_ms // (MARKET.policy.day_length_s * 1000)

    def click(self, decision: str, campaign: str = "alpha-spring", micros: int = 250_000) -> None:
        one = self.money.sold(decision, campaign, micros)
        self.money.hold(one)
        self.money.report(EventType.IMPRESSION, one)
        self.money.report(EventType.CLICK, one)

    def spent(self, campaign: str = "alpha-spring") -> int:
        return int(self.money.raw.hget(KEYS.budget(campaign, self.today), "spent") or 0)

    def close(self) -> None:
        self.keeper.close()
        self.archiver.close()
        self.client.close()
        self.money.__exit__()


@pytest.fixture
def ledger(redis_url: str, tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(redis_url, tmp_path / "log")
    yield made
    made.close()


def balances(ledger: Ledger) -> dict[tuple[str, str], int]:
    """Kind and campaign -> posted micros."""
    with LedgerBooks(ledger.log_dir) as books:
        return {(a.kind.value, a.campaign): b.posted_micros for a, b in books.balances() if b.posted_micros}


def test_books_and_tail_together_are_what_was_spent(ledger: Ledger) -> None:
    ledger.click("a")
    ledger.archiver.archive()
    assert ledger.keeper.catch_up() == 1
    ledger.click("b")
    ledger.click("c", "alpha-rest", 7)
    found = ledger.keeper.reconcile()
    assert found.accounts == [Account("alpha-rest", ledger.today, 7, 7), Account("alpha-spring", ledger.today, 500_000, 500_000)]
    assert (found.differences, found.charged_micros) == ((), 500_007)
    assert balances(ledger) == {("advertiser", "alpha-spring"): -250_000, ("market", "alpha-spring"): 250_000}


def test_a_micro_too_many_or_a_budget_that_is_gone_is_a_difference_and_the_page_is_told(ledger: Ledger) -> None:
    ledger.click("a")
    ledger.click("b", "alpha-rest", 9)
    ledger.money.raw.hincrby(KEYS.budget("alpha-spring", ledger.today), "spent", 1)
    ledger.money.raw.delete(KEYS.budget("alpha-rest", ledger.today))
    found = ledger.keeper.reconcile()
    assert found.differences == (
        Account("alpha-rest", ledger.today, 9, 0),
        Account("alpha-spring", ledger.today, 250_000, 250_001),
    )
    said = ledger.money.raw.hgetall(KEYS.ledger)
    assert (said["differences"], said["difference_micros"], said["closed"]) == ("2", "10", "1")
    assert said["worst"].startswith('[["alpha-rest",')


def test_it_is_exact_while_events_arrive_and_the_archive_moves_on(ledger: Ledger, redis_url: str) -> None:
    stop, failed = threading.Event(), []

    def sell(worker: int) -> None:
        rng = random.Random(worker)
        with MoneyPath(redis_url, now_ms=None) as money:
            while not stop.is_set():
                one = money.sold(
                    f"{worker}-{rng.random()}", rng.choice(["house", "alpha-spring", "beta-reach"]), rng.randint(1, 9)
                )
                money.hold(one)
                money.report(EventType.IMPRESSION, one)
                money.report(EventType.CLICK, one)

    def archive() -> None:
        while not stop.is_set():
            ledger.archiver.archive()  # trims right behind, so that what is read too late is gone
            time.sleep(0.02)

    threads = [threading.Thread(target=sell, args=(i,)) for i in range(2)] + [threading.Thread(target=archive)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(25):
            ledger.keeper.catch_up()
            failed += ledger.keeper.reconcile().differences
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []
    ledger.archiver.archive()
    ledger.keeper.catch_up()
    found = ledger.keeper.reconcile()
    assert found.differences == ()
    assert found.charged_micros == -sum(micros for (kind, _), micros in balances(ledger).items() if kind == "advertiser") > 0


def test_books_that_are_deleted_or_damaged_are_written_anew_from_the_archive(ledger: Ledger) -> None:
    for name in "abc":
        ledger.click(name)
        ledger.archiver.archive()
    ledger.keeper.turn()
    before = balances(ledger)
    path = ledger_path(ledger.log_dir)
    path.unlink()
    ledger.keeper.turn()
    assert balances(ledger) == before
    ledger.keeper.close()
    path.write_bytes(b"\0" * 5000)
    ledger.keeper.turn()  # sets the damaged file aside
    ledger.keeper.turn()
    assert balances(ledger) == before
    assert path.with_suffix(".damaged").exists()


def test_a_posting_that_a_crash_kept_back_is_made_up_for_and_none_is_made_twice(ledger: Ledger) -> None:
    ledger.click("a")
    ledger.archiver.archive()
    ledger.click("b")
    ledger.archiver.archive()
    ledger.keeper.catch_up()
    # As if the process had died after the second part was posted and before that was noted: both writes are one, but a copy of
    # the file from before may come back.
    ledger.keeper._open()._db.execute("DELETE FROM posted")
    assert ledger.keeper.catch_up() == 0
    assert balances(ledger)["market", "alpha-spring"] == ledger.spent() == 500_000


def test_books_that_cannot_be_written_do_not_keep_redis_from_being_compared(ledger: Ledger) -> None:
    ledger.click("a")
    ledger.archiver.archive()
    ledger.keeper.catch_up()
    ledger.click("b")
    ledger.archiver.archive()
    ledger.click("c")
    ledger.keeper._open()._db.execute("PRAGMA query_only = 1")
    ledger.keeper.turn()
    assert "cannot be written" in ledger.money.raw.hget(KEYS.ledger, "trouble")
    with LedgerBooks(ledger.log_dir) as books:  # what is archived and not posted counts all the same
        assert books.charged(0).micros["alpha-spring", ledger.today] == 500_000
    ledger.keeper._open()._db.execute("PRAGMA query_only = 0")
    ledger.keeper.turn()
    assert ledger.money.raw.hget(KEYS.ledger, "trouble") == ""
    assert balances(ledger)["market", "alpha-spring"] == 500_000


def test_what_is_held_and_the_limits_are_in_the_books_as_of_the_last_reconciliation(ledger: Ledger) -> None:
    ledger.click("a")
    assert ledger.money.hold(ledger.money.sold("waiting", "alpha-spring", 1_000))
    ledger.keeper.reconcile()
    with LedgerBooks(ledger.log_dir) as books:
        held = {a.campaign: b.pending_micros for a, b in books.balances() if a.kind == "holds" and b.pending_micros}
        limits = books.limits(0)
    assert held == {"alpha-spring": 1_000}
    assert (limits["alpha-spring", ledger.today], limits["house", ledger.today]) == (10_000_000, None)
    assert partition_of("alpha-spring") != partition_of("house")


def test_a_server_that_is_being_repaired_is_not_compared(ledger: Ledger) -> None:
    ledger.click("a")
    ledger.money.raw.delete(KEYS.verified)
    ledger.keeper.turn()
    said = ledger.money.raw.hgetall(KEYS.ledger)
    assert "may have lost data" in said["trouble"]
    assert "at_ms" not in said


def test_a_damaged_part_of_the_archive_is_named_and_nothing_behind_it_is_posted(ledger: Ledger) -> None:
    ledger.click("a")
    ledger.archiver.archive()
    (first,) = parts(ledger.log_dir, EVENTS)
    whole = first.path.read_bytes()
    first.path.write_bytes(whole[: len(whole) // 2])
    ledger.click("b")
    ledger.archiver.archive()
    ledger.keeper.turn()
    assert f"{first.path}: is damaged" in ledger.money.raw.hget(KEYS.ledger, "trouble")
    assert ledger.keeper._open().posted() == 0
    first.path.write_bytes(whole)
    ledger.keeper.turn()
    assert balances(ledger)["market", "alpha-spring"] == 500_000
