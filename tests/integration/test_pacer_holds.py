"""Sweeping expired holds, against a real Redis."""

import threading
from pathlib import Path

import pytest
import redis

from domain.keys import Keys, hold_member, partition_of

KEYS = Keys("test")
PARTITION = partition_of("a")
SCRIPT = Path(__file__).resolve().parents[2] / "serving" / "lua" / "sweep_holds.lua"
NOW = 1_000_000


def name(campaign: str, day: int) -> str:
    """A budget in the partition of campaign a, whatever its campaign."""
    return f"{KEYS.budget_prefix(PARTITION)}{campaign}:{day}"


def hold(client: "redis.Redis", campaign: str, day: int, micros: int, decision: str, expires_ms: int) -> None:
    client.hincrby(name(campaign, day), "held", micros)
    client.hset(name(campaign, day), f"h:{decision}", micros)
    client.zadd(KEYS.holds(PARTITION), {hold_member(campaign, day, decision): expires_ms})


def sweep(client: "redis.Redis", limit: int = 100, now_ms: int = NOW) -> int:
    return int(
        client.register_script(SCRIPT.read_text())(
            keys=[KEYS.holds(PARTITION)], args=[now_ms, limit, KEYS.budget_prefix(PARTITION)]
        )
    )


def held(client: "redis.Redis", campaign: str, day: int) -> int | None:
    value = client.hget(name(campaign, day), "held")
    return None if value is None else int(value)


@pytest.fixture
def client(redis_url: str) -> "redis.Redis":
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def test_expired_holds_go_back_to_their_own_budget_and_live_ones_stay(client: "redis.Redis") -> None:
    hold(client, "a", 7, 300, "i1", NOW - 1)
    hold(client, "a", 7, 500, "i2", NOW)  # expires now: expired
    hold(client, "a", 7, 40, "i3", NOW + 1)
    hold(client, "a", 8, 1000, "i4", NOW - 1)
    hold(client, "dotted.name-1_x", 7, 2**53, "i5-with|bar", NOW - 1)
    assert sweep(client) == 4
    assert held(client, "a", 7) == 40
    assert held(client, "a", 8) == 0
    assert held(client, "dotted.name-1_x", 7) == 0
    assert client.zrange(KEYS.holds(PARTITION), 0, -1) == [hold_member("a", 7, "i3")]
    assert sweep(client) == 0


def test_a_sweep_is_bounded_and_takes_the_oldest_first(client: "redis.Redis") -> None:
    for i in range(10):
        hold(client, "a", 7, 1, f"i{i}", NOW - 10 + i)
    assert sweep(client, limit=3) == 3
    assert held(client, "a", 7) == 7
    assert [m.rsplit("|", 1)[1] for m in client.zrange(KEYS.holds(PARTITION), 0, 0)] == ["i3"]


def test_a_budget_that_is_gone_is_not_brought_back_below_zero(client: "redis.Redis") -> None:
    hold(client, "a", 7, 300, "i1", NOW - 1)
    client.delete(name("a", 7))
    assert sweep(client) == 1
    assert held(client, "a", 7) is None


def test_what_is_no_hold_is_dropped(client: "redis.Redis") -> None:
    client.zadd(KEYS.holds(PARTITION), {"garbage": 1})
    assert sweep(client) == 1
    assert client.zcard(KEYS.holds(PARTITION)) == 0


def test_sweepers_at_the_same_time_give_each_hold_back_exactly_once(client: "redis.Redis", redis_url: str) -> None:
    holds = 3000
    pipe = client.pipeline()
    for i in range(holds):
        campaign = f"c{i % 7}"
        pipe.hincrby(name(campaign, 7), "held", 10)
        pipe.hset(name(campaign, 7), f"h:i{i}", 10)
        pipe.zadd(KEYS.holds(PARTITION), {hold_member(campaign, 7, f"i{i}"): NOW - 1})
    pipe.execute()
    swept: list[int] = []

    def sweep_all() -> None:
        with redis.Redis.from_url(redis_url) as own:
            while batch := sweep(own, limit=17):
                swept.append(batch)

    threads = [threading.Thread(target=sweep_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(swept) == holds
    assert [held(client, f"c{c}", 7) for c in range(7)] == [0] * 7
    assert client.zcard(KEYS.holds(PARTITION)) == 0
