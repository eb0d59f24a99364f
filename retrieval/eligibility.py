"""Which campaigns may be shown to this shopper, now; every removal has a reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.campaign import FeatureValue
from domain.candidates import Candidates
from domain.outcome import Reason
from domain.request import NOTHING_BLOCKED, Blocked
from retrieval.catalogue import UNLIMITED, Catalogue

NOBODY = np.empty(0, dtype=np.int64)
ELIGIBLE = np.int16(Reason.WON)
"""Nothing speaks against the campaign: code 0. Of NumPy's kind, as it takes an enum's member for an array at first."""


@dataclass(frozen=True, slots=True)
class Eligible:
    """Candidates split in two, each in their old order; reason [R] `Reason` codes of the removed."""

    kept: Candidates
    removed: Candidates
    reason: NDArray[np.int16]


def campaign_verdicts(
    catalogue: Catalogue,
    features: Mapping[str, FeatureValue],
    shown_today: NDArray[np.int64],
    room_micros: NDArray[np.int64] | None,
    now_ms: int,
    blocked: Blocked = NOTHING_BLOCKED,
) -> NDArray[np.int16]:
    """What stands against each campaign, [C]: `ELIGIBLE`, or the first that applies of

        SCHEDULE        now is outside [starts, ends)
        DAY_PART        now is none of its hours of the week
        BLOCKED         its advertiser is
        CATEGORY_EXCLUSION  one of its categories is blocked
        TARGETING       its rule does not hold of the features
        FREQUENCY_CAP   shown today >= cap
        BUDGET          nothing is left of it; what is left may still be too little for a price, as the hold will tell
        BUDGET_UNKNOWN  budgets cannot be read, and the campaign has one

    Args:
      features: shopper and context features by name; all that are targeted must be there.
      shown_today: [C] impressions of this shopper in this budget day, see `shown_today`.
      room_micros: [C] what is left of the budget day's budget; None where it cannot be read.
    """
    fits = catalogue.targeting.met(features)
    if room_micros is None:
        no_money, why = catalogue.most_micros != UNLIMITED, Reason.BUDGET_UNKNOWN.value
    else:
        no_money, why = room_micros <= 0, Reason.BUDGET.value
    verdict = np.full(len(fits), ELIGIBLE, dtype=np.int16)
    # The last assignment wins, so the first reason comes last.
    verdict[no_money] = why
    verdict[shown_today >= catalogue.frequency_cap] = Reason.FREQUENCY_CAP.value
    verdict[~fits] = Reason.TARGETING.value
    if blocked:
        for category in blocked.categories:
            verdict[catalogue.categories.get(category, NOBODY)] = Reason.CATEGORY_EXCLUSION.value
        for name in blocked.advertisers:
            verdict[catalogue.advertiser_of == catalogue.advertiser_index.get(name, -1)] = Reason.BLOCKED.value
    if catalogue.day_parts is not None:
        verdict[catalogue.day_parts.closed(now_ms)] = Reason.DAY_PART.value
    verdict[(now_ms < catalogue.starts_ms) | (now_ms >= catalogue.ends_ms)] = Reason.SCHEDULE.value
    return verdict


def shown_today(catalogue: Catalogue, counters: Mapping[str, int], days: NDArray[np.int64]) -> NDArray[np.int64]:
    """[C] impressions per campaign on its day in `days`, [C], from a shopper's counters `cap:<campaign>:<day>`; else 0."""
    shown = np.zeros(len(catalogue.campaign_ids), dtype=np.int64)
    for c in np.flatnonzero(catalogue.frequency_cap != UNLIMITED):
        shown[c] = counters.get(f"cap:{catalogue.campaign_ids[c]}:{days[c]}", 0)
    return shown


def split(
    candidates: Candidates, catalogue: Catalogue, verdicts: NDArray[np.int16], blocked_offers: Sequence[str] = ()
) -> Eligible:
    """Candidates of eligible campaigns that are not blocked themselves, and the others with their reason."""
    reason = verdicts[catalogue.campaign[candidates.offer]]
    if blocked_offers:
        out = np.isin(candidates.offer, [catalogue.position_of.get(name, -1) for name in blocked_offers])
        reason[out & (reason == ELIGIBLE)] = Reason.BLOCKED.value
    keep = reason == ELIGIBLE
    return Eligible(candidates.take(keep), candidates.take(~keep), reason[~keep])
