"""Records wait while Redis is away, in order, and are dropped only when there are too many."""

import asyncio

import pytest

from domain.errors import Unavailable
from monitoring import metrics
from serving.gateway.adapters.outbox import Outbox


class Redis:
    """Fails as often as told."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.batches: list[tuple[int, list[int]]] = []
        self.tried = 0

    async def send(self, number: int, records: list[int]) -> None:
        self.tried += 1
        if self.tried <= self.failures:
            raise Unavailable("redis", "refused")
        self.batches.append((number, list(records)))


async def run_until_empty(outbox: Outbox[int]) -> None:
    task = asyncio.create_task(outbox.run())
    while len(outbox):
        await asyncio.sleep(0.01)
    task.cancel()


def test_records_go_out_in_numbered_batches():
    redis = Redis(failures=0)

    async def scenario() -> None:
        outbox = Outbox("records", redis.send, capacity=1000)
        for i in range(100):
            outbox.put(i)
        await run_until_empty(outbox)

    asyncio.run(scenario())
    assert [number for number, _ in redis.batches] == [1, 2]
    assert [r for _, batch in redis.batches for r in batch] == list(range(100))


def test_a_batch_that_failed_is_sent_again_under_its_number():
    redis = Redis(failures=1)

    async def scenario() -> None:
        outbox = Outbox("records", redis.send, capacity=1000)
        outbox.put(1)
        await run_until_empty(outbox)
        outbox.put(2)
        await run_until_empty(outbox)

    asyncio.run(scenario())
    assert redis.batches == [(1, [1]), (2, [2])]


@pytest.mark.parametrize(("failures", "lost"), [(2, 0), (10**6, 3)])
def test_flushing_at_the_end_says_what_was_lost(failures, lost):
    redis = Redis(failures)
    before = metrics.DROPPED.labels("records")._value.get()

    async def scenario() -> None:
        outbox = Outbox("records", redis.send, capacity=1000)
        for i in range(3):
            outbox.put(i)
        await outbox.end()

    asyncio.run(scenario())
    assert metrics.DROPPED.labels("records")._value.get() - before == lost


def test_beyond_its_capacity_new_records_are_dropped_and_counted():
    before = metrics.DROPPED.labels("records")._value.get()

    async def scenario() -> int:
        outbox = Outbox("records", Redis(0).send, capacity=2)
        for i in range(5):
            outbox.put(i)
        return len(outbox)

    assert asyncio.run(scenario()) == 2
    assert metrics.DROPPED.labels("records")._value.get() - before == 3
