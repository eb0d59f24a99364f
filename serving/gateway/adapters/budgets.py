"""Budgets in Redis: holds by script, and a background reading of what is left."""

import asyncio
import logging
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from domain.clock import budget_day, now_ms
from domain.errors import DependencyError
from domain.keys import Keys, hold_member
from features.market import Market
from monitoring import metrics
from serving.gateway.adapters.redis_link import RedisLink, ScriptCall
from serving.gateway.ports import CampaignState, HoldItem

REFRESH_S = 0.5
STALE_MS = 2500
READ_TIMEOUT_S = 0.25
SWEEP_LIMIT = 64

log = logging.getLogger(__name__)


def budget_ttl_ms(market: Market) -> int:
    """How long a budget outlives its last use: past the last event that may still charge it."""
    training, policy = market.training, market.policy
    windows_s = training.click_window_s + training.conversion_window_s
    return 1000 * (windows_s + max(policy.hold_ttl_s, policy.clicked_hold_ttl_s) + policy.day_length_s + 86_400)


class RedisBudgets:
    """Reserves prices with hold.lua."""

    def __init__(self, link: RedisLink, keys: Keys, market: Market) -> None:
        self._link = link
        self._keys = keys
        self._hold_ttl_ms = market.policy.hold_ttl_s * 1000
        self._budget_ttl_ms = budget_ttl_ms(market)

    async def hold(self, items: Sequence[HoldItem], now_ms: int, mode: Literal["all", "any"], timeout_s: float) -> list[bool]:
        """One atomic script over all items; what it promises is at its head."""
        expires_ms = now_ms + self._hold_ttl_ms
        args: list[str | int | bytes] = [now_ms, expires_ms, self._budget_ttl_ms, SWEEP_LIMIT, self._keys.budget_prefix, mode]
        for i in items:
            args += [i.daily_budget_micros, i.micros, hold_member(i.campaign_id, i.day, i.micros, i.impression_id)]
        keys = [self._keys.holds, *(self._keys.budget(i.campaign_id, i.day) for i in items)]
        (fits,) = await self._link.run([ScriptCall("hold", keys, args)], timeout_s)
        return [bool(f) for f in fits]


class RedisCampaigns:
    """Budgets and pacing multipliers, read every half second by `watch`."""

    def __init__(self, link: RedisLink, keys: Keys, market: Market) -> None:
        self._link = link
        self._keys = keys
        self._campaigns = market.campaigns
        self._day_length_s = market.policy.day_length_s
        self._committed = np.zeros(len(market.campaigns), dtype=np.int64)
        self._multiplier = np.ones(len(market.campaigns))
        self._day = -1
        self._read_ms = -STALE_MS

    def state(self, now_ms: int) -> CampaignState:
        """As of the last reading; a day that has only just begun counts as unspent, since the hold decides anyway."""
        if now_ms - self._read_ms >= STALE_MS:
            return CampaignState(None, self._multiplier)
        today = budget_day(now_ms, self._day_length_s) == self._day
        return CampaignState(self._committed if today else np.zeros_like(self._committed), self._multiplier)

    async def refresh(self, now_ms: int) -> None:
        """Reads everything in one round trip.

        Raises:
          DependencyError: Redis is away; the last reading stays.
        """
        day = budget_day(now_ms, self._day_length_s)
        budgets = [self._keys.budget(c.id, day) for c in self._campaigns]
        (used,) = await self._link.run([ScriptCall("read_budgets", budgets, [])], READ_TIMEOUT_S)
        (pacing,) = await self._link.pipeline(lambda pipe: pipe.hgetall(self._keys.pacing), READ_TIMEOUT_S)
        self._committed = np.array([int(u) for u in used], dtype=np.int64)
        self._multiplier = np.array([_multiplier(pacing.get(c.id.encode())) for c in self._campaigns])
        self._day, self._read_ms = day, now_ms

    async def watch(self) -> None:
        """Refreshes for ever; says once when Redis goes away and once when it is back."""
        away = False
        while True:
            try:
                await self.refresh(now_ms())
                if away:
                    log.warning("Redis is back: budgeted offers are sold again")
                away = False
            except DependencyError as e:
                if not away:
                    log.warning("budgets cannot be read, budgeted offers are not sold: %s", e)
                away = True
            metrics.REDIS_UP.set(not away)
            await asyncio.sleep(REFRESH_S)


def _multiplier(stored: bytes | None) -> float:
    """A campaign the pacer has not seen yet is not held back."""
    try:
        multiplier = float(stored) if stored is not None else 1.0
    except ValueError:
        return 1.0
    return min(max(multiplier, 0.0), 1.0) if math.isfinite(multiplier) else 1.0
