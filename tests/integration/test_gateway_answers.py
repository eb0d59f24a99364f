"""One id, one answer: at the same instant, from several gateways, with Redis coming and going."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from domain.keys import Keys
from serving.embedded_redis import EmbeddedRedis
from serving.gateway.adapters import answers
from serving.gateway.adapters.answers import RedisAnswers
from serving.gateway.adapters.redis_link import RedisLink
from serving.gateway.ports import Made
from serving.gateway.wire import HttpError

KEYS = Keys("golden")


class Gateway:
    """The answers of one gateway, and what it has decided and logged."""

    def __init__(self, redis_url: str, name: str) -> None:
        self.link = RedisLink(redis_url)
        self.answers = RedisAnswers(self.link, KEYS)
        self.name = name
        self.decided = 0
        self.logged: list[bytes] = []
        self.takes_s = 0.01

    async def ask(self, decision_id: str, request: bytes = b"page") -> bytes:
        return await self.answers.once(decision_id, request, self._decide)

    async def _decide(self) -> Made:
        self.decided += 1
        answer = f"{self.name} {self.decided}".encode()
        await asyncio.sleep(self.takes_s)
        return Made(answer, lambda: self.logged.append(answer))


@asynccontextmanager
async def two_gateways(redis_url: str):
    one, other = Gateway(redis_url, "one"), Gateway(redis_url, "other")
    try:
        yield one, other
    finally:
        await one.link.close()
        await other.link.close()


def run(redis_url: str, scenario: Callable[[Gateway, Gateway], Awaitable[None]]) -> None:
    async def with_two() -> None:
        async with two_gateways(redis_url) as (one, other):
            await scenario(one, other)

    asyncio.run(with_two())


def test_at_the_same_instant_one_gateway_decides_and_both_answer_alike(redis_url):
    async def scenario(one: Gateway, other: Gateway) -> None:
        for i in range(50):
            first, second = await asyncio.gather(one.ask(f"order-{i}"), other.ask(f"order-{i}"))
            assert first == second
        # What was not answered was not even decided: nothing is held or logged for it.
        assert one.decided + other.decided == 50
        assert len(one.logged) + len(other.logged) == 50

    run(redis_url, scenario)


def test_another_request_under_the_id_is_refused_even_before_the_first_is_answered(redis_url):
    async def scenario(one: Gateway, other: Gateway) -> None:
        one.takes_s = 0.5
        first = asyncio.create_task(one.ask("order-1"))
        await asyncio.sleep(0.1)
        for gateway in (one, other):
            with pytest.raises(HttpError) as e:
                await gateway.ask("order-1", b"another page")
            assert (e.value.status, e.value.field) == (409, "id")
        assert await first == await other.ask("order-1") == b"one 1"

    run(redis_url, scenario)


def test_a_gateway_that_dies_with_a_claim_blocks_its_id_only_until_the_claim_expires(redis_url):
    async def scenario(one: Gateway, other: Gateway) -> None:
        one.takes_s = 3600
        dead = asyncio.create_task(one.ask("order-1"))
        await asyncio.sleep(0.1)
        dead.cancel()
        with pytest.raises(HttpError) as e:
            await other.ask("order-1")
        assert (e.value.status, e.value.headers) == (503, {"retry-after": "1"})
        # As if the time had passed.
        await one.link.pipeline(lambda pipe: pipe.pexpire(KEYS.answer("order-1"), 1), 1.0)
        assert await other.ask("order-1") == b"other 1"

    run(redis_url, scenario)


def test_a_decision_that_fails_gives_its_claim_up(redis_url):
    async def scenario(one: Gateway, other: Gateway) -> None:
        async def fails() -> Made:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await one.answers.once("order-1", b"page", fails)
        assert await other.ask("order-1") == b"other 1"

    run(redis_url, scenario)


def test_a_gateway_that_was_paused_beyond_its_claim_gives_the_answer_that_came_first(redis_url):
    async def scenario(one: Gateway, other: Gateway) -> None:
        one.takes_s = 0.3
        paused = asyncio.create_task(one.ask("order-1"))
        await asyncio.sleep(0.1)
        await one.link.pipeline(lambda pipe: pipe.delete(KEYS.answer("order-1")), 1.0)
        assert await other.ask("order-1") == b"other 1"
        assert await paused == b"other 1"
        assert one.logged == []

    run(redis_url, scenario)


def test_a_gateway_that_could_not_claim_the_id_waits_for_the_one_that_could(redis_url):
    async def scenario(one: Gateway, other: Gateway) -> None:
        one.takes_s = 0.3
        late = asyncio.create_task(one.ask("order-1"))
        await asyncio.sleep(0.1)
        # As if the claim had been lost on its way, and another gateway's had not.
        await one.link.pipeline(lambda pipe: pipe.delete(KEYS.answer("order-1")), 1.0)
        other.takes_s = 0.5
        first, second = await asyncio.gather(late, other.ask("order-1"))
        assert first == second == b"other 1"
        assert (one.logged, other.logged) == ([], [b"other 1"])

    run(redis_url, scenario)


def test_without_redis_one_gateway_still_gives_one_answer_at_a_time(own_redis: EmbeddedRedis):
    async def scenario(one: Gateway, other: Gateway) -> None:
        own_redis.stop()
        assert len(set(await asyncio.gather(*(one.ask("order-1") for _ in range(5))))) == 1
        assert await other.ask("order-1") == b"other 1"
        own_redis.start()
        deadline = time.monotonic() + 20
        while await one.ask("order-2") != await other.ask("order-2"):  # until the connections have found it again
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)

    run(own_redis.url, scenario)


def test_a_claim_outlasts_every_wait_and_an_answer_every_claim():
    assert answers.WAIT_S * 1000 < answers.CLAIM_MS < answers.REPLAY_MS
