"""What a campaign would have had to bid for one of its offers to be on the page, by the rule that the page is filled by."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from auction.bids import Bids
from domain.campaign import IMPRESSIONS_PER_CPM
from domain.money import MAX_MICROS, pace_bid_micros


@dataclass(frozen=True, slots=True)
class Offer:
    """One bidder, with all that its campaign's bid is the bid of."""

    bidder: int
    of_campaign: NDArray[np.bool_]
    """[N], the bidder among them."""
    pacing_multiplier: float

    def bidding(self, bids: Bids, bid_micros: int) -> Bids:
        """The bidders, had the campaign bid that; computed as `effective_bids` does."""
        per_event = bid_micros // IMPRESSIONS_PER_CPM if bids.by_view[self.bidder] else bid_micros
        paced = pace_bid_micros(np.array([per_event]), np.array([self.pacing_multiplier]))[0]
        ecpm = np.where(self.of_campaign, 1000.0 * bids.quality * paced, bids.ecpm_micros)
        return replace(bids, bid_micros=np.where(self.of_campaign, paced, bids.bid_micros), ecpm_micros=ecpm)


def bid_to_win(offer: Offer, bids: Bids, guess_micros: int, on_page: Callable[[Bids], bool]) -> int | None:
    """Least bid of the campaign with which the offer is on the page, all others as they are; None where no bid is.

    Who bids more never leaves the page, so it is looked for by halving, from a guess up and down.

    Args:
      bids: of those that are able to pay.
      guess_micros: where to begin; right or wrong.
      on_page: whether the offer is on the page that these bidders make.
    """
    quality = bids.quality[offer.bidder]
    before = np.arange(len(bids)) < offer.bidder
    ahead = offer.of_campaign & ((bids.quality > quality) | (before & (bids.quality == quality)))
    if offer.pacing_multiplier == 0.0 or ahead.any():
        return None  # whatever the campaign bids, another offer of it is worth more

    def wins(bid_micros: int) -> bool:
        return on_page(offer.bidding(bids, bid_micros))

    enough = min(max(guess_micros, 1), MAX_MICROS)
    while not wins(enough):
        if enough == MAX_MICROS:
            return None
        enough = min(2 * enough, MAX_MICROS)
    step = 1
    while enough - step > 0 and wins(enough - step):
        enough, step = enough - step, 2 * step
    too_little = max(enough - step, 0)
    while enough - too_little > 1:
        middle = (enough + too_little) // 2
        enough, too_little = (middle, too_little) if wins(middle) else (enough, middle)
    return enough
