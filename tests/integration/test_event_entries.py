"""What an entry of the event stream says of the money at stake, and of whom it was shown to."""

from collections.abc import Iterator

import pytest
from money_path import MARKET, START_MS, MoneyPath

from domain.events import EventType
from features.log_schema import event_schema


@pytest.fixture
def money(redis_url: str) -> Iterator[MoneyPath]:
    with MoneyPath(redis_url) as path:
        path.open()
        yield path


def stakes(money: MoneyPath, campaign: str) -> list[tuple[str, str, str, str]]:
    return [(e["type"], e["status"], e["price_micros"], e["charged_micros"]) for e in money.entries(campaign)]


def test_an_event_says_what_it_would_charge_whatever_becomes_of_it(money: MoneyPath) -> None:
    one = money.sold("d1", "alpha-spring", 750_000)  # pays per click
    assert money.hold(one)
    money.report(EventType.CLICK, one)  # waits for its impression
    money.report(EventType.CLICK, one, invalid="robot", event_id="x")
    money.report(EventType.IMPRESSION, one)
    money.report(EventType.CONVERSION, one)
    assert stakes(money, "alpha-spring") == [
        ("click", "pending", "750000", "0"),
        ("click", "invalid", "750000", "0"),
        ("impression", "logged", "0", "0"),
        ("charge", "settled", "750000", "750000"),
        ("conversion", "logged", "0", "0"),
    ]


def test_a_conversion_is_at_stake_where_conversions_are_paid_and_its_return_is_not(money: MoneyPath) -> None:
    one = money.sold("d2", "gamma-sales", 3_000_000)
    for kind in (EventType.IMPRESSION, EventType.CLICK, EventType.CONVERSION, EventType.RETURN, EventType.DISMISS):
        money.report(kind, one)
    assert stakes(money, "gamma-sales") == [
        ("impression", "logged", "0", "0"),
        ("click", "logged", "0", "0"),
        ("conversion", "settled", "3000000", "3000000"),
        ("return", "returned", "0", "-3000000"),
        ("dismiss", "logged", "0", "0"),
    ]


def test_what_is_pending_says_what_it_waits_for(money: MoneyPath) -> None:
    most = (MARKET.campaign_by_id["gamma-sales"].daily_budget_micros or 0) * 3 // 4
    first, second = money.sold("d4", "gamma-sales", most), money.sold("d5", "gamma-sales", most)
    money.report(EventType.CONVERSION, first)
    money.report(EventType.CLICK, first)
    money.report(EventType.IMPRESSION, first)  # charges the conversion, too: three quarters of the budget
    for kind in (EventType.IMPRESSION, EventType.CLICK, EventType.CONVERSION):
        money.report(kind, second)
    assert [(e["type"], e["status"], e["reason"]) for e in money.entries("gamma-sales")] == [
        ("conversion", "pending", "click"),
        ("click", "pending", "impression"),
        ("impression", "logged", ""),
        ("charge", "logged", "click"),
        ("charge", "settled", "conversion"),
        ("impression", "logged", ""),
        ("click", "logged", ""),
        ("conversion", "pending", "budget"),
    ]


def test_every_entry_has_every_column_of_the_archive(money: MoneyPath) -> None:
    one = money.sold("d3", "gamma-sales", 3_000_000, shopper="somebody", asked_by="shop-7")
    for kind in EventType.IMPRESSION, EventType.DISMISS:
        money.report(kind, one)
    for entry in money.entries("gamma-sales"):
        assert entry.keys() == {f.name for f in event_schema()} - {"stream_id", "partition", "beyond"}
        assert (entry["shopper_key"], entry["asked_by"], entry["time_ms"]) == ("somebody", "shop-7", str(START_MS))
    assert MARKET.campaign_by_id["gamma-sales"].bid_kind == "cpa"
