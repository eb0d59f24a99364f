"""A gateway at work: its parts, put together, and what runs in the background."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from domain.clock import now_ms
from domain.errors import DependencyError
from domain.events import Decision
from domain.keys import Keys
from features.market import market_digest
from monitoring import metrics
from serving.gateway.access import Access
from serving.gateway.adapters.answers import RedisAnswers
from serving.gateway.adapters.beat import Beat
from serving.gateway.adapters.budgets import RedisBudgets
from serving.gateway.adapters.campaigns import RedisCampaigns
from serving.gateway.adapters.caps import RedisCaps
from serving.gateway.adapters.decision_log import MAX_WAITING, append_decisions
from serving.gateway.adapters.explainer import Explainer
from serving.gateway.adapters.health import Health
from serving.gateway.adapters.ledger import RedisLedger
from serving.gateway.adapters.model_client import ModelClient
from serving.gateway.adapters.money_clock import MoneyClock
from serving.gateway.adapters.outbox import Outbox
from serving.gateway.adapters.redis_link import RedisLink
from serving.gateway.adapters.releases import FolderReleases
from serving.gateway.adapters.shoppers import RedisShoppers
from serving.gateway.adapters.views import FollowedViews
from serving.gateway.adapters.waiting_events import WaitingEvents
from serving.gateway.decide import Decided
from serving.gateway.market_view import MarketView
from serving.gateway.patience import Patience
from serving.gateway.ports import Answers, Ledger, PageEvent, Ports, Views
from serving.gateway.settings import GatewaySettings
from serving.gateway.tokens import Tokens
from serving.gateway.traffic import Screen
from serving.gateway.traffic.client import Pseudonyms
from serving.gateway.traffic.networks import NetworkFile
from serving.tracing import traced
from store.keyring import KeyFile

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from catalogue.follower import Follower

EVENT_TIMEOUT_S = 0.5
RESTART_S = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Service:
    """What the routes call."""

    views: Views
    ports: Ports
    ledger: Ledger
    answers: Answers
    tokens: Tokens
    public_url: str
    log_decision: Callable[[Decision], None]
    """Never waits and never fails."""
    accept_later: Callable[[PageEvent], None]
    """The same, for events that came while Redis was away."""
    dependencies: Callable[[], Awaitable[dict[str, bool]]]
    """Which of them answer."""
    access: Access
    screen: Screen
    patience: Patience = field(default_factory=Patience)
    rng: np.random.Generator = field(default_factory=np.random.default_rng)
    clock: Callable[[], int] = now_ms
    new_id: Callable[[], str] = lambda: secrets.token_hex(12)
    explainer: Explainer | None = None
    """Of past decisions; None where the log is not known."""
    trace: Callable[[Decided], None] | None = None
    """Tells a decision's stages, where traces are asked for."""

    @property
    def view(self) -> MarketView:
        """What is sold now."""
        return self.views.current()


@contextlib.asynccontextmanager
async def open_service(settings: GatewaySettings, view: MarketView, follower: "Follower | None" = None) -> AsyncIterator[Service]:
    """A service on real dependencies, none of which has to be there yet; at the end, waiting records are flushed.

    Args:
      follower: of the catalogue that `view` is of; None where that is the market file.
    """
    with traced(settings.otlp_endpoint, "offerrank-gateway") as tracer:
        async with _open_service(settings, view, follower, tracer) as service:
            yield service


@contextlib.asynccontextmanager
async def _open_service(
    settings: GatewaySettings, view: MarketView, follower: "Follower | None", tracer: "Tracer | None"
) -> AsyncIterator[Service]:
    market, keys = view.market, Keys(view.market.name)
    clock, trace = MoneyClock(), None
    link, model = RedisLink(settings.redis_url, keys.verified), ModelClient(settings.model_server)
    if tracer is not None:
        from serving.gateway.adapters.traced import TracedLink, TracedModelClient, trace_stages

        link, model = TracedLink(tracer, settings.redis_url, keys.verified), TracedModelClient(tracer, settings.model_server)
        trace = trace_stages(tracer)
    shoppers, caps_ms = RedisShoppers(link, keys), 1000 * market.policy.unseen_hold_ttl_s
    health = Health(link, model, keys)
    campaigns = RedisCampaigns(link, keys, market, clock)
    budgets = RedisBudgets(link, keys, market)
    releases = FolderReleases(settings.releases, view, model, link, keys)
    views = FollowedViews(view, follower, releases, (campaigns.follow, budgets.follow))
    ledger = RedisLedger(link, keys, market, shoppers)
    append = append_decisions(link, keys, settings.decision_stream_mb * 2**20)
    decisions: Outbox[Decision] = Outbox("decisions", append, MAX_WAITING)
    events = WaitingEvents(ledger, market, clock.now_ms, settings.journal_dir)

    keys_file = KeyFile(settings.keys, lambda ok: metrics.KEYS_UNREADABLE.set(not ok)) if settings.keys else None
    ring = (lambda: keys_file.ring) if keys_file else None
    access = Access(ring, clock.now_ms, settings.address_per_second or None, settings.operator_port)

    datacentres = NetworkFile(settings.datacentres) if settings.datacentres else None
    screen = Screen(market.policy.traffic, Pseudonyms(settings.secrets[0], market.name), datacentres)

    with contextlib.suppress(DependencyError):
        await campaigns.refresh()
    await health.look()
    events.inherit()
    beat = Beat(link, keys, market_digest(settings.market), campaigns, clock)
    running = [campaigns.watch, views.watch, releases.watch, health.watch, decisions.run, events.run, events.watch, beat.run]
    running += [file.watch for file in (keys_file, datacentres) if file]
    tasks = [asyncio.create_task(_for_ever(run)) for run in running]
    try:
        yield Service(
            views=views,
            ports=Ports(shoppers, campaigns, budgets, RedisCaps(link, keys, caps_ms), releases, model),
            ledger=ledger,
            answers=RedisAnswers(link, keys),
            tokens=Tokens(settings.secrets, market.name),
            public_url=settings.tracking_url,
            log_decision=decisions.put,
            accept_later=events.put,
            dependencies=health.dependencies,
            clock=clock.now_ms,
            access=access,
            screen=screen,
            trace=trace,
            explainer=Explainer(settings) if settings.log_dir else None,
        )
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(decisions.end(), events.end())
        views.close()
        await model.close()
        await link.close()


async def _for_ever(run: Callable[[], Awaitable[None]]) -> None:
    """Background work ends with the process: an error no one foresaw is logged, and the work begins again."""
    while True:
        try:
            await run()
            return
        except Exception:
            log.exception("background work failed and begins again")
            await asyncio.sleep(RESTART_S)
