"""The gateway's money path against a real Redis, without HTTP: offers are shown and their events accepted, at a given time."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import redis

from domain.days import day_of
from domain.events import EventStatus, EventType
from domain.keys import Keys, partition_of
from features.market import Market, load_market
from serving.budget_days import open_days, open_new
from serving.gateway.adapters.budgets import RedisBudgets
from serving.gateway.adapters.ledger import RedisLedger
from serving.gateway.adapters.redis_link import RedisLink
from serving.gateway.adapters.shoppers import RedisShoppers
from serving.gateway.ports import HoldItem, PageEvent
from serving.gateway.tokens import Sold

MARKET = load_market(Path(__file__).resolve().parents[1] / "golden" / "market.toml")
DAY_MS = MARKET.policy.day_length_s * 1000
START_MS = 20_833 * DAY_MS
TIMEOUT_S = 5.0

T = TypeVar("T")


class MoneyPath:
    """Holds and events of one market, whose clock stands still unless it is moved.

    Args:
      now_ms: None takes the time of Redis.
    """

    def __init__(self, url: str, market: Market = MARKET, now_ms: int | None = START_MS) -> None:
        self.market, self.now_ms = market, now_ms
        self.keys = Keys(market.name)
        self.raw = redis.Redis.from_url(url, decode_responses=True)
        self._loop = asyncio.new_event_loop()
        self._link = RedisLink(url)
        clock = None if now_ms is None else lambda: self.at_ms
        self._budgets = RedisBudgets(self._link, self.keys, market, clock)
        self._ledger = RedisLedger(self._link, self.keys, market, RedisShoppers(self._link, self.keys), clock)

    def __enter__(self) -> "MoneyPath":
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._link.close())
        self._loop.close()
        self.raw.close()

    @property
    def at_ms(self) -> int:
        """The time."""
        if self.now_ms is not None:
            return self.now_ms
        seconds, micros = self.raw.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def open(self, *days: int) -> None:
        """Opens budgets of each campaign's today, or of other days."""
        if days:
            open_days(self.raw, self.market, days)
        else:
            open_new(self.raw, self.market, [(c, self.day(c.id)) for c in self.market.campaigns])

    def day(self, campaign: str) -> int:
        """Its today."""
        return day_of(self.at_ms, self.market.campaign_by_id[campaign].time_zone, self.market.policy.day_length_s)

    def sold(self, decision: str, campaign: str, micros: int, shopper: str = "s", **changes: Any) -> Sold:
        """An offer as a token says it."""
        c = self.market.campaign_by_id[campaign]
        made: dict[str, Any] = {
            "decision_id": decision,
            "impression_id": f"{decision}-0",
            "offer_id": "o",
            "campaign_id": campaign,
            "advertiser": c.advertiser,
            "position": 0,
            "bid_kind": c.bid_kind,
            "price_micros": micros,
            "day": self.day(campaign),
            "shopper_key": shopper,
            "issued_ms": self.at_ms,
            "test": False,
        }
        return Sold(**made | changes)

    def hold(self, one: Sold) -> bool:
        """Reserves its price, as serving does."""
        item = HoldItem(one.campaign_id, one.decision_id, one.day, one.price_micros, one.price_micros)
        return self._run(self._budgets.hold([item], TIMEOUT_S))[0].held

    def report(self, kind: EventType, one: Sold, **changes: Any) -> tuple[EventStatus, int]:
        """Accepts an event: what became of it, and what it charged."""
        event = PageEvent(
            **{"type": kind, "sold": one, "event_id": f"{one.impression_id}.{kind}", "time_ms": self.at_ms} | changes
        )
        (settled,) = self._run(self._ledger.accept([event], self.at_ms, TIMEOUT_S))
        return settled.status, settled.charged_micros

    def entries(self, campaign: str) -> list[dict[str, str]]:
        """The event stream of the campaign's partition."""
        return [fields for _, fields in self.raw.xrange(self.keys.events(partition_of(campaign)))]

    def _run(self, what: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(what)
