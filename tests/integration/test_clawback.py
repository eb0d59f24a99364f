"""Charges that were found invalid later are taken back once: in Redis, in the log and in the books."""

import json
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import redis
from archiving import EventArchiver
from money_path import MARKET, MoneyPath
from open_market import begin_archive, let_in
from typer.testing import CliRunner

from domain.events import EventStatus, EventType
from domain.keys import Keys
from offerrank.cli import app
from serving.ledger.books import LedgerBooks
from serving.ledger.keeper import LedgerKeeper
from serving.ledger.reconcile import reconcile_now
from serving.repair.repair import Repair

KEYS = Keys(MARKET.name)
MARKET_FILE = Path(__file__).resolve().parents[1] / "golden" / "market.toml"


class Shop:
    def __init__(self, url: str, log_dir: Path) -> None:
        self.url, self.log_dir = url, begin_archive(log_dir, MARKET.name)
        self.money = MoneyPath(url, now_ms=None)
        let_in(self.money.raw, MARKET.name)
        self.money.open()
        self.archiver = EventArchiver(url, MARKET, self.log_dir)
        self.keeper = LedgerKeeper(self.archiver.client, MARKET, self.log_dir)

    def click(self, decision: str, micros: int = 100_000, **changes: object) -> None:
        one = self.money.sold(decision, "alpha-spring", micros, **changes)
        self.money.report(EventType.IMPRESSION, one)
        self.money.report(EventType.CLICK, one)

    def archive(self) -> None:
        self.archiver.archive(600_000)
        self.keeper.catch_up()

    def spent(self, campaign: str = "alpha-spring") -> int:
        day = self.money.at_ms // (MARKET.policy.day_length_s * 1000)
        return int(self.money.raw.hget(KEYS.budget(campaign, day), "spent") or 0)

    def given_back(self) -> dict[str, int]:
        """Reason -> micros, by the books."""
        with LedgerBooks(self.log_dir) as books:
            return {a.reason: -b.posted_micros for a, b in books.balances() if a.kind == "adjustments"}

    def clawback(self, *arguments: str, given: str | None = None) -> str:
        common = ["ledger", "clawback", "--market", str(MARKET_FILE), "--redis-url", self.url, "--log-dir", str(self.log_dir)]
        done = CliRunner().invoke(app, [*common, *arguments], input=given)
        assert done.exit_code == 0, done.output
        return done.output


@pytest.fixture
def shop(redis_url: str, tmp_path: Path) -> Iterator[Shop]:
    made = Shop(redis_url, tmp_path / "log")
    yield made
    made.keeper.close()
    made.archiver.close()
    made.money.__exit__()


def test_a_shoppers_charges_are_taken_back_once_and_everybody_agrees(shop: Shop) -> None:
    shop.click("a", shopper="robot")
    shop.click("b", shopper="robot")
    shop.click("c", shopper="human")
    shop.archive()
    said = shop.clawback("--shopper", "robot", "--reason", "farm", "--dry-run")
    assert "2 charges, 0.20 EUR would be taken back" in said
    assert shop.spent() == 300_000
    assert "2 charges, 0.20 EUR were taken back" in shop.clawback("--shopper", "robot", "--reason", "farm")
    assert shop.spent() == 100_000  # and may be sold again
    assert "0 charges" in shop.clawback("--shopper", "robot", "--reason", "farm")  # not archived yet, but remembered
    shop.archive()
    shop.money.raw.delete(*shop.money.raw.scan_iter(match="*:imp:*"))
    assert "0 charges" in shop.clawback("--shopper", "robot", "--reason", "farm")  # not remembered any more, but archived
    assert shop.given_back() == {"farm": 200_000}
    assert reconcile_now(shop.money.raw, MARKET, shop.log_dir).differences == ()


def test_events_keys_and_times_choose_and_all_that_is_given_has_to_match(shop: Shop) -> None:
    shop.click("a", asked_by="shop-1")
    shop.click("b", asked_by="shop-1")
    shop.click("c", asked_by="shop-2")
    shop.archive()
    assert "0 charges" in shop.clawback("--key", "shop-1", "--until", "2020-01-01", "--reason", "r", "--dry-run")
    assert "2 charges" in shop.clawback("--key", "shop-1", "--since", "2020-01-01", "--reason", "r", "--dry-run")
    assert "1 charges" in shop.clawback("--key", "shop-1", "--event", "b-0.click", "--event", "c-0.click", "--reason", "r")
    assert shop.spent() == 200_000


def test_a_list_of_suspects_is_taken_back_for_its_own_reasons(shop: Shop) -> None:
    for name in "abc":
        shop.click(name)
    shop.archive()
    lines = [{"impression_id": f"{n}-0", "event_id": f"{n}-0.click", "reason": f"suspect_{n}"} for n in "ab"]
    said = shop.clawback("--from", "-", "--json", given="\n".join(orjson.dumps(line).decode() for line in lines))
    assert [(json.loads(line)["impression_id"], json.loads(line)["reason"]) for line in said.splitlines()] == [
        ("a-0", "suspect_a"),
        ("b-0", "suspect_b"),
    ]
    shop.archive()
    assert shop.given_back() == {"suspect_a": 100_000, "suspect_b": 100_000}


def test_a_sale_is_given_back_by_a_return_or_by_a_clawback_but_not_by_both(shop: Shop) -> None:
    sales = [shop.money.sold(name, "gamma-sales", 2_000_000) for name in ("returned", "taken")]
    for one in sales:
        for kind in (EventType.IMPRESSION, EventType.CLICK, EventType.CONVERSION):
            shop.money.report(kind, one, order_id="o-" + one.decision_id if kind is EventType.CONVERSION else "")
    shop.archive()
    shop.money.report(EventType.RETURN, sales[0], order_id="o-returned")
    assert "1 charges, 2.00 EUR were taken back" in shop.clawback("--shopper", "s", "--reason", "fraud")
    assert shop.money.report(EventType.RETURN, sales[1], order_id="o-taken") == (EventStatus.DUPLICATE, 0)
    assert shop.spent("gamma-sales") == 0
    shop.archive()
    assert reconcile_now(shop.money.raw, MARKET, shop.log_dir).differences == ()
    with LedgerBooks(shop.log_dir) as books:
        assert books.refused() == 0


def test_what_was_taken_back_stays_so_when_redis_loses_its_data(shop: Shop) -> None:
    one = shop.money.sold("taken", "gamma-sales", 2_000_000)
    for kind in (EventType.IMPRESSION, EventType.CLICK, EventType.CONVERSION):
        shop.money.report(kind, one, order_id="o1" if kind is EventType.CONVERSION else "")
    shop.archive()
    shop.clawback("--shopper", "s", "--reason", "fraud")
    shop.archive()
    before = shop.money.raw.hgetall(KEYS.impression("gamma-sales", "taken-0"))
    shop.money.raw.flushall()
    Repair(shop.money.raw, MARKET, shop.log_dir).run()
    assert shop.money.raw.hgetall(KEYS.impression("gamma-sales", "taken-0")) == before
    assert shop.money.report(EventType.RETURN, one, order_id="o1") == (EventStatus.DUPLICATE, 0)
    assert shop.spent("gamma-sales") == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--reason", "r"], "say which charges"),
        (["--shopper", "s"], "say why"),
        (["--from", "-"], "expected lines of JSON with impression_id, event_id and reason"),
        (["--event", "e", "--reason", "r", "--since", "yesterday"], "expected a time such as 2026-11-26"),
    ],
)
def test_what_is_missing_is_said_in_a_line(redis_url: str, tmp_path: Path, arguments: list[str], said: str) -> None:
    common = ["ledger", "clawback", "--market", str(MARKET_FILE), "--redis-url", redis_url, "--log-dir", str(tmp_path)]
    done = CliRunner().invoke(app, [*common, *arguments], input="{broken")
    assert done.exit_code == 2
    assert said in " ".join(done.output.replace("│", " ").split())


def test_nothing_is_taken_back_from_a_redis_that_may_have_lost_data(shop: Shop) -> None:
    shop.click("a")
    shop.archive()
    with redis.Redis.from_url(shop.url) as client:
        client.delete(KEYS.verified)
    common = ["ledger", "clawback", "--market", str(MARKET_FILE), "--redis-url", shop.url, "--log-dir", str(shop.log_dir)]
    done = CliRunner().invoke(app, [*common, "--event", "a-0.click", "--reason", "r"])
    assert (done.exit_code, "may have lost data" in done.output) == (2, True)
    assert shop.spent() == 100_000
