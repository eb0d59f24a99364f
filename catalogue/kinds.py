"""What a catalogue holds: advertisers, their campaigns, and the campaigns' offers."""

from typing import Literal, get_args

from domain.campaign import Advertiser, Campaign, Offer

Kind = Literal["advertiser", "campaign", "offer"]
Entry = Advertiser | Campaign | Offer
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Each may belong to one before it."""
RECORDS: dict[Kind, type[Entry]] = {"advertiser": Advertiser, "campaign": Campaign, "offer": Offer}
TABLES: dict[str, Kind] = {"advertisers": "advertiser", "campaigns": "campaign", "offers": "offer"}
"""As files and URLs call them."""
CHILDREN: dict[Kind, Kind] = {"advertiser": "campaign", "campaign": "offer"}
"""What belongs to one, and is left over where it goes alone."""


def kind_of(entry: Entry) -> Kind:
    """Of a record."""
    return next(kind for kind, record in RECORDS.items() if isinstance(entry, record))


def parent_of(entry: Entry) -> str | None:
    """What it belongs to: of a campaign its advertiser, of an offer its campaign."""
    if isinstance(entry, Advertiser):
        return None
    return entry.advertiser if isinstance(entry, Campaign) else entry.campaign
