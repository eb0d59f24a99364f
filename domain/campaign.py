"""Campaigns bid, offers are shown: both as written in market.toml."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticKnownError

from domain.clock import time_zone
from domain.day_parts import hours_of_week
from domain.money import MAX_MICROS
from domain.refusals import HTTPS, OFFER_ID, PRINTABLE, Misfit
from domain.targeting import SCHEMA, Rule, read_rule

Value = str | int | float
FeatureValue = Value | list[Value] | dict[str, float] | None
"""One value; several, alone or with their weights; or None: missing, where the market file calls that a state of its own."""
PacingKind = Literal["even", "front_loaded", "asap"]
IMPRESSIONS_PER_CPM = 1000
"""What a cpm bid pays for."""
IDENTIFIER = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Identifier = Field(pattern=IDENTIFIER)
Name = Field(default="", max_length=200, pattern=PRINTABLE)
MediaUrl = Field(pattern=HTTPS, max_length=2000)
MAX_SIDE = 4096
"""Pixels of a picture's or film's longer side."""


class BidKind(StrEnum):
    """What a bid pays for."""

    CPM = "cpm"  # a thousand impressions
    CPC = "cpc"  # a click
    CPA = "cpa"  # a conversion

    @property
    def billed_on(self) -> str:
        """The event that charges: `impression`, `click` or `conversion`."""
        return {"cpm": "impression", "cpc": "click", "cpa": "conversion"}[self.value]

    @property
    def code(self) -> int:
        """How arrays hold it: 0 cpm, 1 cpc, 2 cpa."""
        return list(BidKind).index(self)


def _no_number(at: object) -> object:
    """Pydantic takes a number for seconds since 1970, in which a year is half an hour."""
    if isinstance(at, int | float) or (isinstance(at, str) and at.strip().replace(".", "", 1).lstrip("+-").isdecimal()):
        raise PydanticKnownError("datetime_type")
    return at


def _utc(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _known_zone(name: str) -> str:
    time_zone(name)
    return name


def _known_hours(parts: tuple[str, ...]) -> tuple[str, ...]:
    hours_of_week(parts)
    return parts


TimeZone = Annotated[str, AfterValidator(_known_zone)]
Category = Annotated[str, Identifier]
"""What an offer is, in words of the market's own; those of IAB's taxonomies will do."""
Instant = Annotated[datetime, BeforeValidator(_no_number), AfterValidator(_utc)]
"""A date with or without time, UTC unless it says otherwise."""


class Tier(StrEnum):
    """Who goes first, the first first; an auction is among those of one tier."""

    SPONSORSHIP = "sponsorship"
    STANDARD = "standard"
    NETWORK = "network"
    HOUSE = "house"

    @property
    def code(self) -> int:
        """How arrays hold it: 0 goes first."""
        return list(Tier).index(self)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Advertiser(_Record):
    """Who pays for campaigns. One that campaigns name without a record of its own has all defaults."""

    id: str = Identifier
    """As campaigns name it; never reuse one."""
    name: str = Name
    """What people call it."""


class Status(StrEnum):
    """What people want of a campaign; whether it runs depends on its dates, too."""

    DRAFT = "draft"  # is being written
    LIVE = "live"  # is shown from `starts` to `ends`
    PAUSED = "paused"  # is shown nowhere until it is live again
    ENDED = "ended"  # is over, as if `ends` had passed


class Campaign(_Record):
    """An advertiser's order: how much to pay for what, until when, for whom."""

    id: str = Identifier
    """Names the campaign in Redis keys, logs and answers; never reuse one."""
    advertiser: str = Identifier
    """At most one offer of an advertiser is shown on a page."""
    name: str = Name
    """What people call it."""
    status: Status = Status.LIVE
    """Shown nowhere unless it is `live`."""
    bid_kind: BidKind
    """What the bid pays for: a thousand impressions, a click, a conversion."""
    bid_micros: int = Field(gt=0, le=MAX_MICROS)
    """Most paid per billed event; for cpm, per thousand impressions."""
    daily_budget_micros: int | None = Field(default=None, gt=0, le=MAX_MICROS)
    """Hard stop per budget day; none means unlimited, such as a house campaign."""
    lifetime_budget_micros: int | None = Field(default=None, gt=0, le=MAX_MICROS)
    """Hard stop over all days, of everything the campaign was ever charged; none means unlimited."""
    pacing: PacingKind = "even"
    """How a day's budget is spread: `even`, as traffic comes; `front_loaded`, 3/4 by half of it; `asap`, by whole bids."""
    frequency_cap: int | None = Field(default=None, gt=0)
    """Most impressions per shopper and budget day."""
    tier: Tier = Tier.STANDARD
    """Higher tiers go first, whatever lower ones bid, and their prices depend on nobody below."""
    competes_in: str | None = Field(default=None, pattern=IDENTIFIER)
    """Rivals, which name the same here, never share a page."""
    categories: tuple[Category, ...] = Field(default=(), max_length=20)
    """What its offers are, such as `alcohol`: requests, placements and the market may block categories."""
    targeting: Annotated[Rule, PlainValidator(read_rule), WithJsonSchema(SCHEMA)] = {}
    """Shopper or context feature -> accepted values, or a condition; all must hold, see [targeting](#targeting)."""
    starts: Instant | None = None
    """First instant it is shown, UTC unless it says otherwise; none means at once."""
    ends: Instant | None = None
    """First instant it is no longer shown; none means never."""
    day_parts: Annotated[tuple[str, ...], Field(max_length=100), AfterValidator(_known_hours)] = ()
    """Days and hours in which it is shown, such as `mon-fri 08-18`, by the clocks of `time_zone`; none means at any time."""
    time_zone: TimeZone = "UTC"
    """Whose days and hours are meant, such as Europe/Berlin."""

    @property
    def event_micros(self) -> int:
        """Most paid per billed event."""
        return self.bid_micros // IMPRESSIONS_PER_CPM if self.bid_kind is BidKind.CPM else self.bid_micros

    @model_validator(mode="after")
    def _can_serve(self) -> Self:
        if self.starts and self.ends and self.ends <= self.starts:
            raise Misfit(f"expected an instant after `starts`, {self.starts.isoformat()}, got {self.ends.isoformat()}", "ends")
        if self.bid_kind is BidKind.CPM and self.bid_micros < IMPRESSIONS_PER_CPM:
            least = f"at least {IMPRESSIONS_PER_CPM} for cpm, which is 1 per impression"
            raise Misfit(f"expected {least}, got {self.bid_micros}", "bid_micros")
        return self


class Image(_Record):
    """A picture somewhere else."""

    url: str = MediaUrl
    """Where a shopper's browser loads it from."""
    alt: str = Field(min_length=1, max_length=200, pattern=PRINTABLE)
    """What it shows, for those who do not see it."""
    width: int = Field(ge=1, le=MAX_SIDE)
    """In pixels: the page keeps the room free."""
    height: int = Field(ge=1, le=MAX_SIDE)
    """In pixels."""


class Video(_Record):
    """A film somewhere else."""

    url: str = MediaUrl
    """Where a shopper's browser loads it from."""
    poster: str | None = Field(default=None, pattern=HTTPS, max_length=2000)
    """A picture to begin with."""
    width: int = Field(ge=1, le=MAX_SIDE)
    """In pixels."""
    height: int = Field(ge=1, le=MAX_SIDE)
    """In pixels."""


class Review(StrEnum):
    """Whether an operator has seen what an offer shows."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


class Offer(_Record):
    """Something a confirmation page can show."""

    id: str = Field(pattern=OFFER_ID)
    """Names the offer in logs and answers: any printable text; never reuse one."""
    campaign: str = Identifier
    """Campaign that pays for it."""
    title: str = Field(min_length=1, max_length=200)
    """Headline on the page."""
    body: str = Field(default="", max_length=2000)
    """Text below it."""
    landing_url: str = Field(pattern=r"^https?://", max_length=2000)
    """Where a click leads."""
    image: Image | None = None
    """A picture beside the text."""
    video: Video | None = None
    """A film instead of the picture."""
    html: str = Field(default="", max_length=20_000)
    """A snippet instead of all that; shown in a sandboxed frame only, where it reaches neither page nor shopper."""
    review: Review = Review.APPROVED
    """Shown nowhere unless it is `approved`."""
    features: dict[str, Value | list[Value] | dict[str, float]] = {}
    """Values of the features whose source is `offer`; absent ones take the feature's default."""
