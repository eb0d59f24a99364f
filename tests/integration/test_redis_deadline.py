"""A gateway that had no CPU for a moment does not take Redis for slow; one that is slow is given up on in time."""

import asyncio
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path

import pytest
import uvloop
from freezing import frozen
from redis.asyncio.client import Pipeline
from redis_servers import RedisServer
from redis_servers import redis_server as started_redis

from domain.errors import DependencyTimeout
from serving.gateway.adapters.redis_link import RedisLink

TIMEOUT_S = 0.1
AT_ONCE = 10


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with started_redis(tmp_path / "redis", "--maxmemory-policy", "noeviction") as server:
        yield server


async def ask(link: RedisLink, timeout_s: float = TIMEOUT_S) -> object:
    def fill(pipe: Pipeline) -> None:
        pipe.get("anything")

    return await link.pipeline(fill, timeout_s)


def run(scenario: Coroutine[None, None, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario)


def test_what_was_answered_while_the_loop_had_no_time_is_read(server):
    async def scenario() -> None:
        link = RedisLink(server.url)
        await asyncio.gather(*(ask(link, 5.0) for _ in range(AT_ONCE)))  # connects
        with frozen(server.process.pid):
            calls = [asyncio.create_task(ask(link)) for _ in range(AT_ONCE)]
            await asyncio.sleep(TIMEOUT_S / 4)  # all have asked
        time.sleep(3 * TIMEOUT_S)  # somebody else has the CPU
        assert await asyncio.gather(*calls) == [[None]] * AT_ONCE
        await link.close()

    run(scenario())


def test_a_redis_that_does_not_answer_is_given_up_on(server):
    async def scenario() -> None:
        link = RedisLink(server.url)
        await ask(link, 5.0)
        with frozen(server.process.pid), pytest.raises(DependencyTimeout, match="no answer within 100 ms"):
            await ask(link)
        assert await ask(link, 5.0) == [None]
        await link.close()

    run(scenario())
