"""Records on their way to Redis: kept in memory while it is away, sent in the background, dropped only by count."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from domain.errors import DependencyError
from monitoring import metrics

LINGER_S = 0.05
RETRY_S = 0.25
MAX_BATCH = 64
FLUSH_S = 3.0

log = logging.getLogger(__name__)

Record = TypeVar("Record")


class Outbox(Generic[Record]):
    """At most `capacity` records; when it is full, new ones are dropped and counted.

    Batches are numbered from 1. One is sent again, under its number, until `send` returns: `send` makes repeats harmless.

    Args:
      emptied: called whenever nothing waits any more.
    """

    def __init__(
        self,
        what: str,
        send: Callable[[int, list[Record]], Awaitable[object]],
        capacity: int,
        emptied: Callable[[], None] = lambda: None,
    ) -> None:
        self._what = what
        self._send = send
        self._capacity = capacity
        self._emptied = emptied
        self._waiting: deque[Record] = deque()
        self._batch: list[Record] = []
        self._number = 0
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._batch)

    def put(self, record: Record) -> None:
        """Accepts a record without waiting."""
        if len(self) >= self._capacity:
            metrics.DROPPED.labels(self._what).inc()
            return
        self.put_back(record)

    def put_back(self, record: Record) -> None:
        """Accepts one that had been accepted before, whatever the capacity."""
        self._waiting.append(record)
        self._filled.set()

    def wake(self) -> None:
        """Looks at what waits, even if nothing does: `emptied` is called then."""
        self._filled.set()

    async def run(self) -> None:
        """Sends for ever."""
        away = False
        while True:
            await self._filled.wait()
            # Lets the answer go out first, and lets requests of the same moment share a round trip.
            await asyncio.sleep(LINGER_S)
            try:
                await self._send_one_batch()
                away = False
            except DependencyError as e:
                if not away:
                    log.warning("%d %s wait for Redis: %s", len(self), self._what, e)
                away = True
                await asyncio.sleep(RETRY_S)
            metrics.OUTBOX_WAITING.labels(self._what).set(len(self))

    async def _send_one_batch(self) -> None:
        if not self._batch:
            self._batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
            self._number += 1
        if self._batch:
            await self._send(self._number, self._batch)
            self._batch = []
        if not self._waiting:
            self._filled.clear()
            self._emptied()

    async def flush(self) -> int:
        """Sends what is left, for a few seconds at most; how many are left then."""
        deadline = time.monotonic() + FLUSH_S
        while len(self) and time.monotonic() < deadline:
            try:
                await self._send_one_batch()
            except DependencyError:
                await asyncio.sleep(RETRY_S)
        return len(self)

    async def end(self) -> None:
        """Flushes, and says what was lost."""
        if lost := await self.flush():
            metrics.DROPPED.labels(self._what).inc(lost)
            log.error("%d %s are lost: Redis was away at the end", lost, self._what)
