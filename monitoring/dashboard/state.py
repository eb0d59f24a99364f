"""What the streams do not tell: budgets, multipliers, releases, and whether the other processes are well."""

import http.client
import logging
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field

import redis

from domain.clock import day_fraction, now_ms
from domain.days import CampaignDays
from domain.keys import Keys
from features.market import Market
from monitoring.dashboard.storage_light import ArchiveState, RedisMemory, tell
from monitoring.dashboard.watch_light import WatchState
from monitoring.ledger_state import LedgerState

log = logging.getLogger("offerrank.dashboard")
EVERY_S = 2.0
SHARE = 0.02
"""Of a core that readings may take: with thousands of campaigns they come less often."""


@dataclass(frozen=True, slots=True)
class CampaignState:
    """One campaign's money today, in micros; without a budget there is neither budget nor plan."""

    campaign: str
    advertiser: str
    bid_kind: str
    bid_micros: int
    daily_budget_micros: int | None
    plan_micros: int | None
    spent_micros: int
    held_micros: int
    pacing_multiplier: float


@dataclass(frozen=True, slots=True)
class Health:
    """One process; ok is None where nothing can be said yet."""

    name: str
    ok: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class State:
    """One reading."""

    at_ms: int
    day_fraction: float
    campaigns: list[CampaignState] = field(default_factory=list)
    first_served_ms: dict[str, int] = field(default_factory=dict)
    """Release -> when a gateway first served it."""
    health: list[Health] = field(default_factory=list)
    ledger: LedgerState | None = None


def rest_s(cpu_s: float) -> float:
    """Pause after a reading that took so many seconds of a core."""
    return max(EVERY_S, cpu_s * (1 / SHARE - 1))


class StateReader:
    """A thread that takes a reading every two seconds, or as often as its share of a core allows."""

    def __init__(self, client: "redis.Redis", market: Market, gateway_url: str | None) -> None:
        self._client, self._market, self._gateway_url = client, market, gateway_url
        self._keys = Keys(market.name)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="state", daemon=True)
        self.state: State | None = None

    def start(self) -> None:
        """Starts to read."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            began_s = time.thread_time()
            self.state = self.read(now_ms())
            self._stop.wait(rest_s(time.thread_time() - began_s))

    def read(self, at_ms: int) -> State:
        """One reading; while Redis is away the last figures stay and its health says so."""
        gateway = [self._gateway(self._gateway_url)] if self._gateway_url else []
        fraction = day_fraction(at_ms, self._market.policy.day_length_s)
        try:
            memory = RedisMemory.read(self._client, self._keys)
            archive = ArchiveState.read(self._client, self._keys, at_ms)
            ledger = self._ledger(at_ms)
            watch = WatchState.read(self._client, self._keys, at_ms)
            lights = [Health("Archiver", archive.ok, archive.detail), _light(ledger), _watch(watch)]
            health = [*gateway, Health("Redis", memory.ok, memory.detail), self._pacer(), *lights]
            tell(memory, archive)
            return State(at_ms, fraction, self._campaigns(at_ms), self._releases(), health, ledger)
        except redis.RedisError as e:
            last = self.state or State(at_ms, fraction)
            health = [
                *gateway,
                Health("Redis", False, str(e)),
                Health("Pacer", None, "unknown"),
                Health("Archiver", None, "unknown"),
                Health("Ledger", None, "unknown"),
                Health("Watch", None, "unknown"),
            ]
            return State(last.at_ms, last.day_fraction, last.campaigns, last.first_served_ms, health)

    def _campaigns(self, at_ms: int) -> list[CampaignState]:
        policy, campaigns = self._market.policy, self._market.campaigns
        calendar = CampaignDays.of(campaigns, policy.day_length_s)
        days = calendar.at(at_ms)
        shares = calendar.traffic_passed(at_ms, days, policy.traffic_shape).tolist()
        with self._client.pipeline(transaction=False) as reads:
            reads.hgetall(self._keys.pacing)
            for campaign, day in zip(campaigns, days.tolist(), strict=True):
                reads.hmget(self._keys.budget(campaign.id, day), "spent", "held")
            pacing, *budgets = reads.execute()
        return [
            CampaignState(
                *(c.id, c.advertiser, c.bid_kind.value, c.bid_micros, c.daily_budget_micros),
                None if c.daily_budget_micros is None else round(c.daily_budget_micros * share),
                int(spent or 0),
                int(held or 0),
                float(pacing.get(c.id.encode(), 1.0)),
            )
            for c, share, (spent, held) in zip(campaigns, shares, budgets, strict=True)
        ]

    def _releases(self) -> dict[str, int]:
        return {version.decode(): int(ms) for version, ms in self._client.hgetall(self._keys.releases).items()}

    def _pacer(self) -> Health:
        left_ms = self._client.pttl(self._keys.pacer_lock)
        if left_ms == -2:
            return Health("Pacer", False, "nobody leads, multipliers stay as they are")
        return Health("Pacer", True, f"leads, lock good for {left_ms / 1000:.1f} s")

    def _ledger(self, at_ms: int) -> LedgerState | None:
        said = self._client.hgetall(self._keys.ledger)
        return LedgerState.of({name.decode(): value.decode() for name, value in said.items()}, at_ms)

    def _gateway(self, url: str) -> Health:
        try:
            with urllib.request.urlopen(f"{url.rstrip('/')}/readyz", timeout=1.0) as answer:
                return Health("Gateway", answer.status == 200, "ready")
        except urllib.error.HTTPError as e:
            with e:
                return Health("Gateway", False, f"{e.code}: {e.read(200).decode(errors='replace')}")
        except (OSError, http.client.HTTPException) as e:
            return Health("Gateway", False, f"no answer: {getattr(e, 'reason', e)}")


def _watch(watch: WatchState | None) -> Health:
    return Health("Watch", None, "has not said anything yet") if watch is None else Health("Watch", watch.ok, watch.detail)


def _light(ledger: LedgerState | None) -> Health:
    return Health("Ledger", None, "not compared yet") if ledger is None else Health("Ledger", ledger.ok, ledger.detail)
