"""Holds in Redis: what hold.lua and keep.lua promise, as a port."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from domain.errors import DependencyError
from domain.keys import Keys, hold_member, partition_of
from features.market import Market
from retrieval.catalogue import Catalogue
from serving.budget_days import DEVIATIONS, conversion_delay_ms, holds_back, last_day
from serving.gateway.adapters.redis_link import RedisLink, ScriptCall
from serving.gateway.ports import Grant, HoldItem

SWEEP_LIMIT = 64
SHORTEST_HOLD_MS = 1000
KEEP_TIMEOUT_S = 0.25
KEEP_AFTER_S = 0.02
"""Time in which the holds of other pages may join the call."""
KEEP_AT_ONCE = 100

log = logging.getLogger(__name__)


class RedisBudgets:
    """Reserves money with hold.lua, in one round trip.

    Args:
      clock: stands in for the time of Redis; in simulated time only.
    """

    def __init__(self, link: RedisLink, keys: Keys, market: Market, clock: Callable[[], int] | None = None) -> None:
        self._link = link
        self._keys = keys
        self._clock = clock
        self._unseen_ttl_ms = market.policy.unseen_hold_ttl_s * 1000
        self._decay_ms = conversion_delay_ms(market)
        self._holds_back = holds_back(market)
        self._last_day: dict[str, int] = {}
        self.follow(market)
        self._lower: list[HoldItem] = []
        self._lowering: asyncio.Task[None] | None = None

    def follow(self, market: Market) -> None:
        """Another catalogue is sold from now on; decisions under way may still hold for campaigns that have gone."""
        catalogue = Catalogue.of(market.without_offers())
        self._last_day |= dict(zip(catalogue.campaign_ids, last_day(catalogue).tolist(), strict=True))

    async def hold(self, items: Sequence[HoldItem], timeout_s: float, patience: float = 1.0) -> list[Grant]:
        """Atomic per item; on one server over all of them. What it promises is at the script's head."""
        now = "" if self._clock is None else self._clock()
        ttl_ms = max(int(self._unseen_ttl_ms * patience), SHORTEST_HOLD_MS)
        parts = self._by_slot(items)
        calls = []
        for part in parts:
            args: list[str | int | bytes] = [now, SWEEP_LIMIT, self._decay_ms, self._holds_back]
            for i in part:
                args += [items[i].micros, _member(items[i]), ttl_ms, self._slack(items[i])]
            calls.append(ScriptCall("hold", self._names(items[i] for i in part), args))
        grants: list[Grant] = [Grant(False, None)] * len(items)
        for part, reply in zip(parts, await self._link.run(calls, timeout_s), strict=True):
            for i, code, room in zip(part, reply[::2], reply[1::2], strict=True):
                grants[i] = Grant(code == 1, int(room) if code >= 0 else None)
        return grants

    def keep(self, items: Sequence[HoldItem]) -> None:
        """Lowers holds to `micros`, in the background, with those of other pages; one that does not arrive expires by itself."""
        self._lower += items
        if self._lowering is None:
            self._lowering = asyncio.create_task(self._lower_soon())

    async def _lower_soon(self) -> None:
        await asyncio.sleep(KEEP_AFTER_S)
        self._lowering, items, self._lower = None, self._lower, []
        calls = []
        for part in self._by_slot(items):
            for some in (part[i : i + KEEP_AT_ONCE] for i in range(0, len(part), KEEP_AT_ONCE)):
                args: list[str | int | bytes] = []
                for i in some:
                    args += [items[i].micros, _member(items[i])]
                calls.append(ScriptCall("keep", self._names(items[i] for i in some), args))
        try:
            await self._link.run(calls, KEEP_TIMEOUT_S)
        except DependencyError as e:
            log.debug("%d holds stay as they are until they expire: %s", len(items), e)

    def _by_slot(self, items: Sequence[HoldItem]) -> list[list[int]]:
        """Positions of items that one script may touch together."""
        if not self._link.sharded:
            return [list(range(len(items)))]
        parts: dict[int, list[int]] = {}
        for i, item in enumerate(items):
            parts.setdefault(partition_of(item.campaign_id), []).append(i)
        return list(parts.values())

    def _names(self, items: Iterable[HoldItem]) -> list[str]:
        keys = self._keys
        return [name for i in items for name in (keys.budget(i.campaign_id, i.day), keys.holds(partition_of(i.campaign_id)))]

    def _slack(self, item: HoldItem) -> int:
        """Of what is held by its expectation: see ARGV of the script."""
        slack = int(item.event_micros * DEVIATIONS**2)
        return -slack if item.day >= self._last_day[item.campaign_id] else slack


def _member(item: HoldItem) -> str:
    return hold_member(item.campaign_id, item.day, item.decision_id)
