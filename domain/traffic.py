"""Invalid traffic: what is not a shopper's doing is marked with a reason, never blocked. docs/traffic.md has the rules."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class InvalidTraffic(StrEnum):
    """Why an event or a decision counts for nothing."""

    PREFETCH = "prefetch"  # a browser fetched it ahead; nobody has looked yet
    ROBOT = "robot"  # the user agent is that of a known robot, or of a browser that a program drives
    LIBRARY = "library"  # no user agent, or that of an HTTP library
    DATACENTRE = "datacentre"  # from a network where there are no shoppers
    TOO_FAST = "too_fast"  # a click sooner after its page than anyone reads
    PAGE_RATE = "page_rate"  # a click right after one on another offer of the page
    SHOPPER_RATE = "shopper_rate"  # more than one shopper does
    ADDRESS_RATE = "address_rate"  # more than comes from one address
    OFFER_RATE = "offer_rate"  # most of those who see the offer click


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Rate(_Record):
    """How often something plausibly happens: a full bucket at once, and then as it fills again."""

    at_once: int = Field(ge=1, le=1_000_000)
    """Most in a moment."""
    per_hour: float = Field(gt=0, le=1e9)
    """Most per hour in the long run."""


class TrafficPolicy(_Record):
    """What is plausible of shoppers. What is not is answered like all else, logged as invalid, and never charged."""

    min_click_ms: int = Field(default=100, ge=0, le=60_000)
    """A click sooner after its page's answer is none of a shopper's."""
    page_click_gap_ms: int = Field(default=500, ge=0, le=60_000)
    """The same between clicks on two offers of one page."""
    clicks_per_shopper: Rate = Rate(at_once=10, per_hour=60)
    """Clicks with one shopper key; 10 at once and 60 an hour unless given."""
    clicks_per_address: Rate = Rate(at_once=60, per_hour=600)
    """Clicks from one IPv4 address or IPv6 /64, which many shoppers may share; 60 at once and 600 an hour unless given."""
    impressions_per_shopper: Rate = Rate(at_once=200, per_hour=2000)
    """Impressions with one shopper key; 200 at once and 2,000 an hour unless given."""
    impressions_per_address: Rate = Rate(at_once=2000, per_hour=20_000)
    """Impressions from one address; 2,000 at once and 20,000 an hour unless given."""
    offer_click_share: float = Field(default=0.5, gt=0)
    """Most clicks per reported impression of one offer, over the last minutes; above 1 for any number."""
    offer_min_clicks: int = Field(default=50, ge=1)
    """Clicks on an offer, within these minutes, before its share says anything."""
