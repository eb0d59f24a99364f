"""The ports in memory: for tests of the request path, and to see what a port must do."""

# ruff: noqa: ARG002  a double takes all arguments of its port, and needs few

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.campaign import Campaign
from domain.errors import DependencyTimeout, Unavailable
from domain.events import EventStatus, EventType
from features.market import Market
from models.calibration import Calibrator
from models.examination import ExaminationCurve
from retrieval.catalogue import UNLIMITED
from retrieval.index import OfferIndex
from retrieval.retriever import Retriever
from serving.gateway.market_view import MarketView
from serving.gateway.ports import ActiveRelease, CampaignState, CapItem, Grant, HoldItem, Made, PageEvent, Settlement
from serving.gateway.wire import HttpError


@dataclass(slots=True)
class MemoryShoppers:
    """Counters by shopper."""

    by_key: dict[str, dict[str, int]] = field(default_factory=dict)
    away: bool = False

    async def counters(self, shopper_key: str, timeout_s: float) -> Mapping[str, int]:
        """An unknown shopper has none."""
        if self.away:
            raise DependencyTimeout("redis", f"no answer within {timeout_s} s")
        return self.by_key.get(shopper_key, {})


@dataclass(slots=True)
class MemoryCampaigns:
    """Spent and held, and multipliers, by campaign id."""

    market: Market
    committed_micros: dict[str, int] = field(default_factory=dict)
    pacing_multiplier: dict[str, float] = field(default_factory=dict)
    away: bool = False

    def state(self, now_ms: int) -> CampaignState:
        """The same whatever the time."""
        campaigns = self.market.campaigns
        budgets = [_most(c) for c in campaigns]
        left = [
            UNLIMITED if b is None else max(b - self.committed_micros.get(c.id, 0), 0)
            for c, b in zip(campaigns, budgets, strict=True)
        ]
        multiplier = np.array([self.pacing_multiplier.get(c.id, 1.0) for c in campaigns], dtype=np.float64)
        room = None if self.away else np.array(left, dtype=np.int64)
        return CampaignState(room, np.zeros(len(campaigns), dtype=np.int64), multiplier)

    def learn(self, campaign_id: str, day: int, room_micros: int) -> None:
        """The next state says it."""
        budget = _most(self.market.campaign_by_id[campaign_id])
        if budget is not None:
            self.committed_micros[campaign_id] = budget - room_micros


@dataclass(slots=True)
class MemoryBudgets:
    """Holds that never expire, in budgets of one day."""

    market: Market
    committed_micros: dict[str, int] = field(default_factory=dict)
    held: dict[tuple[str, str], int] = field(default_factory=dict)
    """Campaign and decision -> micros."""
    asked: int = 0
    """How often `hold` was called: round trips."""
    lowered: int = 0
    """How many holds `keep` was told to lower."""
    patience: float = 1.0
    """As last asked with."""
    away: bool = False

    async def hold(self, items: Sequence[HoldItem], timeout_s: float, patience: float = 1.0) -> list[Grant]:
        """As hold.lua does, but for what is expected of clicks."""
        if self.away:
            raise Unavailable("redis", "connection refused")
        self.asked += 1
        self.patience = patience
        grants = []
        for i in items:
            budget = _most(self.market.campaign_by_id[i.campaign_id])
            room = (2**53 if budget is None else budget) - self.committed_micros.get(i.campaign_id, 0)
            more = i.micros - self.held.get((i.campaign_id, i.decision_id), 0)
            fits = more <= room
            if fits and more > 0:
                self._move(i, more)
            grants.append(Grant(fits, max(room - (more if fits and more > 0 else 0), 0)))
        return grants

    def keep(self, items: Sequence[HoldItem]) -> None:
        """As keep.lua does."""
        self.lowered += len(items)
        for i in items:
            held = self.held.get((i.campaign_id, i.decision_id), 0)
            if held > i.micros:
                self._move(i, i.micros - held)

    def _move(self, item: HoldItem, micros: int) -> None:
        key = (item.campaign_id, item.decision_id)
        self.held[key] = self.held.get(key, 0) + micros
        self.committed_micros[item.campaign_id] = self.committed_micros.get(item.campaign_id, 0) + micros
        if not self.held[key]:
            del self.held[key]


@dataclass(slots=True)
class MemoryCaps:
    """Reserved caps, beside what the shopper's counters say."""

    shoppers: MemoryShoppers
    shown: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    """Shopper -> campaigns and decisions not reported yet."""
    away: bool = False

    async def reserve(self, shopper_key: str, decision_id: str, items: Sequence[CapItem], timeout_s: float) -> list[bool]:
        """As reserve_caps.lua does."""
        if self.away:
            raise Unavailable("redis", "connection refused")
        counters, shown = self.shoppers.by_key.get(shopper_key, {}), self.shown.setdefault(shopper_key, set())
        reply = []
        for i in items:
            elsewhere = sum(c == i.campaign_id and d != decision_id for c, d in shown)
            reply.append(counters.get(f"cap:{i.campaign_id}:{i.day}", 0) + elsewhere < i.cap)
            if reply[-1]:
                shown.add((i.campaign_id, decision_id))
        return reply

    def give_back(self, shopper_key: str, decision_id: str, campaign_ids: Sequence[str]) -> None:
        """At once."""
        self.shown[shopper_key] -= {(c, decision_id) for c in campaign_ids}


@dataclass(slots=True)
class MemoryViews:
    """A catalogue that stays as it is until a test says otherwise."""

    view: MarketView

    def current(self) -> MarketView:
        """The view."""
        return self.view

    def standing(self) -> dict[str, Any]:
        """As of a market file."""
        return {"version": self.view.version, "followed": None}


@dataclass(slots=True)
class MemoryReleases:
    """One release for ever, or none."""

    release: ActiveRelease

    @classmethod
    def of(
        cls,
        view: MarketView,
        version: int | None = None,
        calibrator: Calibrator | None = None,
        index: OfferIndex | None = None,
        examination: ExaminationCurve | None = None,
    ) -> "MemoryReleases":
        """Before the first release, unless a version is given."""
        retriever = Retriever.of(view.catalogue, index, view.prior_value(), view.market.policy.max_candidates)
        return cls(ActiveRelease(version, calibrator, retriever, examination))

    def active(self) -> ActiveRelease:
        """The release."""
        return self.release


@dataclass(slots=True)
class MemoryModel:
    """Answers Predict with `outputs(signature, inputs)`; `error` is raised instead where it is set."""

    outputs: Callable[[str, Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]
    error: Exception | None = None
    asked: list[tuple[str, int | None, dict[str, NDArray[Any]]]] = field(default_factory=list)

    async def predict(
        self, signature: str, version: int | None, inputs: Mapping[str, NDArray[Any]], timeout_s: float
    ) -> dict[str, NDArray[Any]]:
        """Keeps what was asked."""
        self.asked.append((signature, version, dict(inputs)))
        if self.error is not None:
            raise self.error
        return self.outputs(signature, inputs)


@dataclass(slots=True)
class MemoryLedger:
    """Accepts every event once and charges what is billed; invalid ones beside the others, for nothing."""

    seen: dict[tuple[str, str], int] = field(default_factory=dict)
    accepted: list[PageEvent] = field(default_factory=list)
    away: bool = False

    async def accept(self, events: Sequence[PageEvent], now_ms: int, timeout_s: float) -> list[Settlement]:
        """Without expiry."""
        if self.away:
            raise Unavailable("redis", "connection refused")
        return [self._accept(e) for e in events]

    def _accept(self, event: PageEvent) -> Settlement:
        self.accepted.append(event)
        kind = f"correction:{event.event_id}" if event.type is EventType.CORRECTION else str(event.type)
        key = (event.sold.impression_id, f"x:{kind}" if event.invalid else kind)
        if key in self.seen:
            return Settlement(EventStatus.DUPLICATE, 0)
        if event.invalid:
            self.seen[key] = 0
            return Settlement(EventStatus.INVALID, 0)
        billed = event.type == event.sold.billed_on
        self.seen[key] = event.sold.price_micros if billed else 0
        return Settlement(EventStatus.SETTLED if billed else EventStatus.LOGGED, self.seen[key])


@dataclass(slots=True)
class MemoryAnswers:
    """First answers by id."""

    first: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)

    async def once(self, decision_id: str, request: bytes, decide: Callable[[], Awaitable[Made]]) -> bytes:
        """One request after the other."""
        if decision_id not in self.first:
            made = await decide()
            made.log()
            self.first[decision_id] = request, made.answer
        first, answer = self.first[decision_id]
        if request != first:
            raise HttpError(409, "id", "this id was used for another request", decision_id)
        return answer


def _most(campaign: Campaign) -> int | None:
    """What its budgets come to on the one day there is; None without any."""
    return min((b for b in (campaign.daily_budget_micros, campaign.lifetime_budget_micros) if b is not None), default=None)
