"""Budgets that pay for conversions: how long clicks wait for theirs, and what earlier days still owe (docs/pacing.md)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import redis
from numpy.typing import NDArray

from domain.campaign import BidKind, Campaign
from domain.keys import Keys, partition_of
from features.market import Market
from serving.budget_days import budget_ttl_ms, conversion_delay_ms
from serving.budget_readings import BudgetReading

MOST_DAYS = 31
"""As in settle.lua: on how many days a conversion may find room."""
KNOWN_AFTER = 20
"""Conversions that count as much as what the market file says of their delay."""
POST_AT_ONCE = 100


class PendingConversions:
    """What the pacer does for campaigns that pay per conversion."""

    def __init__(self, client: "redis.Redis", market: Market) -> None:
        self._redis = client
        self._keys = Keys(market.name)
        self._campaigns: Sequence[Campaign] = tuple(c for c in market.campaigns if c.bid_kind is BidKind.CPA)
        self._at = [i for i, c in enumerate(market.campaigns) if c.bid_kind is BidKind.CPA]
        self._day_ms = market.policy.day_length_s * 1000
        self._usual_ms = conversion_delay_ms(market)
        # Clicks older than the conversion window wait for nothing.
        self._days = int(min(market.training.conversion_window_s * 1000 // self._day_ms + 1, MOST_DAYS))
        self._budget_ttl_ms = budget_ttl_ms(market)
        self._post = client.register_script((Path(__file__).parent / "lua" / "post_due.lua").read_text("utf-8"))

    def refresh(self, days: NDArray[np.int64], now_ms: int) -> None:
        """Charges what waited for room to today's budgets, then writes what they owe to earlier days.

            decay    = mean of the delays seen in the last days, with the market file's as if it had been seen KNOWN_AFTER times
            before   = sum over earlier days of what their clicks are still expected to charge
            owed     = the part of it that finds no room on its own day

        Args:
          days: [C] budget day of each campaign of the market.
        Raises:
          redis.RedisError: Redis is away.
        """
        if not self._campaigns:
            return
        today = days[self._at]
        self._charge_due(today)
        # One day of market time may be seconds of a simulation: then a click waits over many days, and the oldest are few.
        readings = [self._read(today - back, now_ms) for back in range(self._days, -1, -1)]
        delays = np.sum([r.delays for r in readings], axis=0)
        delay_ms = np.sum([r.delay_ms for r in readings], axis=0)
        decay_ms = np.maximum((delay_ms + KNOWN_AFTER * self._usual_ms) / (delays + KNOWN_AFTER), 1000.0)
        earlier = readings[:-1]
        before = np.sum([r.pending_micros for r in earlier], axis=0)
        room = [np.maximum(r.limit_micros - r.spent_micros, 0) for r in earlier]
        owed = np.sum([np.maximum(r.pending_micros - left, 0.0) for r, left in zip(earlier, room, strict=True)], axis=0)
        pipe = self._redis.pipeline(transaction=False)
        for i in np.flatnonzero(~readings[-1].closed).tolist():
            said = {"before": f"{before[i]:.0f}", "owed": f"{owed[i]:.0f}", "decay_ms": f"{decay_ms[i]:.0f}"}
            pipe.hset(self._keys.budget(self._campaigns[i].id, int(today[i])), mapping=said)
        pipe.execute()

    def _read(self, days: NDArray[np.int64], now_ms: int) -> BudgetReading:
        return BudgetReading.read(self._redis, self._keys, self._campaigns, days, now_ms, self._usual_ms)

    def _charge_due(self, days: NDArray[np.int64]) -> None:
        pipe = self._redis.pipeline(transaction=False)
        for campaign in self._campaigns:
            pipe.llen(self._keys.due(campaign.id))
        for campaign, day, waiting in zip(self._campaigns, days.tolist(), pipe.execute(), strict=True):
            while waiting > 0:
                keys = (
                    self._keys.due(campaign.id),
                    self._keys.budget(campaign.id, day),
                    self._keys.events(partition_of(campaign.id)),
                )
                charged = int(self._post(keys=keys, args=[day, POST_AT_ONCE, self._budget_ttl_ms]))
                waiting -= charged
                if charged < POST_AT_ONCE:
                    break
