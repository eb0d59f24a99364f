"""A gateway on ports in memory, called through its real HTTP routes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from domain.events import Decision
from features.market import Market, load_market
from models.calibration import Calibrator, TaskCalibration
from models.examination import ExaminationCurve
from retrieval.index import OfferIndex
from serving.gateway.access import Access
from serving.gateway.adapters.memory import (
    MemoryAnswers,
    MemoryBudgets,
    MemoryCampaigns,
    MemoryCaps,
    MemoryLedger,
    MemoryModel,
    MemoryReleases,
    MemoryShoppers,
    MemoryViews,
)
from serving.gateway.app import create_app
from serving.gateway.market_view import MarketView
from serving.gateway.ports import PageEvent, Ports
from serving.gateway.service import Service
from serving.gateway.tokens import Tokens
from serving.gateway.traffic import Screen
from serving.gateway.traffic.client import Pseudonyms
from store.key_records import Role, record_of
from store.keyring import Keyring

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
NOW_MS = 1_800_000_000_000
KEYS = {
    "publisher-key": (Role.PUBLISHER, ("https://shop.example", "http://localhost:*")),
    "app-key": (Role.PUBLISHER, ()),
    "server-key": (Role.SERVER, ()),
    "viewer-key": (Role.VIEWER, ()),
    "manager-key": (Role.MANAGER, ()),
    "operator-key": (Role.OPERATOR, ()),
}
OF = dict.fromkeys(Role, ()) | {Role.MANAGER: ("alpha",)}
OPERATOR = {"authorization": "Bearer operator-key"}


@dataclass
class Gateway:
    """Ports to arrange, routes to call, logs to look at."""

    view: MarketView
    service: Service
    shoppers: MemoryShoppers
    campaigns: MemoryCampaigns
    budgets: MemoryBudgets
    model: MemoryModel
    ledger: MemoryLedger
    tokens: Tokens
    now_ms: int = NOW_MS
    client_address: str = "127.0.0.1"
    logged: list[Decision] = field(default_factory=list)
    kept: list[PageEvent] = field(default_factory=list)

    def call(self, method: str, path: str, *, key: str | None = "server-key", **request: Any) -> httpx.Response:
        """One request, as HTTP brings it, with a server's key unless told otherwise."""
        with_key = {"authorization": f"Bearer {key}"} if key else {}
        request["headers"] = with_key | (request.get("headers") or {})

        @asynccontextmanager
        async def opened() -> AsyncIterator[Service]:
            yield self.service

        async def send() -> httpx.Response:
            app = create_app(self.view.market, opened)
            transport = httpx.ASGITransport(app, client=(self.client_address, 50_000))
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=transport, base_url="http://gateway") as client,
            ):
                return await client.request(method, path, **request)

        return asyncio.run(send())

    def use(self, **parts: Any) -> None:
        """From now on the service has these parts."""
        self.service = replace(self.service, **parts)

    def access(self, per_second: float | None = None, **limits: Any) -> Access:
        """All keys of KEYS, each held to a rate if one is given."""
        made = datetime(2026, 11, 1, tzinfo=UTC)
        ring = Keyring(
            record_of(text, text.removesuffix("-key"), role, made, origins=origins, per_second=per_second, advertisers=OF[role])
            for text, (role, origins) in KEYS.items()
        )
        return Access(lambda: ring, lambda: self.now_ms, **limits)

    def decide(self, **body: Any) -> dict[str, Any]:
        """The answer to a request for the main placement, unless told otherwise."""
        response = self.call("POST", "/v1/decisions", json={"placements": [{"name": "main"}]} | body, headers=OPERATOR)
        assert response.status_code == 200, response.text
        return dict(response.json())

    def serve_release(
        self,
        version: int = 7,
        index: OfferIndex | None = None,
        calibration: TaskCalibration | None = None,
        examination: ExaminationCurve | None = None,
    ) -> None:
        """From now on a release ranks, with the identity as its calibration unless told otherwise."""
        calibrator = Calibrator(tasks={t: calibration or TaskCalibration() for t in self.view.task_names})
        releases = MemoryReleases.of(self.view, version, calibrator, index, examination)
        self.service = replace(self.service, ports=replace(self.service.ports, releases=releases))


def at_priors(view: MarketView) -> Callable[[str, Any], dict[str, Any]]:
    """A model that predicts the priors of every offer."""
    (any_offer_feature, *_) = view.columns.columns
    priors = view.market.policy.priors
    return lambda _, inputs: {task: np.full(len(inputs[any_offer_feature]), p, np.float32) for task, p in priors.items()}


def build(market: Market, seed: int = 1) -> Gateway:
    """A gateway over a market, before the first release."""
    view = MarketView.of(market)
    shoppers, campaigns, budgets = MemoryShoppers(), MemoryCampaigns(market), MemoryBudgets(market)
    model, ledger, tokens = MemoryModel(at_priors(view)), MemoryLedger(), Tokens(("a secret of tests",), market.name)
    ids = count(1)

    async def dependencies() -> dict[str, bool]:
        return {"redis": not shoppers.away, "model_server": model.error is None}

    logged: list[Decision] = []
    kept: list[PageEvent] = []
    service = Service(
        views=MemoryViews(view),
        ports=Ports(shoppers, campaigns, budgets, MemoryCaps(shoppers), MemoryReleases.of(view), model),
        ledger=ledger,
        answers=MemoryAnswers(),
        tokens=tokens,
        public_url="http://ads.example",
        log_decision=logged.append,
        accept_later=kept.append,
        dependencies=dependencies,
        screen=Screen(market.policy.traffic, Pseudonyms("a secret of tests", market.name)),
        access=Access(None, lambda: gateway.now_ms),
        rng=np.random.default_rng(seed),
        clock=lambda: gateway.now_ms,
        new_id=lambda: f"id-{next(ids)}",
    )
    gateway = Gateway(view, service, shoppers, campaigns, budgets, model, ledger, tokens, logged=logged, kept=kept)
    gateway.use(access=gateway.access())
    return gateway


@pytest.fixture
def market() -> Market:
    return load_market(GOLDEN / "market.toml")


@pytest.fixture
def gateway(market: Market) -> Gateway:
    return build(market)


@pytest.fixture
def build_gateway() -> Callable[..., Gateway]:
    """`build`, for tests that change the market first."""
    return build
