"""A Redis that lost data has the money of the ledger again before anything is sold, and charges nothing twice."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from log_entries import decision, decision_fields
from money_path import MARKET
from money_world import KEYS, World, click, lose_everything, restart
from open_market import begin_archive

from domain.errors import ContractError, Unavailable
from domain.events import OF_AN_ORDER, EventStatus, EventType
from domain.keys import PARTITIONS, partition_of
from features.log_archive import EVENTS, StreamId, archived
from serving.archiver.rows import log_formats
from serving.archiver.stream import LogArchiver
from serving.embedded_redis import EmbeddedRedis
from serving.ledger.books import LedgerBooks
from serving.ledger.reconcile import reconcile_now
from serving.repair.opening import Opening
from serving.repair.repair import Repair
from serving.repair.servers import last_id, run_ids, verified


@pytest.fixture
def world(own_redis: EmbeddedRedis, tmp_path: Path) -> Iterator[World]:
    made = World(own_redis.url, tmp_path / "log")
    yield made
    made.disconnect()


def test_a_redis_that_lost_everything_has_what_the_ledger_says_and_charges_nothing_twice(
    world: World, own_redis: EmbeddedRedis
) -> None:
    one = world.money.sold("a", "alpha-spring", 6_000_000)
    assert world.money.hold(one)
    world.money.report(EventType.IMPRESSION, one)
    assert world.money.report(EventType.CLICK, one) == (EventStatus.SETTLED, 6_000_000)
    world.archive()
    lose_everything(world, own_redis)
    assert world.money.raw.dbsize() == 0
    world.repair()
    assert (world.done.entries, world.done.corrected) == (2, {("alpha-spring", world.today): (0, 6_000_000)})
    assert world.budget("alpha-spring")["spent"] == "6000000"
    for kind in (EventType.IMPRESSION, EventType.CLICK):
        assert world.money.report(kind, one) == (EventStatus.DUPLICATE, 0)
    assert not world.money.hold(world.money.sold("b", "alpha-spring", 4_000_001))  # of 10.00, 6.00 are spent
    assert world.money.hold(world.money.sold("b", "alpha-spring", 4_000_000))
    assert verified(world.money.raw, KEYS) == set(run_ids(world.money.raw))
    assert reconcile_now(world.money.raw, MARKET, world.log_dir).differences == ()


def test_a_fail_over_that_lost_writes_is_brought_forward(world: World, own_redis: EmbeddedRedis, tmp_path: Path) -> None:
    kept = world.money.sold("kept", "alpha-spring", 1_000_000)
    assert world.money.hold(kept)
    click(world, "before", micros=2_000_000)
    older = tmp_path / "older"
    own_redis.stop()
    shutil.copytree(own_redis.directory, older)
    restart(world, own_redis)
    lost = world.money.sold("lost", "alpha-spring", 3_000_000)
    world.money.report(EventType.IMPRESSION, lost)
    assert world.money.report(EventType.CLICK, lost)[1] == 3_000_000
    sale = world.money.sold("sale", "gamma-sales", 5_000_000)
    world.money.report(EventType.CONVERSION, sale, order_id="o1")  # waits for its click
    world.archive()
    own_redis.kill()
    shutil.rmtree(own_redis.directory)
    shutil.copytree(older, own_redis.directory)
    restart(world, own_redis)
    assert world.budget("alpha-spring")["spent"] == "2000000"
    world.repair()
    assert world.budget("alpha-spring")["spent"] == "5000000"
    assert world.budget("alpha-spring")["held"] == "1000000"  # what survived is kept
    assert world.money.report(EventType.CLICK, lost) == (EventStatus.DUPLICATE, 0)
    world.money.report(EventType.IMPRESSION, sale)
    world.money.report(EventType.CLICK, sale)
    assert world.budget("gamma-sales")["spent"] == "5000000"
    world.archive()
    assert reconcile_now(world.money.raw, MARKET, world.log_dir).differences == ()


def test_what_is_in_the_stream_and_in_no_file_yet_counts(world: World, own_redis: EmbeddedRedis) -> None:
    click(world, "a", micros=1_000_000)
    world.archive()
    click(world, "b", micros=500_000)
    restart(world, own_redis)
    assert not set(run_ids(world.money.raw)) <= verified(world.money.raw, KEYS)
    world.repair()
    assert (world.done.entries, world.done.corrected) == (0, {})
    assert world.budget("alpha-spring")["spent"] == "1500000"


def test_decisions_go_on_after_the_archive_too_although_they_are_no_text(world: World, own_redis: EmbeddedRedis) -> None:
    made = decision_fields(decision("d", 5_000))
    decisions = LogArchiver(world.archiver.client, [KEYS.decisions], log_formats(MARKET)[1], world.log_dir, 1000)
    far = f"{world.money.at_ms + 3_600_000}-0"
    world.archiver.client.xadd(KEYS.decisions, made, id=far)
    decisions.read()
    decisions.flush()
    restart(world, own_redis)
    world.repair()
    assert str(last_id(world.money.raw, KEYS.decisions)) == far
    lose_everything(world, own_redis)
    world.archiver.client.xadd(KEYS.decisions, made)
    world.repair()
    assert str(last_id(world.money.raw, KEYS.decisions)) == far


def test_ids_go_on_after_what_is_archived_so_that_no_entry_is_passed_over(world: World, own_redis: EmbeddedRedis) -> None:
    partition = partition_of("alpha-spring")
    click(world, "a")
    far = StreamId(world.money.at_ms + 3_600_000, 7)  # as if the clock had been an hour ahead
    world.money.raw.execute_command("XSETID", KEYS.events(partition), str(far))
    click(world, "b")
    world.archive()
    lose_everything(world, own_redis)
    world.repair()
    click(world, "c")
    last = archived(world.log_dir, EVENTS).to(partition)
    assert StreamId.parse(world.money.raw.xrange(KEYS.events(partition))[0][0]) > last > far
    world.archive()
    assert reconcile_now(world.money.raw, MARKET, world.log_dir).differences == ()
    with LedgerBooks(world.log_dir) as books:
        assert books.charged(0).micros["alpha-spring", world.today] == 750_000


def test_a_conversion_can_be_returned_after_a_loss_and_an_order_still_counts_once(world: World, own_redis: EmbeddedRedis) -> None:
    first, second = (world.money.sold(name, "gamma-sales", 2_000_000) for name in ("x", "y"))
    for one in (first, second):
        world.money.report(EventType.IMPRESSION, one)
        world.money.report(EventType.CLICK, one)
    assert world.money.report(EventType.CONVERSION, first, order_id="o7")[1] == 2_000_000
    world.archive()
    lose_everything(world, own_redis)
    world.repair()
    assert world.money.report(EventType.CONVERSION, second, order_id="o7") == (EventStatus.DUPLICATE, 0)
    assert world.money.report(EventType.RETURN, first, order_id="o7") == (EventStatus.RETURNED, -2_000_000)
    assert world.budget("gamma-sales")["spent"] == "0"


EVENT_OF = st.tuples(
    st.sampled_from(
        [
            *(EventType.IMPRESSION, EventType.CLICK, EventType.CONVERSION, EventType.CONVERSION),
            *(EventType.RETURN, EventType.CORRECTION, EventType.DISMISS),
        ]
    ),
    st.integers(0, 3),
    st.sampled_from(["", "o1", "o2"]),
    st.sampled_from(["", "", "", "robot"]),
)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=st.lists(EVENT_OF, min_size=3, max_size=25), archived_at=st.integers(0, 25))
def test_the_memory_that_is_rebuilt_is_what_the_scripts_had_left(
    redis_url: str, tmp_path_factory: pytest.TempPathFactory, events: list[tuple[EventType, int, str, str]], archived_at: int
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    world = World(redis_url, tmp_path_factory.mktemp("log"))
    try:
        budget = MARKET.campaign_by_id["gamma-sales"].daily_budget_micros or 0
        # Two campaigns, two shoppers; the sales are large, so that some wait for room.
        offers = [world.money.sold(f"d{i}", "gamma-sales", budget * 2 // 5, shopper=f"s{i % 2}") for i in range(3)]
        offers.append(world.money.sold("d3", "alpha-spring", 400_000))
        for i, (kind, which, order, invalid) in enumerate(events):
            order = order if kind in OF_AN_ORDER else ""
            world.money.report(kind, offers[which], order_id=order, invalid=invalid, event_id=f"e{i}")
            if i == archived_at:
                world.archive()
        world.archive()
        before = world.state()
        lose = [key for key in world.money.raw.scan_iter() if key != KEYS.archiver]
        world.money.raw.delete(*lose)
        world.repair()
        after = world.state()
        once = after | {}
        # What clicks are expected to charge, and how long conversions take, is learnt anew; no money depends on it.
        learnt = ("pending", "pending_ms", "delay_ms", "delays")
        for state in (before, after):
            for key, value in state.items():
                if ":budget:" in key:
                    assert isinstance(value, dict)
                    state[key] = {f: v for f, v in value.items() if f not in learnt and not (f in ("spent", "held") and v == "0")}
        assert {k: v for k, v in after.items() if ":budget:" not in k} == {k: v for k, v in before.items() if ":budget:" not in k}
        assert {k: v for k, v in before.items() if ":budget:" in k}.items() <= after.items()
        world.money.raw.delete(KEYS.verified)
        world.repair()  # repeating it changes nothing
        assert world.state() == once
    finally:
        world.disconnect()


def test_a_budget_that_is_deleted_or_evicted_is_opened_with_what_was_spent(world: World) -> None:
    click(world, "a", micros=7_000_000)
    world.archive()
    click(world, "b", micros=1_000_000)
    opening = Opening(world.money.raw, MARKET, world.log_dir)
    assert opening.ready(world.days)
    world.money.raw.delete(KEYS.budget("alpha-spring", world.today))
    assert not world.money.hold(world.money.sold("c", "alpha-spring", 1))
    opening.reopen([("alpha-spring", world.today)])
    assert not world.money.hold(world.money.sold("c", "alpha-spring", 2_000_001))
    assert world.money.hold(world.money.sold("c", "alpha-spring", 2_000_000))


def test_a_lowered_limit_of_the_market_file_takes_effect_at_once_and_changes_no_past_day(world: World) -> None:
    click(world, "a", micros=3_000_000)
    lower = MARKET.model_copy(
        update={"campaigns": tuple(c.model_copy(update={"daily_budget_micros": 3_000_000}) for c in MARKET.campaigns)}
    )
    assert Opening(world.money.raw, lower, world.log_dir).ready(world.days)
    assert world.budget("alpha-spring") | {"limit": "3000000", "spent": "3000000"} == world.budget("alpha-spring")
    assert not world.money.hold(world.money.sold("b", "alpha-spring", 1))
    assert world.budget("alpha-spring", world.today - 1)["limit"] == "10000000"


def test_without_a_ledger_lost_money_stays_closed_and_an_intact_server_goes_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    opening = Opening(world.money.raw, MARKET, None)
    world.money.raw.delete(KEYS.budget("house", world.today + 1))
    assert opening.ready(world.days)
    assert world.budget("house", world.today + 1)["limit"] == "none"
    world.money.raw.delete(KEYS.budget("alpha-spring", world.today))
    opening.reopen([("alpha-spring", world.today)])
    assert world.budget("alpha-spring") == {}
    world.money.raw.delete(KEYS.verified)
    assert not opening.ready(world.days)
    assert not opening.ready(world.days)
    assert [r.getMessage() for r in caplog.records].count(
        "this Redis is not known to be whole, nothing is sold: give the pacer the archive (OFFERRANK_LOG_DIR), or run "
        "`offerrank reconcile --repair` where it is"
    ) == 1


def test_an_archive_that_is_not_that_of_this_redis_is_not_believed(world: World, tmp_path: Path) -> None:
    click(world, "a")
    world.archive()
    world.money.raw.delete(KEYS.verified)
    world.money.raw.hset(KEYS.archiver, mapping=world.archiver.log.position)
    with pytest.raises(ContractError, match="it is not that of this Redis"):
        Repair(world.money.raw, MARKET, begin_archive(tmp_path / "empty", MARKET.name)).run()
    with pytest.raises(ContractError, match="holds the log of market 'other', not of 'golden'"):
        Repair(world.money.raw, MARKET, begin_archive(tmp_path / "other", "other")).run()
    with pytest.raises(Unavailable, match="no archiver has begun there"):
        Repair(world.money.raw, MARKET, tmp_path / "nothing").run()
    assert verified(world.money.raw, KEYS) == set()
    assert world.budget("alpha-spring")["spent"] == "250000"


def test_a_server_that_was_verified_once_and_lost_the_lead_is_not_verified_any_more(world: World) -> None:
    world.money.raw.sadd(KEYS.verified, "a-former-master")
    world.money.raw.srem(KEYS.verified, *run_ids(world.money.raw))
    world.repair()
    assert verified(world.money.raw, KEYS) == set(run_ids(world.money.raw))
    assert len(range(PARTITIONS)) == 16


def test_two_do_not_repair_at_once(world: World) -> None:
    world.money.raw.set(KEYS.repairing, "somebody else", px=60_000)
    with pytest.raises(Unavailable, match="another process repairs"):
        world.repair()
