"""The ports in memory: for tests of the request path, and to see what a port must do."""

# ruff: noqa: ARG002  a double takes all arguments of its port, and needs few

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from domain.errors import DependencyTimeout, Unavailable
from domain.events import EventStatus, EventType
from features.market import Market
from models.calibration import Calibrator
from retrieval.index import OfferIndex
from retrieval.retriever import Retriever
from serving.gateway.market_view import MarketView
from serving.gateway.ports import ActiveRelease, CampaignState, HoldItem, Made, PageEvent, Settlement
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
        ids = [c.id for c in self.market.campaigns]
        committed = np.array([self.committed_micros.get(i, 0) for i in ids], dtype=np.int64)
        return CampaignState(
            None if self.away else committed, np.array([self.pacing_multiplier.get(i, 1.0) for i in ids], dtype=np.float64)
        )


@dataclass(slots=True)
class MemoryBudgets:
    """Holds that never expire."""

    committed_micros: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    """Impression id -> micros."""
    away: bool = False

    async def hold(self, items: Sequence[HoldItem], now_ms: int, mode: Literal["all", "any"], timeout_s: float) -> list[bool]:
        """As hold.lua does."""
        if self.away:
            raise Unavailable("redis", "connection refused")
        taken, fits = dict(self.committed_micros), []
        for i in items:
            fits.append(taken.get(i.campaign_id, 0) + i.micros <= i.daily_budget_micros)
            if fits[-1]:
                taken[i.campaign_id] = taken.get(i.campaign_id, 0) + i.micros
        if all(fits) or mode == "any":
            self.committed_micros = taken
            self.held |= {i.impression_id: i.micros for i, fit in zip(items, fits, strict=True) if fit}
        return fits


@dataclass(slots=True)
class MemoryReleases:
    """One release for ever, or none."""

    release: ActiveRelease

    @classmethod
    def of(
        cls, view: MarketView, version: int | None = None, calibrator: Calibrator | None = None, index: OfferIndex | None = None
    ) -> "MemoryReleases":
        """Before the first release, unless a version is given."""
        retriever = Retriever.of(view.catalogue, index, view.prior_value(), view.market.policy.max_candidates)
        return cls(ActiveRelease(version, calibrator, retriever))

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
    """Accepts every event once and charges what is billed."""

    seen: dict[tuple[str, EventType], int] = field(default_factory=dict)
    accepted: list[PageEvent] = field(default_factory=list)
    away: bool = False

    async def accept(self, events: Sequence[PageEvent], now_ms: int, timeout_s: float) -> list[Settlement]:
        """Without expiry."""
        if self.away:
            raise Unavailable("redis", "connection refused")
        return [self._accept(e) for e in events]

    def _accept(self, event: PageEvent) -> Settlement:
        key = (event.sold.impression_id, event.type)
        if key in self.seen:
            return Settlement(EventStatus.DUPLICATE, 0)
        self.accepted.append(event)
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
