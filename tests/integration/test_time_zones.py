"""Budgets whose days are those of a place, on a real Redis: a date is charged its budget once, whatever its clocks do."""

from collections import Counter
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from money_path import MARKET, MoneyPath
from money_world import KEYS, World, click, lose_everything
from open_market import let_in

from domain.events import EventStatus, EventType
from features.market import Market
from serving.embedded_redis import EmbeddedRedis
from serving.ledger.reconcile import reconcile_now
from serving.repair.opening import Opening

CAMPAIGN, LIMIT = "alpha-spring", 10_000_000
HOUR_MS = 3_600_000
ZONES = ("UTC", "Europe/Berlin", "Pacific/Kiritimati", "Pacific/Pago_Pago", "America/New_York")


def in_zones(**zones: str) -> Market:
    """The golden market with these campaigns elsewhere."""
    of = {name.replace("_", "-"): zone for name, zone in zones.items()}
    moved = (c.model_copy(update={"time_zone": of.get(c.id, c.time_zone)}) for c in MARKET.campaigns)
    return MARKET.selling(tuple(moved), MARKET.offers)


def ms(text: str, zone: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(("date", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_a_day_is_sold_from_midnight_to_midnight_of_its_place(redis_url: str, date: str, hours: int) -> None:
    begin = ms(date, "Europe/Berlin")
    with MoneyPath(redis_url, in_zones(alpha_spring="Europe/Berlin"), begin) as money:
        today = money.day(CAMPAIGN)
        money.open(today, today + 1)
        first, later = (money.sold(f"d{i}", CAMPAIGN, LIMIT, day=today + i) for i in (0, 1))
        for off_ms, sells in ((-1, (False, False)), (hours * HOUR_MS, (False, True)), (hours * HOUR_MS - 1, (True, False))):
            money.now_ms = begin + off_ms
            assert (money.hold(first), money.hold(later)) == sells


def test_a_conversion_that_finds_no_room_goes_to_a_later_date_that_has_begun_there(redis_url: str) -> None:
    # In Kiritimati it is the next date ten hours before it is by UTC.
    market = in_zones(gamma_sales="Pacific/Kiritimati")
    with MoneyPath(redis_url, market, ms("2026-06-01T23:00", "Pacific/Kiritimati")) as money:
        today = money.day("gamma-sales")
        money.open(today, today + 1, today + 2)
        (campaign,) = (c for c in market.campaigns if c.id == "gamma-sales")
        assert campaign.daily_budget_micros is not None
        one, other = (money.sold(d, "gamma-sales", campaign.daily_budget_micros) for d in "ab")
        for sold in (one, other):
            money.report(EventType.IMPRESSION, sold)
            money.report(EventType.CLICK, sold)
        assert money.report(EventType.CONVERSION, one)[0] == EventStatus.SETTLED
        money.now_ms += HOUR_MS - 1
        third = money.sold("c", "gamma-sales", 1, day=today)
        money.report(EventType.IMPRESSION, third)
        money.report(EventType.CLICK, third)
        assert money.report(EventType.CONVERSION, third)[0] == EventStatus.PENDING
        money.now_ms += 1
        assert money.report(EventType.CONVERSION, other)[0] == EventStatus.SETTLED
        assert money.entries("gamma-sales")[-1]["day"] == str(today + 1)


@given(
    turns=st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from(ZONES), st.integers(1, LIMIT), st.booleans()), min_size=1, max_size=25
    )
)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_date_is_charged_more_than_its_budget_however_often_the_zone_is_edited(
    redis_url: str, turns: list[tuple[int, str, int, bool]]
) -> None:
    """Hours pass, the zone is edited, the pacer turns, and a gateway that knows the new zone or still the old one sells."""
    now_ms, before = ms("2026-03-28T12:00", "UTC"), "UTC"
    charged: Counter[str] = Counter()
    with redis.Redis.from_url(redis_url, decode_responses=True) as raw:
        raw.flushall()
        let_in(raw, MARKET.name)
        for i, (hours, zone, micros, follows) in enumerate(turns):
            now_ms += hours * HOUR_MS // 2
            with MoneyPath(redis_url, in_zones(alpha_spring=zone), now_ms) as pacer:
                assert Opening(raw, pacer.market, None).ready({c.id: pacer.day(c.id) for c in pacer.market.campaigns})
            with MoneyPath(redis_url, in_zones(alpha_spring=zone if follows else before), now_ms) as money:
                one = money.sold(f"d{i}", CAMPAIGN, micros)
                if money.hold(one):
                    money.report(EventType.IMPRESSION, one)
                    status, price = money.report(EventType.CLICK, one)
                    assert (status, price) == (EventStatus.SETTLED, micros)
                    charged[KEYS.budget(CAMPAIGN, one.day)] += price
            before = zone
        budgets = {name: raw.hgetall(name) for name in raw.scan_iter(match=f"*:budget:{CAMPAIGN}:*")}
    assert {name: int(b.get("spent", 0)) for name, b in budgets.items() if int(b.get("spent", 0))} == dict(charged)
    assert max(charged.values(), default=0) <= LIMIT
    assert all(int(b.get("held", 0)) == 0 for b in budgets.values())


def test_an_edit_of_the_zone_moves_midnight_at_once_and_leaves_the_date_what_it_spent(redis_url: str) -> None:
    with MoneyPath(redis_url, MARKET, ms("2026-06-01T23:00", "UTC")) as money:
        let_in(money.raw, MARKET.name)
        opening, today = Opening(money.raw, MARKET, None), money.day(CAMPAIGN)
        assert opening.ready({c.id: money.day(c.id) for c in MARKET.campaigns})
        one = money.sold("a", CAMPAIGN, 7_000_000)
        assert money.hold(one)
        money.report(EventType.IMPRESSION, one)
        assert money.report(EventType.CLICK, one)[1] == 7_000_000
    west = in_zones(alpha_spring="America/New_York")  # where it is 19:00
    with MoneyPath(redis_url, west, ms("2026-06-01T23:00", "UTC")) as money:
        opening.follow(west)
        assert opening.ready({c.id: money.day(c.id) for c in west.campaigns})
        money.now_ms = ms("2026-06-02T03:59", "UTC")
        assert money.day(CAMPAIGN) == today
        assert not money.hold(money.sold("b", CAMPAIGN, 3_000_001))  # the same date goes on, with what is left of it
        assert money.hold(money.sold("b", CAMPAIGN, 3_000_000))
        money.now_ms += 60_000
        assert money.hold(money.sold("c", CAMPAIGN, LIMIT))


def test_dates_ahead_of_utc_and_behind_are_reconciled_and_repaired_like_all(own_redis: EmbeddedRedis, tmp_path: Path) -> None:
    market = in_zones(alpha_spring="Pacific/Kiritimati", beta_reach="Pacific/Pago_Pago")
    world = World(own_redis.url, tmp_path / "log", market)
    try:
        days = {world.days["alpha-spring"], world.days["beta-reach"]}
        assert len(days) == 2  # 25 hours apart: never of one date
        assert click(world, "a", CAMPAIGN, 6_000_000)[1] == 6_000_000
        world.archive()
        assert click(world, "b", CAMPAIGN, 1_000_000)[1] == 1_000_000
        assert not reconcile_now(world.money.raw, market, world.log_dir).differences
        world.archive()
        lose_everything(world, own_redis)
        assert reconcile_now(world.money.raw, market, world.log_dir).differences
        world.repair()
        for campaign, day in world.days.items():
            assert {"limit", "from_ms", "until_ms"} <= world.budget(campaign, day).keys() & world.budget(campaign, day + 1).keys()
        assert world.budget(CAMPAIGN, world.days[CAMPAIGN])["spent"] == "7000000"
        assert not world.money.hold(world.money.sold("c", CAMPAIGN, 3_000_001))
        assert world.money.hold(world.money.sold("c", CAMPAIGN, 3_000_000))
        assert not reconcile_now(world.money.raw, market, world.log_dir).differences
    finally:
        world.disconnect()
