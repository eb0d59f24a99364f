"""The pacer process: moves every campaign's pacing multiplier towards its plan, and gives expired holds back.

Any number may run; one leads, under a lock that expires. Two that believe they lead for a moment, say after one was
suspended, do no harm: sweeping is atomic per hold, and a multiplier written twice is set right a few seconds later.
"""

import logging
import sys
import threading
import uuid
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import redis
from numpy.typing import NDArray
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from auction.pacing import HASTE, MIN_MULTIPLIER, Pacing, joined, of_today, update
from catalogue import CatalogueUrl
from domain.clock import budget_day
from domain.day_parts import days_with, hours_of_week
from domain.days import DAY_S
from domain.errors import OfferRankError
from domain.keys import LIFETIME, PARTITIONS, Keys
from domain.refusals import read_settings
from domain.signals import told_to_stop
from features.market import Market, load_market, market_digest
from retrieval.catalogue import UNLIMITED, Catalogue
from serving.beats import Disagreement, disagreements
from serving.budget_days import conversion_delay_ms, last_day, slack_micros
from serving.budget_readings import NO_END, BudgetReading
from serving.budget_snapshot import Snapshot, digest
from serving.pending_conversions import PendingConversions
from serving.repair.opening import Opening
from store import RedisUrl, connect, forget_connections, refuse_unsafe

if TYPE_CHECKING:
    from catalogue.following_thread import FollowingThread

log = logging.getLogger("offerrank.pacer")
LUA = Path(__file__).parent / "lua"
SWEEP_BATCH = 500
"""Holds a script gives back at once, some 2 ms during which Redis serves nobody else."""
SWEEPS_PER_TURN = 20
LOOK_MS = 15_000
"""Between two looks at conversions that wait, on all the days they may be charged to."""
LOCK_INTERVALS = 3
"""A leader that missed this many turns is taken for dead."""
MIN_LOCK_S = 1.0
SOON_S = 0.25


class PacerSettings(BaseSettings):
    """Read from `OFFERRANK_*`; docs/pacing.md says how to choose them."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="OFFERRANK_", use_attribute_docstrings=True)

    market: Path
    """The market.toml whose campaigns are paced."""
    catalogue: CatalogueUrl | None = None
    """Database of campaigns ([forms](catalogue.md#where-it-is)), followed live; without one, the market file lists them."""
    catalogue_snapshot: Path | None = None
    """Folder for the last catalogue, which is paced while the database is away at the start."""
    redis_url: RedisUrl = "redis://127.0.0.1:6379/0"
    log_dir: Path = Path(".offerrank/log")
    """The archive, with the ledger, from which money that Redis lost is rebuilt."""
    pacer_interval_s: float = Field(default=2.0, ge=0.05, le=600)
    """Time between two updates."""


def run(settings: PacerSettings) -> None:
    """Paces until SIGTERM or SIGINT.

    Raises:
      InvalidMarket: the market file is wrong.
      ContractError: money is not safe in this Redis.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    with told_to_stop() as stop:
        pace(settings, stop)


def pace(settings: PacerSettings, stop: threading.Event) -> None:
    """`run` without signals: paces until `stop` is set, then resigns."""
    followed = None if settings.catalogue is None else _follow(settings)
    market = load_market(settings.market).without_offers() if followed is None else followed.stock.market
    digest_of_file = market_digest(settings.market)
    # Every command here may be repeated safely. Short, so that a stop is not held up for long by a Redis that hangs.
    retry = Retry(ExponentialBackoff(cap=0.5, base=0.05), retries=2)
    retried: list[type[Exception]] = [redis.ConnectionError, redis.TimeoutError]
    # What somebody else may have written is not necessarily text.
    options = {"decode_responses": True, "encoding_errors": "replace", "retry": retry, "retry_on_error": retried}
    with followed or nullcontext(), connect(settings.redis_url, 1, 1, for_money=True, **options) as client:
        refuse_unsafe(settings.redis_url)
        pacer = Pacer(
            client,
            market,
            lock_s=max(LOCK_INTERVALS * settings.pacer_interval_s, MIN_LOCK_S),
            market_digest=digest_of_file,
            log_dir=settings.log_dir,
        )
        log.info("pacing %d campaigns of %s every %g s", len(market.campaigns), market.name, settings.pacer_interval_s)
        away = False
        while not stop.is_set():
            try:
                pacer.turn()
            except redis.RedisError as e:
                if not away:
                    log.warning("Redis is away, multipliers stay as they are; will try again: %s", e)
                away = True
                pacer.forget()
                forget_connections(client)  # after a fail-over the next connection leads to the new master
            else:
                if away:
                    log.info("Redis is back")
                away = False
            # Nothing is sold meanwhile: what is waited for may be there any moment.
            wait_s = min(settings.pacer_interval_s, SOON_S) if away or pacer.waits else settings.pacer_interval_s
            if followed is None:
                stop.wait(wait_s)
            elif (changed := followed.wait(wait_s, stop)) is not None:
                pacer.follow(changed.market)
                log.info("pacing %d campaigns by catalogue %d", len(changed.market.campaigns), changed.version)
        try:
            pacer.resign()
        except redis.RedisError as e:
            log.info("could not resign, the lock will expire: %s", e)
        log.info("stopped")


def _follow(settings: PacerSettings) -> "FollowingThread":
    from catalogue.following_thread import FollowingThread  # and SQLAlchemy with it

    assert settings.catalogue is not None
    market = load_market(settings.market, listed=False)
    return FollowingThread(settings.catalogue, market, settings.catalogue_snapshot, offers=False)


class Pacer:
    """One candidate for the lead of one market.

    Args:
      client: decodes responses.
      lock_s: how long a leader that no longer takes turns keeps others waiting.
      log_dir: the archive, with the ledger.
    """

    def __init__(
        self,
        client: "redis.Redis",
        market: Market,
        lock_s: float,
        market_digest: bytes = bytes(32),
        log_dir: Path | None = None,
    ) -> None:
        self._redis = client
        self._keys = Keys(market.name)
        self._policy = market.policy
        self._market_digest = market_digest
        self._usual_decay_ms = conversion_delay_ms(market)
        self._know(market)
        self._paced = self._campaign_ids
        """Campaigns that `_pacing` is of."""
        self._name = uuid.uuid4().hex
        self._lock_ms = int(lock_s * 1000)
        self._pacing: Pacing | None = None
        self._opening = Opening(client, market, log_dir)
        self.waits = False
        """Whether the last turn found money that is not right, and could not repair it yet."""
        self._looked_ms = 0
        self._said: set[Disagreement] = set()
        self._written: dict[str, str] = {}
        self._lead, self._resign, self._sweep = (
            client.register_script((LUA / f"{name}.lua").read_text("utf-8")) for name in ("lead", "resign", "sweep_holds")
        )

    def _know(self, market: Market) -> None:
        self._market = market
        self._campaign_ids = tuple(c.id for c in market.campaigns)
        self._catalogue = Catalogue.of(market)
        self._budget_micros, self._ends_ms = self._catalogue.budget_micros, self._catalogue.ends_ms
        self._ends, self._last_day = self._ends_ms < np.iinfo(np.int64).max, last_day(self._catalogue)
        # A shorter day is no date, and has no weekday.
        whole_days = self._policy.day_length_s == DAY_S
        self._hours = {i: hours_of_week(c.day_parts) for i, c in enumerate(market.campaigns) if c.day_parts and whole_days}
        self._event_micros = np.array([c.event_micros for c in market.campaigns], dtype=np.int64)
        self._haste = np.array([HASTE[c.pacing] for c in market.campaigns], dtype=np.float64)
        self._digests = self._market_digest, digest(self._campaign_ids)
        self._conversions = PendingConversions(self._redis, market)

    def follow(self, market: Market) -> None:
        """Paces the campaigns of another catalogue from the next turn on, which opens their budgets and sets their limits."""
        self._know(market)
        self._opening.follow(market)
        self._looked_ms = 0

    @property
    def leads(self) -> bool:
        """Whether the last turn found this one leading."""
        return self._pacing is not None

    def turn(self, now_ms: int | None = None) -> None:
        """Opens budgets, updates, publishes and sweeps, if this one leads or can take the lead.

        Args:
          now_ms: stands in for the time of Redis; in simulated time only.
        Raises:
          redis.RedisError: Redis is away.
        """
        if not self._lead(keys=[self._keys.pacer_lock], args=[self._name, self._lock_ms]):
            self.forget()
            return
        at_ms = self._time_ms() if now_ms is None else now_ms
        days, shape = self._catalogue.days.at(at_ms), self._policy.traffic_shape
        self.waits = not self._opening.ready(dict(zip(self._campaign_ids, days.tolist(), strict=True)))
        if self.waits:
            self._pacing = None
            return
        if at_ms - self._looked_ms >= LOOK_MS or self._looked_ms > at_ms:
            self._conversions.refresh(days, at_ms)
            self._look_at_gateways(at_ms)
            self._looked_ms = at_ms
        reading = BudgetReading.read(self._redis, self._keys, self._market.campaigns, days, at_ms, self._usual_decay_ms)
        gone = [(self._campaign_ids[i], int(days[i])) for i in np.flatnonzero(reading.closed)]
        self._opening.reopen(gone + [(self._campaign_ids[i], LIFETIME) for i in np.flatnonzero(reading.total_closed)])
        passed = self._catalogue.days.traffic_passed(at_ms, days, shape)
        budget_micros = self._budget_of_today(days, reading)
        if self._pacing is None:
            self._pacing = self._take_over(days, passed, reading, budget_micros)
            log.info("leading")
        else:
            if self._paced != self._campaign_ids:
                self._forget_gone()
                now = self._campaign_ids, days, passed, reading.committed_micros, budget_micros
                self._pacing = joined(self._pacing, self._paced, *now)
            until = self._catalogue.days.traffic_passed(self._ends_ms, days, shape)
            read = passed, reading.committed_micros, budget_micros
            self._pacing = update(self._pacing, days, *read, until, event_micros=self._event_micros, haste=self._haste)
        self._paced = self._campaign_ids
        self._publish(self._pacing, days, reading, at_ms)
        self.sweep(now_ms)

    def forget(self) -> None:
        """After a fault: what was spent meanwhile says nothing about the bids, so the next turn starts from what Redis has."""
        self._pacing = None
        self._opening.forget()
        self._looked_ms = 0
        self._written = {}

    def resign(self) -> None:
        """Lets another lead at once."""
        self._pacing = None
        self._resign(keys=[self._keys.pacer_lock], args=[self._name])

    def sweep(self, now_ms: int | None = None) -> int:
        """Gives expired holds back; how many. Bounded: the rest waits for the next turn."""
        swept = 0
        for partition in range(PARTITIONS):
            keys, prefix = [self._keys.holds(partition)], self._keys.budget_prefix(partition)
            for _ in range(SWEEPS_PER_TURN):
                batch = int(self._sweep(keys=keys, args=["" if now_ms is None else now_ms, SWEEP_BATCH, prefix]))
                swept += batch
                if batch < SWEEP_BATCH:
                    break
        return swept

    def _time_ms(self) -> int:
        seconds, micros = self._redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def _look_at_gateways(self, now_ms: int) -> None:
        """Says once what is wrong with which gateway."""
        found = set(disagreements(self._redis, self._keys, self._digests[0], now_ms))
        for one in sorted(found - self._said, key=lambda d: d.gateway):
            log.error("gateway %s %s", one.gateway, one.what)
        self._said = found

    def _budget_of_today(self, days: NDArray[np.int64], reading: BudgetReading) -> NDArray[np.int64]:
        """[C] what is planned for today."""
        # What is left is not known where it has not been opened yet: then the daily budget alone is planned.
        plans = self._ends & (reading.left_micros >= 0) & (reading.left_micros < NO_END)
        left = np.where(plans, reading.left_micros, 0) + reading.spent_micros
        days_left = self._last_day - days + 1
        for i, hours in self._hours.items():
            if plans[i]:
                days_left[i] = days_with(hours, int(days[i]), int(self._last_day[i]))
        return of_today(self._budget_micros, left, days_left, plans)

    def _take_over(
        self, days: NDArray[np.int64], passed: NDArray[np.float64], reading: BudgetReading, budget_micros: NDArray[np.int64]
    ) -> Pacing:
        """Starts where the last leader left off; campaigns it did not know start at 1, and those that are gone are removed."""
        stored: dict[str, str] = self._redis.hgetall(self._keys.pacing)
        if gone := stored.keys() - set(self._campaign_ids):
            self._redis.hdel(self._keys.pacing, *gone)
        multiplier = np.array([_multiplier(stored.get(c)) for c in self._campaign_ids])
        multiplier[(budget_micros == UNLIMITED) | np.isinf(self._haste)] = 1.0
        return Pacing(days, passed, reading.committed_micros, multiplier)

    def _forget_gone(self) -> None:
        if gone := set(self._paced) - set(self._campaign_ids):
            self._redis.hdel(self._keys.pacing, *gone)
            self._written = {c: m for c, m in self._written.items() if c not in gone}

    def _publish(self, pacing: Pacing, days: NDArray[np.int64], reading: BudgetReading, now_ms: int) -> None:
        """The multipliers for the next leader, and everything for the gateways."""
        values = zip(self._campaign_ids, pacing.multiplier.tolist(), strict=True)
        written = {c: f"{m:.6f}" for c, m in values}
        if changed := dict(written.items() - self._written.items()):
            self._redis.hset(self._keys.pacing, mapping=changed)
            self._written = written
        room = reading.room_micros(slack_micros(self._market, self._catalogue, days))
        market, campaigns = self._digests
        ids = "\n".join(self._campaign_ids).encode()
        multiplier = pacing.multiplier.astype(np.float32)
        day = budget_day(now_ms, self._policy.day_length_s)
        self._redis.set(self._keys.snapshot, Snapshot(day, now_ms, market, campaigns, room, multiplier, ids).pack())


def _multiplier(stored: str | None) -> float:
    try:
        # NaN compares false with everything, so that min and max would let it pass; it is no multiplier.
        value = float(stored) if stored is not None else 1.0
        return min(max(value, MIN_MULTIPLIER), 1.0) if value == value else 1.0
    except ValueError:
        return 1.0


if __name__ == "__main__":
    try:
        run(read_settings(PacerSettings))
    except OfferRankError as error:
        sys.exit(f"pacer: {error}")
