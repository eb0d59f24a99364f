"""Frequency caps in Redis, reserved as pages are made: reserve_caps.lua."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from domain.errors import DependencyError
from domain.keys import Keys
from serving.gateway.adapters.redis_link import RedisLink, ScriptCall
from serving.gateway.ports import CapItem

GIVE_BACK_TIMEOUT_S = 0.25

log = logging.getLogger(__name__)


class RedisCaps:
    """What a shopper was shown counts before it is reported, for as long as its page may still report it.

    Args:
      ttl_ms: how long an offer that nobody reports counts as shown.
      clock: stands in for the time of Redis; in simulated time only.
    """

    def __init__(self, link: RedisLink, keys: Keys, ttl_ms: int, clock: Callable[[], int] | None = None) -> None:
        self._link, self._keys, self._ttl_ms, self._clock = link, keys, ttl_ms, clock
        self._giving: set[asyncio.Task[None]] = set()

    async def reserve(self, shopper_key: str, decision_id: str, items: Sequence[CapItem], timeout_s: float) -> list[bool]:
        """One atomic script over all items of the shopper."""
        args: list[str | int | bytes] = ["" if self._clock is None else self._clock(), self._ttl_ms, decision_id]
        for i in items:
            args += [i.cap, f"cap:{i.campaign_id}:{i.day}"]
        call = ScriptCall("reserve_caps", [self._keys.shopper(shopper_key), self._keys.shown(shopper_key)], args)
        (reply,) = await self._link.run([call], timeout_s)
        return [bool(r) for r in reply]

    def give_back(self, shopper_key: str, decision_id: str, campaign_ids: Sequence[str]) -> None:
        """In the background; what does not arrive is forgotten after `ttl_ms`."""
        task = asyncio.create_task(self._give_back(shopper_key, decision_id, campaign_ids))
        self._giving.add(task)
        task.add_done_callback(self._giving.discard)

    async def _give_back(self, shopper_key: str, decision_id: str, campaign_ids: Sequence[str]) -> None:
        members = [f"{c}|{decision_id}" for c in campaign_ids]
        try:
            await self._link.pipeline(lambda pipe: pipe.zrem(self._keys.shown(shopper_key), *members), GIVE_BACK_TIMEOUT_S)
        except DependencyError as e:
            log.debug("%d caps stay reserved until they are forgotten: %s", len(members), e)
