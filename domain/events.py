"""What is written to the event log. Decisions carry all features as used, so training sees what serving saw."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from domain.campaign import FeatureValue


class EventType(StrEnum):
    """What a page reports back."""

    IMPRESSION = "impression"
    CLICK = "click"
    CONVERSION = "conversion"
    DISMISS = "dismiss"  # the shopper left: the holds of offers not clicked are released
    RETURN = "return"  # what a conversion sold was sent back: its charge is given back
    CORRECTION = "correction"  # what a conversion was worth, said anew: no money moves
    CHARGE = "charge"  # ours: money that moved later, for an event that was pending
    ADJUSTMENT = "adjustment"  # ours: a charge taken back, such as of traffic found invalid later


REPORTED = (
    *(EventType.IMPRESSION, EventType.CLICK, EventType.CONVERSION),
    *(EventType.DISMISS, EventType.RETURN, EventType.CORRECTION),
)
"""Event types that come from outside; the others are entries of the books."""
OF_AN_ORDER = (EventType.CONVERSION, EventType.RETURN, EventType.CORRECTION)
"""Event types that may name their order."""


class EventStatus(StrEnum):
    """What became of an event's charge."""

    LOGGED = "logged"  # this event is not billed for this bid kind
    PENDING = "pending"  # billed once the impression or click it needs is reported, or a budget has room for it
    SETTLED = "settled"  # the hold was turned into spend
    LATE_SETTLED = "late_settled"  # the hold had expired, the budget still had room
    LATE_FREE = "late_free"  # the hold had expired and the budget had no room: the advertiser pays nothing
    RELEASED = "released"  # a dismissal gave the hold back
    EXPIRED = "expired"  # it came later than the window after the click: the advertiser pays nothing
    INVALID = "invalid"  # not a shopper's doing: never charged, learned from or counted
    RETURNED = "returned"  # the charge of a conversion, or of an event found invalid later, was given back
    DUPLICATE = "duplicate"  # seen before: nothing changed


@dataclass(frozen=True, slots=True)
class Slot:
    """One shown offer, as priced, with its features as used."""

    position: int
    placement: str
    impression_id: str
    offer_id: str
    campaign_id: str
    advertiser: str
    bid_kind: str
    bid_micros: int
    price_micros: int
    hold_micros: int
    pacing_multiplier: float
    probability: dict[str, float]
    """Task -> calibrated probability, at the first position."""
    ecpm_micros: float
    """In this slot."""
    propensity: float
    features: dict[str, FeatureValue]
    examination: float = 1.0
    """P(click) here over that at the first position, as the auction took it to be; 1 where that is not known."""


@dataclass(frozen=True, slots=True)
class CandidateLog:
    """The candidates of one decision as parallel lists: what they were worth at the first position and why they lost.

    What was removed before ranking is worth NaN, in JSON null. All are listed in a share of the decisions, in the others only
    the winners. Sums over all candidates of all decisions are estimated without bias by those listed times `weight`.
    """

    offer_id: list[str]
    source: list[str]
    probability: dict[str, list[float]]
    ecpm_micros: list[float]
    reason: list[int]
    weight: float = 1.0
    """1 / P(all candidates are listed) where they are; 0 where only the winners are."""
    unlisted: dict[str, int] = field(default_factory=dict)
    """Reason, as `outbid` -> how many candidates lost for it and are not listed."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One answered request: the unit of the decision log."""

    decision_id: str
    time_ms: int
    day: int
    policy_id: str
    release: str
    """Version of the release that ranked, or `cold-start`."""
    asked_by: str
    """Name of the key that asked; empty without one."""
    shopper_key: str
    features: dict[str, FeatureValue]
    """Shopper, context and history features as used."""
    slots: list[Slot]
    candidates: CandidateLog
    explored: bool
    degraded: list[str]
    stage_us: dict[str, int]
    total_us: int
    invalid: str = ""
    """Why it was not a shopper who asked, as `domain.traffic.InvalidTraffic` has it; else empty."""
    catalogue: int = 0
    """Version of the catalogue that was sold from; 0 for what the market file lists."""
    moment: dict[str, Any] = field(default_factory=dict)
    """What else it was made with, for a replay: `serving.gateway.moment`. Empty where a gateway of before made it."""
