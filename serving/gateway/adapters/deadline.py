"""A deadline that tells a slow dependency from a process that was slow itself."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

LATE_S = 0.002
GRACE_S = 0.02

Result = TypeVar("Result")


async def until(end_s: float, call: Awaitable[Result]) -> Result:
    """The result of a call that is cancelled at `end_s` of the loop's time.

    An event loop that had no CPU for a while finds its timers due before it reads what has come meanwhile: all calls under way
    would fail at once, though all were answered, and a breaker would open on a dependency that is well. So a timer that fires
    late lets the loop read first.

    Raises:
      TimeoutError: no result in time.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:

        def due() -> None:
            now_s = loop.time()
            limit.reschedule(now_s + GRACE_S if now_s - end_s > LATE_S else now_s)

        timer = loop.call_at(end_s, due)
        try:
            return await call
        finally:
            timer.cancel()
