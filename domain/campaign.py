"""Campaigns bid, offers are shown: both as written in market.toml."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from domain.money import MAX_MICROS

Value = str | int | float
Identifier = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


class BidKind(StrEnum):
    """What a bid pays for."""

    CPM = "cpm"  # a thousand impressions
    CPC = "cpc"  # a click
    CPA = "cpa"  # a conversion

    @property
    def billed_on(self) -> str:
        """The event that charges: `impression`, `click` or `conversion`."""
        return {"cpm": "impression", "cpc": "click", "cpa": "conversion"}[self.value]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Campaign(_Record):
    """An advertiser's order: how much to pay for what, until when, for whom."""

    id: str = Identifier
    advertiser: str = Identifier
    bid_kind: BidKind
    bid_micros: int = Field(gt=0, le=MAX_MICROS)
    """Most paid per billed event; for cpm, per thousand impressions."""
    daily_budget_micros: int | None = Field(default=None, gt=0, le=MAX_MICROS)
    """Hard stop per budget day; none means unlimited, such as a house campaign."""
    frequency_cap: int | None = Field(default=None, gt=0)
    """Most impressions per shopper and budget day."""
    targeting: dict[str, tuple[Value, ...]] = {}
    """Shopper or context feature -> accepted values; all must match."""
    starts: datetime | None = None
    ends: datetime | None = None


class Offer(_Record):
    """Something a confirmation page can show."""

    id: str = Identifier
    campaign: str = Identifier
    title: str = Field(min_length=1, max_length=200)
    body: str = Field(default="", max_length=2000)
    landing_url: str = Field(pattern=r"^https?://", max_length=2000)
    features: dict[str, Value] = {}
    """Values of the features whose source is `offer`; absent ones take the feature's default."""
