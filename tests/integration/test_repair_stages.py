"""A repair sells again before it has read all days: what it has not read yet is closed, and nothing waits for what is too old."""

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest
from log_entries import event_fields
from money_path import MARKET
from money_world import DAY_MS, KEYS, World, restart

from domain.errors import ContractError, Unavailable
from domain.events import EventStatus, EventType
from domain.keys import partition_of
from features.log_archive import EVENTS, parts
from serving.embedded_redis import EmbeddedRedis
from serving.gateway.ports import BudgetsClosed
from serving.gateway.tokens import Sold
from serving.ledger.reconcile import reconcile_now
from serving.repair.impressions import ImpressionMemory
from serving.repair.memory import happened
from serving.repair.opening import Opening
from serving.repair.repair import Repair, Repaired
from serving.repair.rows import Row
from serving.repair.servers import UNFINISHED, run_ids, verified

CLICKED, SALES = "alpha-spring", "gamma-sales"
MICROS = 1_000_000
NEVER_ANY_MORE, RETURNED_AT_MOST, THE_OTHER_DAY = 60, 10, 3
"""Days ago: before every window, when a conversion may only be returned, when what was sold is still clicked and bought."""


@pytest.fixture
def world(own_redis: EmbeddedRedis, tmp_path: Path) -> Iterator[World]:
    made = World(own_redis.url, tmp_path / "log")
    yield made
    made.disconnect()


def log(world: World, days_ago: int, kind: str, campaign: str = CLICKED, **changes: object) -> None:
    """Something that was accepted then, of the impression `<days ago>-0`."""
    ms = world.money.at_ms - days_ago * DAY_MS
    owner = {"campaign_id": campaign, "advertiser": MARKET.campaign_by_id[campaign].advertiser, "shopper_key": "s"}
    fields = event_fields(kind, f"{days_ago}-0", str(days_ago), ms, **owner, **changes)
    world.archiver.client.xadd(KEYS.events(partition_of(campaign)), fields, id=f"{ms}-{1 + (kind == EventType.CONVERSION)}")  # type: ignore[arg-type]


def sold(world: World, days_ago: int, campaign: str = CLICKED) -> Sold:
    ms = world.money.at_ms - days_ago * DAY_MS
    return world.money.sold(str(days_ago), campaign, MICROS, day=ms // DAY_MS, issued_ms=ms)


@pytest.fixture
def history(world: World) -> World:
    """A click a day, and sales with orders; archived, in the books, and lost but for an older copy of a budget."""
    for days_ago in (NEVER_ANY_MORE, RETURNED_AT_MOST, THE_OTHER_DAY, 1):
        log(world, days_ago, "click", status="settled", charged_micros=MICROS, price_micros=MICROS)
        log(world, days_ago, "conversion", SALES, order_id=f"o{days_ago}", status="settled", charged_micros=MICROS, reason="")
    world.archive(0)
    world.money.raw.flushall()
    world.money.open(world.today - THE_OTHER_DAY)
    return world


def damage(world: World, days_ago: int) -> tuple[Path, bytes]:
    """The part of that day, and what was in it."""
    at_ms = world.money.at_ms - days_ago * DAY_MS
    (part,) = (p for p in parts(world.log_dir, EVENTS) if abs(p.first_ms - at_ms) < DAY_MS // 2)
    before = part.path.read_bytes()
    part.path.write_bytes(b"damaged")
    return part.path, before


def test_what_is_older_than_every_window_is_not_opened(history: World) -> None:
    damage(history, NEVER_ANY_MORE)
    history.repair()
    assert verified(history.money.raw, KEYS) == set(run_ids(history.money.raw))
    assert history.done.entries == 2 * 2 + 1
    assert history.money.report(EventType.RETURN, sold(history, RETURNED_AT_MOST, SALES), order_id="o10")[1] == -MICROS


@pytest.mark.parametrize("restarted", [False, True])
def test_earlier_days_are_closed_until_all_that_happened_then_is_remembered(
    history: World, own_redis: EmbeddedRedis, restarted: bool
) -> None:
    path, intact = damage(history, RETURNED_AT_MOST)
    with pytest.raises(ContractError, match="is damaged"):
        history.repair()
    assert verified(history.money.raw, KEYS) == {*run_ids(history.money.raw), UNFINISHED}
    assert history.money.hold(history.money.sold("new", CLICKED, MICROS))
    assert history.money.report(EventType.CLICK, sold(history, 1)) == (EventStatus.DUPLICATE, 0)
    with pytest.raises(BudgetsClosed):
        history.money.report(EventType.CLICK, sold(history, THE_OTHER_DAY))
    # The shopper's order counts for what was clicked the other day, which is closed: not for today's page, either.
    today = history.money.sold("today", SALES, MICROS)
    assert history.money.report(EventType.CONVERSION, today, order_id="o3") == (EventStatus.DUPLICATE, 0)
    with pytest.raises(Unavailable, match="lost data"):
        history.keeper.reconcile()
    if restarted:
        restart(history, own_redis)
    path.write_bytes(intact)
    assert Opening(history.money.raw, MARKET, history.log_dir).ready(history.days)
    assert verified(history.money.raw, KEYS) == set(run_ids(history.money.raw))
    for days_ago in (1, THE_OTHER_DAY):
        assert history.money.report(EventType.CLICK, sold(history, days_ago)) == (EventStatus.DUPLICATE, 0)
        assert history.budget(CLICKED, history.today - days_ago)["spent"] == str(MICROS)
    assert reconcile_now(history.money.raw, MARKET, history.log_dir).differences == ()


def test_a_repair_that_cannot_finish_sells_all_the_same(history: World, caplog: pytest.LogCaptureFixture) -> None:
    damage(history, RETURNED_AT_MOST)
    assert Opening(history.money.raw, MARKET, history.log_dir).ready(history.days)
    assert history.budget(CLICKED)["limit"] == "10000000"
    assert "budgets of days before yesterday stay closed" in caplog.text


def test_the_first_step_of_a_repair_is_all_that_selling_needs(history: World) -> None:
    repair, done = Repair(history.money.raw, MARKET, history.log_dir), Repaired()
    steps = repair.steps(done)
    next(steps)
    assert UNFINISHED in verified(history.money.raw, KEYS)
    assert (history.budget(CLICKED, history.today - 1)["spent"], done.entries) == (str(MICROS), 3)
    assert "limit" not in history.budget(CLICKED, history.today - THE_OTHER_DAY)
    with pytest.raises(Unavailable, match="another process repairs"):
        history.repair()
    steps.close()
    history.repair()
    assert history.budget(CLICKED, history.today - THE_OTHER_DAY)["spent"] == str(MICROS)


def test_in_whatever_order_entries_are_remembered_what_came_last_stays(world: World) -> None:
    entries = [
        event_fields("click", "i", "d", 1, status="pending", reason="impression", campaign_id=CLICKED, event_id="e"),
        event_fields("impression", "i", "d", 2, campaign_id=CLICKED),
        event_fields(
            "charge", "i", "d", 3, status="settled", reason="click", charged_micros=5, campaign_id=CLICKED, event_id="e"
        ),
    ]
    for order in permutations(entries):
        memory = ImpressionMemory(world.money.raw, MARKET, world.money.at_ms, lambda: None)
        memory.add([row(world, fields)] for fields in order)
        memory.finish(live=False)
        name = KEYS.impression(CLICKED, "i")
        assert world.money.raw.hgetall(name) == {"impression": "0", "click": "5", "click_ms": "3"}
        world.money.raw.delete(name)


def test_a_conversion_that_was_charged_while_a_repair_went_on_does_not_wait_again(world: World) -> None:
    memory = ImpressionMemory(world.money.raw, MARKET, world.money.at_ms, lambda: None)
    waits = event_fields("conversion", "i", "d", 1, status="pending", reason="budget", price_micros=5, campaign_id=SALES)
    memory.add([[row(world, waits)]])
    memory.finish(live=False)
    assert world.money.raw.lpop(KEYS.due(SALES))
    memory.finish(live=True)
    assert world.money.raw.llen(KEYS.due(SALES)) == 0


def row(world: World, fields: dict[bytes, bytes]) -> Row:
    found = happened({name.decode(): value.decode() for name, value in fields.items()})
    assert found is not None
    return world.money.at_ms, found
