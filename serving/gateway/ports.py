"""What the request path needs from the outside, as protocols: adapters/ has the real ones, tests have them in memory."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from domain.errors import Unavailable
from domain.events import Decision, EventStatus, EventType
from models.calibration import Calibrator
from models.examination import ExaminationCurve
from retrieval.retriever import Retriever
from serving.gateway.tokens import Sold

if TYPE_CHECKING:
    from serving.gateway.market_view import MarketView


class Shoppers(Protocol):
    """What is remembered of shoppers."""

    async def counters(self, shopper_key: str, timeout_s: float) -> Mapping[str, int]:
        """Accepted events by type, and `cap:<campaign>:<day>`; absent ones are 0. One round trip; raises DependencyError."""
        ...


@dataclass(frozen=True, slots=True)
class CampaignState:
    """All campaigns a moment ago, in the market's order.

    room_micros [C] int64, at least 0, what the budget of the day had left, `UNLIMITED` without a budget; None where it could not
    be read lately. drain_micros [C] int64, by how much it fell between the last two readings. pacing_multiplier [C], in [0, 1].
    """

    room_micros: NDArray[np.int64] | None
    drain_micros: NDArray[np.int64]
    pacing_multiplier: NDArray[np.float64]


class Campaigns(Protocol):
    """Budgets and pacing, kept fresh in the background: asking costs no round trip."""

    def state(self, now_ms: int) -> CampaignState:
        """The latest reading."""
        ...

    def learn(self, campaign_id: str, day: int, room_micros: int) -> None:
        """What a hold found out since: the next state says it."""
        ...


@dataclass(frozen=True, slots=True)
class HoldItem:
    """Money to be reserved for one campaign of one decision, in the budget of its day."""

    campaign_id: str
    decision_id: str
    day: int
    micros: int
    """The most it may be charged, or 0 to only ask for the room. Of a conversion: what it is expected to be charged."""
    event_micros: int = 0
    """The price of one conversion, where `micros` is an expectation; else 0."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What became of one item: whether it is held now, and the room that is left; None where the budget is not open."""

    held: bool
    room_micros: int | None


class Budgets(Protocol):
    """Reserves money."""

    async def hold(self, items: Sequence[HoldItem], timeout_s: float, patience: float = 1.0) -> list[Grant]:
        """Each item for itself, all in one round trip; what is held already is topped up. Raises DependencyError.

        Args:
          patience: in (0, 1]: share of the usual time that the holds wait for the page to report what it showed.
        """
        ...

    def keep(self, items: Sequence[HoldItem]) -> None:
        """Lowers holds to what was really sold, 0 gives one back: in the background, never waits and never fails."""
        ...


@dataclass(frozen=True, slots=True)
class CapItem:
    """A campaign that may be shown to a shopper `cap` times in a budget day."""

    campaign_id: str
    day: int
    cap: int


class Caps(Protocol):
    """Reserves frequency caps, so that they hold for pages that are open at the same time."""

    async def reserve(self, shopper_key: str, decision_id: str, items: Sequence[CapItem], timeout_s: float) -> list[bool]:
        """Whether each campaign may be shown; if so it counts from now on, until it is reported, given back, or forgotten.

        Raises DependencyError.
        """
        ...

    def give_back(self, shopper_key: str, decision_id: str, campaign_ids: Sequence[str]) -> None:
        """What was reserved and not shown after all: in the background, never waits and never fails."""
        ...


@dataclass(frozen=True, slots=True)
class ActiveRelease:
    """What ranks now. Before the first release, version and calibrator are None and the retriever has no embeddings."""

    version: int | None
    calibrator: Calibrator | None
    retriever: Retriever
    examination: ExaminationCurve | None = None
    """None where nothing is known of positions."""


class Views(Protocol):
    """What is sold."""

    def current(self) -> "MarketView":
        """The same until the next change, which the release and the campaigns take part in at the same moment."""
        ...

    def standing(self) -> dict[str, Any]:
        """For /readyz: which version, and whether it is known to be the newest."""
        ...


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
    order_id: str = ""
    """Of a conversion: one order counts once."""
    attested: bool = False
    """A server key speaks for it: a click needs no impression before it."""
    invalid: str = ""
    """Why it is not a shopper's doing, as `domain.traffic.InvalidTraffic` has it; empty for valid traffic."""
    client: str = ""
    """Stands for the address it came from, for a day; empty if that is not known."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of an event."""

    status: EventStatus
    charged_micros: int


class BudgetsClosed(Unavailable):
    """Some events of a batch were not accepted, since their budgets are not open; the others were."""

    def __init__(self, events: list[PageEvent]) -> None:
        first = events[0].sold
        super().__init__("redis", f"the budget of {first.campaign_id} for day {first.day} is not open")
        self.events = events


class Ledger(Protocol):
    """Accepts events: moves the money and logs them, once each."""

    async def accept(self, events: Sequence[PageEvent], now_ms: int, timeout_s: float) -> list[Settlement]:
        """Each event by itself is all or nothing, and safe to repeat; raises BudgetsClosed, DependencyError."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything a decision asks of the outside."""

    shoppers: Shoppers
    campaigns: Campaigns
    budgets: Budgets
    caps: Caps
    releases: Releases
    model: Model
