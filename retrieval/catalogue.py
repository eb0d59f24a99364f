"""The market's offers and campaigns as arrays: what retrieval, eligibility and the auction look up per candidate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from domain.campaign import Campaign, Status
from domain.days import CampaignDays
from features.market import Market
from features.offer_table import OfferTable
from retrieval.day_parts import DayParts
from retrieval.targeting import Targeting

INT64 = np.iinfo(np.int64)
UNLIMITED = INT64.max
"""Budget or frequency cap of a campaign that has none."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """N offers of C campaigns of A advertisers, in the market's order; advertisers in order of appearance."""

    offer_ids: NDArray[np.object_]
    """[N] text."""
    campaign_ids: tuple[str, ...]
    advertiser_ids: tuple[str, ...]
    position_of: Mapping[str, int]
    """Offer id -> catalogue position."""

    campaign: NDArray[np.int32]
    """[N] index into `campaign_ids`."""
    advertiser: NDArray[np.int32]
    """[N] index into `advertiser_ids`."""
    advertiser_index: Mapping[str, int]
    """Advertiser -> index."""
    advertiser_of: NDArray[np.int32]
    """[C] index into `advertiser_ids`."""
    group: NDArray[np.int32] | None
    """[N] codes, equal ones of whom must not share a page; None where these are the advertisers."""
    tier: NDArray[np.uint8] | None
    """[N] `Tier.code`; None where all are of one."""
    bid_kind: NDArray[np.uint8]
    """[N] `BidKind.code`."""
    bid_micros: NDArray[np.int64]
    """[N], as in the campaign: for cpm, per thousand impressions."""

    budget_micros: NDArray[np.int64]
    """[C] per budget day; `UNLIMITED` without a budget."""
    most_micros: NDArray[np.int64]
    """[C] the most that may be left of all its budgets; `UNLIMITED` without any."""
    frequency_cap: NDArray[np.int64]
    """[C] impressions per shopper and budget day; `UNLIMITED` without a cap."""
    starts_ms: NDArray[np.int64]
    """[C] first instant it may be shown; never, unless it is live."""
    ends_ms: NDArray[np.int64]
    """[C] first instant it may no longer."""
    days: CampaignDays
    """Which budget day it is for each campaign."""
    categories: Mapping[str, NDArray[np.int64]]
    """Category -> campaigns that have it."""
    targeting: Targeting
    day_parts: DayParts | None
    """None where no campaign has any."""

    def __len__(self) -> int:
        return len(self.offer_ids)

    @classmethod
    def of(cls, market: Market) -> "Catalogue":
        """The catalogue of a market."""
        campaigns = market.campaigns
        index_of = {c.id: i for i, c in enumerate(campaigns)}
        advertisers = {name: i for i, name in enumerate(dict.fromkeys(c.advertiser for c in campaigns))}
        offers = OfferTable.of(market.offers)
        # Campaigns that have no offers any more are none of the market's.
        of_campaign = np.array([index_of.get(c, -1) for c in offers.campaign_ids], dtype=np.int32)
        campaign = of_campaign[offers.campaign]
        advertiser = np.array([advertisers[c.advertiser] for c in campaigns], dtype=np.int32)
        bid_kind = np.array([c.bid_kind.code for c in campaigns], dtype=np.uint8)
        bid_micros = np.array([c.bid_micros for c in campaigns], dtype=np.int64)
        return cls(
            offer_ids=offers.ids,
            campaign_ids=tuple(index_of),
            advertiser_ids=tuple(advertisers),
            position_of=offers.position_of,
            campaign=campaign,
            advertiser=advertiser[campaign],
            advertiser_index=advertisers,
            group=None if (group := _groups(campaigns, advertisers)) is None else group[campaign],
            tier=None if len({c.tier for c in campaigns}) < 2 else np.array([c.tier.code for c in campaigns], np.uint8)[campaign],
            advertiser_of=advertiser,
            bid_kind=bid_kind[campaign],
            bid_micros=bid_micros[campaign],
            budget_micros=np.array([c.daily_budget_micros or UNLIMITED for c in campaigns], dtype=np.int64),
            most_micros=np.array(
                [min(c.daily_budget_micros or UNLIMITED, c.lifetime_budget_micros or UNLIMITED) for c in campaigns],
                dtype=np.int64,
            ),
            frequency_cap=np.array([c.frequency_cap or UNLIMITED for c in campaigns], dtype=np.int64),
            starts_ms=np.array([_starts_ms(c) for c in campaigns], dtype=np.int64),
            ends_ms=np.array([_ms(c.ends, INT64.max) for c in campaigns], dtype=np.int64),
            days=CampaignDays.of(campaigns, market.policy.day_length_s),
            categories=_by_category(campaigns),
            targeting=Targeting.of([c.targeting for c in campaigns], market.feature_by_name),
            day_parts=DayParts.of(campaigns),
        )


def _groups(campaigns: Sequence[Campaign], advertisers: Mapping[str, int]) -> NDArray[np.int32] | None:
    """[C] codes of campaigns that must not share a page: of one advertiser, of rivals, and so of rivals of either; None where
    nobody has rivals."""
    joined = list(range(len(advertisers)))

    def first(advertiser: int) -> int:
        while joined[advertiser] != advertiser:
            joined[advertiser] = joined[joined[advertiser]]
            advertiser = joined[advertiser]
        return advertiser

    member: dict[str, int] = {}
    for c in campaigns:
        if c.competes_in is not None:
            joined[first(advertisers[c.advertiser])] = first(member.setdefault(c.competes_in, advertisers[c.advertiser]))
    if not member:
        return None
    return np.array([first(advertisers[c.advertiser]) for c in campaigns], dtype=np.int32)


def _by_category(campaigns: Sequence[Campaign]) -> dict[str, NDArray[np.int64]]:
    found: dict[str, list[int]] = {}
    for i, campaign in enumerate(campaigns):
        for category in set(campaign.categories):
            found.setdefault(category, []).append(i)
    return {category: np.array(rows, dtype=np.int64) for category, rows in found.items()}


def _starts_ms(campaign: Campaign) -> int:
    return _ms(campaign.starts, INT64.min) if campaign.status is Status.LIVE else int(INT64.max)


def _ms(at: datetime | None, otherwise: int) -> int:
    if at is None:
        return int(otherwise)
    # A time without an offset is UTC, as all times are.
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
