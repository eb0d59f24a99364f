"""A campaign's lifetime budget stops it over all days, to the micro, whatever is lost, late, given back or edited."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from money_path import DAY_MS, MARKET, START_MS, MoneyPath
from money_world import KEYS, World, click, lose_everything

from domain.events import EventStatus, EventType
from domain.keys import LIFETIME
from features.market import Market
from serving.embedded_redis import EmbeddedRedis
from serving.gateway.ports import BudgetsClosed
from serving.ledger.reconcile import reconcile_now
from serving.pending_conversions import PendingConversions
from serving.repair.opening import Opening

CAMPAIGN, SALES = "alpha-spring", "gamma-sales"
TRIES = count()


def lasting(micros: int | None, campaign: str = CAMPAIGN, **changes: object) -> Market:
    """The golden market, where a campaign has this lifetime budget."""
    update = {"lifetime_budget_micros": micros, **changes}
    edited = (c.model_copy(update=update) if c.id == campaign else c for c in MARKET.campaigns)
    return MARKET.selling(tuple(edited), MARKET.offers)


@pytest.fixture
def world(own_redis: EmbeddedRedis, tmp_path: Path) -> Iterator[World]:
    made = World(own_redis.url, tmp_path / "log")
    made.market = lasting(12_000_000)  # from the next turn of the pacer on
    yield made
    made.disconnect()


def pacer_turns(world: World, market: Market | None = None) -> None:
    assert Opening(world.money.raw, market or world.market, world.log_dir).ready(world.days)


def left(world: World, at_most: int = 20_000_000) -> int:
    """What can be held of the campaign now, by trying."""
    low, high = 0, at_most
    while low < high:
        middle = (low + high + 1) // 2
        one = world.money.sold(f"try-{next(TRIES)}", CAMPAIGN, middle)
        if world.money.hold(one):
            world.money.report(EventType.DISMISS, one)
            low = middle
        else:
            high = middle - 1
    return low


def test_what_was_charged_before_counts_and_what_is_left_is_sold_to_the_micro(world: World) -> None:
    yesterday = world.money.sold("y", CAMPAIGN, 7_000_000, day=world.today - 1)
    world.money.report(EventType.IMPRESSION, yesterday)
    assert world.money.report(EventType.CLICK, yesterday)[1] == 7_000_000  # before anybody counted
    world.archive()
    pacer_turns(world)
    assert world.budget(CAMPAIGN, LIFETIME)["spent"] == "7000000"
    assert left(world) == 5_000_000  # of today's budget of 10.00
    held = world.money.sold("h", CAMPAIGN, 2_000_000)
    assert world.money.hold(held)
    assert left(world) == 3_000_000
    world.money.report(EventType.IMPRESSION, held)
    assert world.money.report(EventType.CLICK, held) == (EventStatus.SETTLED, 2_000_000)
    assert left(world) == 3_000_000
    late = world.money.sold("late", CAMPAIGN, 3_000_001)  # never held
    world.money.report(EventType.IMPRESSION, late)
    assert world.money.report(EventType.CLICK, late) == (EventStatus.LATE_FREE, 0)
    assert not reconcile_now(world.money.raw, world.market, world.log_dir).differences


def test_lowered_below_what_is_spent_it_sells_nothing_and_charges_nothing_back(world: World) -> None:
    pacer_turns(world)
    assert click(world, "a", CAMPAIGN, 6_000_000)[1] == 6_000_000
    shown = world.money.sold("shown", CAMPAIGN, 1_000_000)
    assert world.money.hold(shown)
    lower = lasting(5_000_000)
    pacer_turns(world, lower)
    assert left(world) == 0
    assert world.budget(CAMPAIGN, LIFETIME)["spent"] == "6000000"
    world.money.report(EventType.IMPRESSION, shown)
    assert world.money.report(EventType.CLICK, shown) == (EventStatus.SETTLED, 1_000_000)  # it was sold before
    pacer_turns(world, lasting(8_000_000))
    assert left(world) == 1_000_000
    pacer_turns(world, lasting(None))
    assert left(world) == 3_000_000  # of the day
    assert click(world, "b", CAMPAIGN, 1_000_000)[1] == 1_000_000
    pacer_turns(world, lasting(9_000_000))
    assert left(world) == 1_000_000  # it went on to count


def test_a_redis_that_lost_everything_knows_what_all_days_were_charged(world: World, own_redis: EmbeddedRedis) -> None:
    pacer_turns(world)
    assert click(world, "a", CAMPAIGN, 4_000_000, day=world.today - 1)[1] == 4_000_000
    assert click(world, "b", CAMPAIGN, 5_000_000)[1] == 5_000_000
    world.archive()
    lose_everything(world, own_redis)
    world.repair()
    assert world.budget(CAMPAIGN, LIFETIME)["spent"] == "9000000"
    assert left(world) == 3_000_000
    assert not reconcile_now(world.money.raw, world.market, world.log_dir).differences


def test_a_lifetime_budget_that_alone_is_lost_closes_its_campaign_until_it_is_known_again(world: World) -> None:
    pacer_turns(world)
    one = world.money.sold("a", CAMPAIGN, 4_000_000)
    assert world.money.hold(one)
    world.money.raw.delete(KEYS.budget(CAMPAIGN, LIFETIME))
    assert not world.money.hold(world.money.sold("b", CAMPAIGN, 1))
    with pytest.raises(BudgetsClosed):
        world.money.report(EventType.IMPRESSION, one)
    assert ("alpha-spring", LIFETIME) not in {(a.campaign, a.day) for a in differences(world)}  # nothing is spent yet
    pacer_turns(world)
    world.money.report(EventType.IMPRESSION, one)
    assert world.money.report(EventType.CLICK, one)[1] == 4_000_000
    world.archive()
    world.money.raw.delete(KEYS.budget(CAMPAIGN, LIFETIME))
    assert [(a.day, a.charged_micros, a.spent_micros) for a in differences(world)] == [(LIFETIME, 4_000_000, 0)]
    pacer_turns(world)
    assert differences(world) == ()
    assert left(world) == 6_000_000  # of the day


def differences(world: World) -> tuple[object, ...]:
    return reconcile_now(world.money.raw, world.market, world.log_dir).differences


def test_conversions_wait_for_room_and_what_is_given_back_makes_some(own_redis: EmbeddedRedis, tmp_path: Path) -> None:
    world = World(own_redis.url, tmp_path / "log", lasting(25_000_000, SALES))
    try:
        pacer_turns(world)
        one = world.money.sold("a", SALES, 10_000_000)
        world.money.report(EventType.IMPRESSION, one)
        world.money.report(EventType.CLICK, one)
        orders = [world.money.report(EventType.CONVERSION, one, order_id=o, event_id=o) for o in "abc"]
        assert [status for status, _ in orders] == [EventStatus.SETTLED, EventStatus.SETTLED, EventStatus.PENDING]
        assert world.budget(SALES, LIFETIME)["spent"] == "20000000"
        assert world.money.report(EventType.RETURN, one, order_id="a", event_id="r") == (EventStatus.RETURNED, -10_000_000)
        assert world.budget(SALES, LIFETIME)["spent"] == "10000000"
        waiting = PendingConversions(world.money.raw, world.market)
        waiting.refresh(np.array(list(world.days.values())), world.money.at_ms)
        assert world.budget(SALES, LIFETIME)["spent"] == world.budget(SALES)["spent"] == "20000000"
        assert world.money.raw.llen(KEYS.due(SALES)) == 0
        world.archive()
        assert differences(world) == ()
    finally:
        world.disconnect()


STEP = st.tuples(
    st.sampled_from(["hold", "show", "click", "dismiss", "hour", "day", "limit"]),
    st.integers(0, 5),
    st.integers(1, 6_000_000),
)


@given(steps=st.lists(STEP, min_size=1, max_size=40), daily=st.sampled_from([None, 4_000_000]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_sequence_spends_more_than_the_lifetime_budget(
    redis_url: str, steps: list[tuple[str, int, int]], daily: int | None
) -> None:
    """Against a model: what is charged is counted once, nothing held or late goes beyond the highest limit there was."""
    limit = highest = 8_000_000
    with redis.Redis.from_url(redis_url) as raw:
        raw.flushall()
    with MoneyPath(redis_url, lasting(limit, daily_budget_micros=daily), START_MS) as money:
        key, charged, shown = KEYS.budget(CAMPAIGN, LIFETIME), 0, {}

        def opened() -> None:
            day = money.day(CAMPAIGN)
            money.open(day, day + 1)
            money.raw.hset(key, "limit", limit)

        opened()
        for i, (what, which, micros) in enumerate(steps):
            if what == "hold":
                one = money.sold(f"d{i}", CAMPAIGN, micros)
                if money.hold(one):
                    shown[which] = one
            elif what == "hour":
                money.now_ms += micros  # the hold times are 20 and 60 s
            elif what == "day":
                money.now_ms += DAY_MS
                opened()
            elif what == "limit":
                limit, highest = micros * 2, max(highest, micros * 2)
                opened()
            elif which in shown:
                kind = {"show": EventType.IMPRESSION, "dismiss": EventType.DISMISS}.get(what, EventType.CLICK)
                charged += money.report(kind, shown[which])[1]
            assert int(money.raw.hget(key, "spent") or 0) == charged <= highest
            held = sum(int(money.raw.hget(name, "held") or 0) for name in money.raw.scan_iter(match=f"*:budget:{CAMPAIGN}:2*"))
            assert charged + held <= highest
        by_day = (money.raw.hget(name, "spent") for name in money.raw.scan_iter(match=f"*:budget:{CAMPAIGN}:2*"))
        assert sum(int(spent or 0) for spent in by_day) == charged
