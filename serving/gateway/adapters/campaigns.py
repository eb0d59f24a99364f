"""What a gateway knows of budgets and pacing without asking: the pacer's snapshot, and what its own holds found out since."""

import asyncio
import logging

import numpy as np
from numpy.typing import NDArray

from domain.clock import now_ms
from domain.errors import ContractError, DependencyError
from domain.keys import Keys
from features.market import Market
from monitoring import metrics
from retrieval.catalogue import UNLIMITED, Catalogue
from serving.budget_snapshot import STAMP_BYTES, Snapshot, digest
from serving.gateway.adapters.money_clock import MoneyClock
from serving.gateway.adapters.redis_link import RedisLink
from serving.gateway.ports import CampaignState

REFRESH_S = 0.5
STALE_MS = 2500
READ_TIMEOUT_S = 0.25

log = logging.getLogger(__name__)


class RedisCampaigns:
    """Room and pacing of all campaigns, read every half second by `watch`: one string, however many campaigns there are.

    Where no pacer publishes, nothing is known but what holds find out, and budgets are asked for one by one.
    """

    def __init__(self, link: RedisLink, keys: Keys, market: Market, clock: MoneyClock) -> None:
        self._link, self._keys, self._clock = link, keys, clock
        self._know(market)
        self._stamp, self._written_ms, self._read_ms = b"", 0, -STALE_MS
        self._multiplier = np.ones(len(self._index))
        self._day, self._days = -1, np.full(len(self._index), -1)
        self._room, self._seen, self._drain = (self._budget.copy() for _ in range(3))
        self._forget_room()
        self.market_digest: bytes | None = None
        """Of the market file that the pacer has; None until it published."""

    def _know(self, market: Market) -> None:
        catalogue = Catalogue.of(market.without_offers())
        self._index = {c: i for i, c in enumerate(catalogue.campaign_ids)}
        self._digest = digest(catalogue.campaign_ids)
        self._limited = catalogue.most_micros != UNLIMITED
        self._budget = catalogue.most_micros
        self._campaign_days = catalogue.days

    def follow(self, market: Market) -> None:
        """Another catalogue is sold from now on. What is known of campaigns that stay as they were stays known."""
        index, budget, days = self._index, self._budget, self._days
        room, seen, drain, multiplier = self._room, self._seen, self._drain, self._multiplier
        self._know(market)
        stayed = [(i, j) for c, i in self._index.items() if (j := index.get(c)) is not None]
        mine, theirs = np.array(stayed, dtype=np.int64).reshape(-1, 2).T
        self._multiplier = np.ones(len(self._index))
        self._multiplier[mine] = multiplier[theirs]
        self._room, self._seen, self._drain = (self._budget.copy() for _ in range(3))
        self._forget_room()
        self._days = np.full(len(self._index), -1)
        self._days[mine] = days[theirs]
        same = self._budget[mine] == budget[theirs]
        mine, theirs = mine[same], theirs[same]
        self._room[mine], self._seen[mine], self._drain[mine] = room[theirs], seen[theirs], drain[theirs]

    def state(self, now_ms: int) -> CampaignState:
        """As of the last reading. Of a day that has only just begun nothing is known, and so every budget is asked for."""
        if now_ms - self._read_ms >= STALE_MS:
            return CampaignState(None, self._drain, self._multiplier)
        days = self._campaign_days.at(now_ms)
        if days is not self._days:
            self._forget_room(days != self._days)
            self._days = days
        return CampaignState(self._room, self._drain, self._multiplier)

    def learn(self, campaign_id: str, day: int, room_micros: int) -> None:
        """What a hold found out; the next snapshot replaces it."""
        at = self._index.get(campaign_id)
        if at is not None and self._days[at] == day:  # None of one that has gone meanwhile
            self._room[at] = room_micros

    async def refresh(self) -> None:
        """Reads the snapshot, and Redis' time.

        Raises:
          DependencyError: Redis is away; the last reading stays.
        """
        asked_ms = now_ms()
        name = self._keys.snapshot
        (seconds, micros), stamp = await self._link.pipeline(
            lambda pipe: pipe.time().getrange(name, 0, STAMP_BYTES - 1), READ_TIMEOUT_S
        )
        self._clock.set(seconds * 1000 + micros // 1000, asked_ms, now_ms())
        if stamp != self._stamp:  # the pacer writes less often than this looks
            (stored,) = await self._link.pipeline(lambda pipe: pipe.get(name), READ_TIMEOUT_S)
            self._stamp = stamp
            try:
                if stored is not None:
                    self._take(Snapshot.parse(stored))
            except ContractError as e:
                log.error("budgets are asked for one by one: %s", e)
        self._read_ms = self._clock.now_ms()

    def _take(self, read: Snapshot) -> None:
        if read.written_ms == self._written_ms or read.day < self._day:
            return
        room, multiplier = np.where(self._limited, 0, UNLIMITED), np.ones(len(self._index))
        if read.campaigns_digest == self._digest:
            mine = theirs = np.arange(len(self._index))
        else:  # the pacer has another market file: what both know counts, the rest is asked for
            known = [(self._index[c], j) for j, c in enumerate(read.campaign_ids) if c in self._index]
            mine, theirs = np.array(known, dtype=np.int64).reshape(-1, 2).T
        room[mine] = np.where(self._limited[mine], read.room_micros[theirs], UNLIMITED)
        multiplier[mine] = np.clip(read.multiplier[theirs], 0.0, 1.0)
        days = self._campaign_days.at(read.written_ms)
        self._drain = np.where(self._limited, np.maximum(self._seen - room, 0), 0)
        self._forget_room(days != self._days)
        self._day, self._days = read.day, days
        unknown = np.ones(len(self._index), dtype=bool)
        unknown[mine] = False
        room[unknown] = self._budget[unknown]
        self._room, self._seen, self._multiplier, self._written_ms = room, room.copy(), multiplier, read.written_ms
        self.market_digest = read.market_digest

    def _forget_room(self, of: NDArray[np.bool_] | slice = slice(None)) -> None:
        """A drain as large as the budget says that no room is sure."""
        self._room[of] = self._seen[of] = self._budget[of]
        self._drain[of] = np.where(self._limited[of], self._budget[of], 0)

    async def watch(self) -> None:
        """Refreshes for ever; says once when Redis goes away and once when it is back."""
        away = False
        while True:
            try:
                await self.refresh()
                if away:
                    log.warning("Redis is back: budgeted offers are sold again")
                away = False
            except DependencyError as e:
                if not away:
                    log.warning("budgets cannot be read, budgeted offers are not sold: %s", e)
                away = True
            metrics.REDIS_UP.set(not away)
            await asyncio.sleep(REFRESH_S)
