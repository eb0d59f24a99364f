"""What the request path needs from the outside, as protocols: adapters/ has the real ones, tests have them in memory."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from domain.events import Decision, EventStatus, EventType
from models.calibration import Calibrator
from retrieval.retriever import Retriever
from serving.gateway.tokens import Sold


class Shoppers(Protocol):
    """What is remembered of shoppers."""

    async def counters(self, shopper_key: str, timeout_s: float) -> Mapping[str, int]:
        """Accepted events by type, and `cap:<campaign>:<day>`; absent ones are 0. One round trip; raises DependencyError."""
        ...


@dataclass(frozen=True, slots=True)
class CampaignState:
    """All campaigns a moment ago, in the market's order.

    committed_micros [C] int64, spent + held of this budget day, None where it could not be read lately;
    pacing_multiplier [C], in [0, 1].
    """

    committed_micros: NDArray[np.int64] | None
    pacing_multiplier: NDArray[np.float64]


class Campaigns(Protocol):
    """Budgets and pacing, kept fresh in the background: asking costs no round trip."""

    def state(self, now_ms: int) -> CampaignState:
        """The latest reading."""
        ...


@dataclass(frozen=True, slots=True)
class HoldItem:
    """A winner's price, to be reserved in its campaign's budget of the day."""

    campaign_id: str
    day: int
    impression_id: str
    micros: int
    daily_budget_micros: int


class Budgets(Protocol):
    """Reserves money."""

    async def hold(self, items: Sequence[HoldItem], now_ms: int, mode: Literal["all", "any"], timeout_s: float) -> list[bool]:
        """Whether each item fits its budget. `all`: nothing is held unless everything fits. Raises DependencyError."""
        ...


@dataclass(frozen=True, slots=True)
class ActiveRelease:
    """What ranks now. Before the first release, version and calibrator are None and the retriever has no embeddings."""

    version: int | None
    calibrator: Calibrator | None
    retriever: Retriever


class Releases(Protocol):
    """Which release ranks."""

    def active(self) -> ActiveRelease:
        """The same until the next swap."""
        ...


class Model(Protocol):
    """The model server."""

    async def predict(
        self, signature: str, version: int | None, inputs: Mapping[str, NDArray[Any]], timeout_s: float
    ) -> dict[str, NDArray[Any]]:
        """Runs a signature of exactly that version; raises DependencyError, ContractError."""
        ...


class DecisionLog(Protocol):
    """Where decisions go after they were answered."""

    def put(self, decision: Decision) -> None:
        """Never waits and never fails; what cannot be kept is counted."""
        ...


@dataclass(frozen=True, slots=True)
class Made:
    """A decision that was made, as the answer to send, and how to log it once it is the one that counts."""

    answer: bytes
    log: Callable[[], None]


class Answers(Protocol):
    """Keeps the first answer to every id that a request brings."""

    async def once(self, decision_id: str, request: bytes, decide: Callable[[], Awaitable[Made]]) -> bytes:
        """The first answer to this id, made and logged once; raises HttpError where `request` is not the first one's."""
        ...


@dataclass(frozen=True, slots=True)
class PageEvent:
    """An event a page or a shop reported, checked but not yet accepted."""

    type: EventType
    sold: Sold
    event_id: str
    time_ms: int
    value_micros: int | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of an event."""

    status: EventStatus
    charged_micros: int


class Ledger(Protocol):
    """Accepts events: moves the money and logs them, once each."""

    async def accept(self, events: Sequence[PageEvent], now_ms: int, timeout_s: float) -> list[Settlement]:
        """Each event by itself is all or nothing, and safe to repeat; raises DependencyError."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything a decision asks of the outside."""

    shoppers: Shoppers
    campaigns: Campaigns
    budgets: Budgets
    releases: Releases
    model: Model
