"""Simulated weeks of a campaign that pays per conversion: how much of its budget is delivered, and how much is free.

Shoppers, clicks and the time are simulated; budgets, holds, charges and pacing are the real scripts on a real Redis. Every page
that is sold is clicked, and one in ten clicks converts, after an exponential delay. A campaign has two weeks; what converts after
them may still be charged to their budgets.
"""

import asyncio
import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import redis

from benchmarks.adversary.row import Row
from domain.clock import budget_day
from domain.events import EventType
from domain.keys import Keys
from domain.money import expected_micros
from features.market import Market, parse_market
from serving.embedded_redis import EmbeddedRedis
from serving.gateway.adapters.budgets import RedisBudgets
from serving.gateway.adapters.ledger import RedisLedger
from serving.gateway.adapters.redis_link import RedisLink
from serving.gateway.adapters.shoppers import RedisShoppers
from serving.gateway.events import page_event
from serving.gateway.ports import HoldItem
from serving.gateway.tokens import Sold
from serving.pacer import Pacer
from serving.repair.servers import run_ids, verify

DAY_MS = 86_400_000
FIRST_DAY = 20_800
PRICE_MICROS = 4_000_000
PCVR = 0.1
PER_DAY = 30
TIMES_THE_BUDGET = 2.0
"""Clicks on offer a day, in those that spend the budget."""
PACER_TURNS = 48
TIMEOUT_S = 5.0
DELAYS = {"5 minutes": 300, "half a day": 43_200, "2 days": 172_800, "a week": 604_800}
"""Within which 95 % of the conversions come, in seconds."""
WITHIN = 3.0
"""That is three mean delays."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Of one campaign, over its whole life."""

    budget_micros: int
    charged_micros: int
    conversions: int
    free: int
    most_over_micros: int
    """By how much the day that was overspent most was; 0 if none was."""

    @property
    def share(self) -> float:
        """Of what the budgets allowed."""
        return self.charged_micros / self.budget_micros

    @property
    def free_share(self) -> float:
        """Of all conversions."""
        return self.free / max(self.conversions, 1)


def cases(folder: Path, *, short: bool) -> Iterator[Row]:
    """A budget of 30 conversions a day for every delay; in the short form for one of them, over a few days."""
    delays = {"half a day": DELAYS["half a day"]} if short else DELAYS
    with EmbeddedRedis(folder / "redis") as server:
        for name, delay_s in delays.items():
            d = deliver(server.url, PER_DAY, delay_s, days=4 if short else 14, seed=1)
            yield Row(
                case=f"conversions within {name}",
                ok=d.share >= 0.95 and d.free_share <= 0.01 and not d.most_over_micros,
                budget_micros=d.budget_micros,
                charged_micros=d.charged_micros,
                sellable=d.conversions,
                sold=d.conversions - d.free,
                said=f"{d.share:.1%} delivered, {d.free_share:.2%} free; simulated shoppers",
            )


def deliver(url: str, per_day: int, delay_s: float, days: int, seed: int) -> Delivered:
    """Runs one campaign of `per_day` conversions a day on an empty Redis."""
    return asyncio.run(_Campaign(url, per_day, delay_s, days, seed).run())


def market(per_day: int, days: int, delay_s: float) -> Market:
    """One campaign, from midnight of the first day to midnight after the last."""
    ends = np.datetime64((FIRST_DAY + days) * DAY_MS, "ms").astype("datetime64[s]").item().isoformat() + "Z"
    return parse_market(
        {
            "name": "conversions",
            "currency": "USD",
            "placements": [{"name": "main", "count": 1}],
            "features": [{"name": "offer_id", "source": "offer", "default": ""}],
            "tasks": [{"name": "ctr", "label": "click"}, {"name": "cvr", "label": "conversion", "given": "click"}],
            "policy": {"id": "conversions", "priors": {"ctr": 0.5, "cvr": PCVR}},
            "training": {"conversion_window_s": int(max(3 * delay_s, 86_400))},
            "offers": [{"id": "o", "campaign": "c", "title": "t", "landing_url": "https://shop.example"}],
            "campaigns": [
                {
                    "id": "c",
                    "advertiser": "a",
                    "bid_kind": "cpa",
                    "bid_micros": PRICE_MICROS,
                    "daily_budget_micros": per_day * PRICE_MICROS,
                    "ends": ends,
                }
            ],
        }
    )


class _Campaign:
    def __init__(self, url: str, per_day: int, delay_s: float, days: int, seed: int) -> None:
        self.market = market(per_day, days, delay_s)
        self.keys = Keys(self.market.name)
        self.rng = np.random.default_rng(seed)
        self.days, self.mean_delay_ms = days, delay_s * 1000 / WITHIN
        self.clicks_a_day = per_day / PCVR * TIMES_THE_BUDGET
        self.now_ms = FIRST_DAY * DAY_MS
        self.raw = redis.Redis.from_url(url, decode_responses=True)
        self.raw.flushall()
        verify(self.raw, self.keys, run_ids(self.raw))
        self.link = RedisLink(url)
        self.budgets = RedisBudgets(self.link, self.keys, self.market, lambda: self.now_ms)
        shoppers = RedisShoppers(self.link, self.keys)
        self.ledger = RedisLedger(self.link, self.keys, self.market, shoppers, lambda: self.now_ms)
        self.pacer = Pacer(self.raw, self.market, lock_s=3600)
        self.ids = count(1)
        self.coming: list[tuple[int, int, Sold]] = []

    async def run(self) -> Delivered:
        end_ms = (FIRST_DAY + self.days) * DAY_MS
        step_ms = DAY_MS // PACER_TURNS
        while self.now_ms < end_ms:
            self.pacer.turn(self.now_ms)
            multiplier = float(self.raw.hget(self.keys.pacing, "c") or 1)
            start_ms = self.now_ms
            arrivals = self.rng.poisson(self.clicks_a_day / PACER_TURNS * multiplier)
            for at in sorted(self.rng.integers(0, step_ms, arrivals).tolist()):
                await self._convert_until(start_ms + at)
                await self._sell()
            await self._convert_until(start_ms + step_ms)
        await self._convert_until(end_ms + int(20 * self.mean_delay_ms))
        delivered = self._count()
        await self.link.close()
        self.raw.close()
        return delivered

    async def _sell(self) -> None:
        """One page: held, seen, clicked, and perhaps converted later."""
        number, day = next(self.ids), budget_day(self.now_ms, 86_400)
        pending = expected_micros(PRICE_MICROS, PCVR)
        sold = Sold(f"d{number}", f"d{number}-0", "o", "c", "a", 0, "cpa", PRICE_MICROS, day, f"s{number}", self.now_ms, False)
        sold = replace(sold, pending_micros=pending)
        (grant,) = await self.budgets.hold([HoldItem("c", sold.decision_id, day, pending, PRICE_MICROS)], TIMEOUT_S)
        if not grant.held:
            return
        both = [page_event(event, sold, self.now_ms) for event in (EventType.IMPRESSION, EventType.CLICK)]
        await self.ledger.accept(both, self.now_ms, TIMEOUT_S)
        if self.rng.random() < PCVR:
            at_ms = self.now_ms + 1 + int(self.rng.exponential(self.mean_delay_ms))
            heapq.heappush(self.coming, (at_ms, number, sold))

    async def _convert_until(self, until_ms: int) -> None:
        """Lets time pass to `until_ms`, with the conversions that come meanwhile."""
        while self.coming and self.coming[0][0] <= until_ms:
            self.now_ms, _, sold = heapq.heappop(self.coming)
            await self.ledger.accept([page_event(EventType.CONVERSION, sold, self.now_ms)], self.now_ms, TIMEOUT_S)
        self.now_ms = until_ms

    def _count(self) -> Delivered:
        budget = self.market.campaigns[0].daily_budget_micros or 0
        span = range(FIRST_DAY, FIRST_DAY + self.days)
        spent = [int(self.raw.hget(self.keys.budget("c", day), "spent") or 0) for day in span]
        entries = [e for p in range(16) for _, e in self.raw.xrange(self.keys.events(p))]
        came = [e for e in entries if e["type"] == "conversion" and e["status"] != "expired"]
        charged = sum(1 for e in entries if int(e["charged_micros"]) > 0)
        return Delivered(budget * self.days, sum(spent), len(came), len(came) - charged, max(max(spent) - budget, 0))
