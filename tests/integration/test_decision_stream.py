"""The stream of decisions in a real Redis: bounded in bytes, whatever a decision takes, and never silently."""

import asyncio
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import redis
from log_entries import decision, slot

from domain.events import CandidateLog, Decision
from domain.keys import Keys
from monitoring import metrics
from serving.embedded_redis import EmbeddedRedis
from serving.gateway.adapters.decision_log import append_decisions
from serving.gateway.adapters.redis_link import RedisLink

KEYS = Keys("corner")
MB = 2**20


def page(i: int, n_candidates: int) -> Decision:
    """A decision of so many candidates that no compression makes small."""
    worth = np.random.default_rng(i).random(n_candidates).tolist()
    offers = [f"offer-{x:.12f}" for x in worth]
    log = CandidateLog(offers, ["ann"] * n_candidates, {"ctr": worth}, worth, [102] * n_candidates)
    return decision(f"d{i}", i, slot(f"i{i}"), candidates=log)


def append(url: str, batches: Iterable[list[Decision]], max_bytes: int) -> None:
    async def send_all() -> None:
        link = RedisLink(url)
        send = append_decisions(link, KEYS, max_bytes)
        for number, batch in enumerate(batches, 1):
            await send(number, batch)
        await link.close()

    asyncio.run(send_all())


def lost() -> float:
    return float(metrics.DROPPED.labels("unarchived_decisions")._value.get())


@pytest.mark.parametrize("n_candidates", [0, 20, 400])
def test_the_stream_keeps_the_newest_decisions_that_fit(redis_url: str, n_candidates: int) -> None:
    before = lost()
    n = 200 if n_candidates == 400 else 6000 if n_candidates == 0 else 3000
    with redis.Redis.from_url(redis_url) as client:
        append(redis_url, ([page(i, n_candidates) for i in range(start, start + 20)] for start in range(0, n, 20)), MB)
        kept = client.xrange(KEYS.decisions)
        assert client.memory_usage(KEYS.decisions, samples=0) < 1.15 * MB
        # What is left takes most of what it may.
        assert sum(len(fields[b"z1"]) for _, fields in kept) > 0.6 * MB
        assert 0 < len(kept) < n
        assert lost() - before == n - len(kept)


def test_decisions_that_are_archived_may_go(redis_url: str) -> None:
    before = lost()
    with redis.Redis.from_url(redis_url) as client:
        append(redis_url, ([page(i, 20) for i in range(start, start + 20)] for start in range(0, 600, 20)), 100 * MB)
        newest = client.xrevrange(KEYS.decisions, count=1)[0][0]
        client.hset(KEYS.archiver, "decisions", newest)
        append(redis_url, [[page(1, 20)]], MB // 4)
        assert client.xlen(KEYS.decisions) < 500
        assert lost() == before


def test_a_full_redis_takes_decisions_again_once_their_stream_may_be_trimmed(own_redis: EmbeddedRedis) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        append(own_redis.url, ([page(i, 20) for i in range(start, start + 20)] for start in range(0, 2000, 20)), 100 * MB)
        full: dict[str, Any] = client.info("memory")
        client.config_set("maxmemory", full["used_memory"] - MB // 2)
        client.config_set("maxmemory-policy", "noeviction")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("x", 1)
        for _ in range(3):
            append(own_redis.url, [[page(1, 20)]], MB // 4)
        client.set("x", 1)


def test_a_batch_that_is_sent_again_is_in_the_stream_once(redis_url: str) -> None:
    async def twice() -> None:
        link = RedisLink(redis_url)
        send = append_decisions(link, KEYS, MB)
        for number in (1, 1, 2):
            await send(number, [page(number, 1)])
        await link.close()

    asyncio.run(twice())
    with redis.Redis.from_url(redis_url) as client:
        assert client.xlen(KEYS.decisions) == 2
