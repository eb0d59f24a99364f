"""From a slate to a sale: prices for the winners, a reason for everyone else."""

import numpy as np
from numpy.typing import NDArray

from auction.bids import Bids
from auction.examination import Examination, ecpm_in_slots
from auction.gsp import price_gsp
from auction.reserve import price_at_reserve
from domain.outcome import Reason, Sale, Slate


def sell(
    slate: Slate, bids: Bids, reserve_ecpm_micros: NDArray[np.int64], bid_share: float, examination: Examination = None
) -> Sale:
    """Prices a slate: second prices where it was won by eCPM, the reserve where it was drawn at random.

    A drawn winner did not earn its rank, so its price depends on nobody else's bid.

    Args:
      reserve_ecpm_micros: [S], by slot in page order.
      bid_share: least share of its bid that a winner pays, in [0, 1]; the policy has one for each kind of page.
      examination: [S], see `auction.examination`.
    """
    price = price_at_reserve if slate.explored else price_gsp
    return Sale(
        slot=slate.slot,
        winner=slate.winner,
        price_micros=price(slate, bids, reserve_ecpm_micros, bid_share, examination),
        propensity=slate.propensity,
        reason=_reasons(slate, bids, reserve_ecpm_micros, examination),
        explored=slate.explored,
        examination=np.ones(len(slate.slot)) if examination is None else examination[slate.slot],
    )


def _reasons(slate: Slate, bids: Bids, reserve_ecpm_micros: NDArray[np.int64], examination: Examination) -> NDArray[np.int16]:
    """`Reason` of each bidder, [N]; the first that applies of WON, BELOW_FLOOR (of every slot), ADVERTISER_EXCLUSION, COMPETITOR,
    OUTRANKED, and OUTBID or NOT_EXPLORED.
    """
    reason = np.full(len(bids), (Reason.NOT_EXPLORED if slate.explored else Reason.OUTBID).value, dtype=np.int16)
    if bids.tier is not None and not slate.explored:
        reason[_outranked(slate, bids, bids.tier, reserve_ecpm_micros, examination)] = Reason.OUTRANKED.value
    if bids.group is not None:
        reason[(bids.group[:, None] == bids.group[slate.winner]).any(axis=1)] = Reason.COMPETITOR.value
    # A table of N x W comparisons is a fifth of the cost of np.isin at this size.
    placed = (bids.advertiser[:, None] == bids.advertiser[slate.winner]).any(axis=1)
    reason[placed] = Reason.ADVERTISER_EXCLUSION.value
    if examination is None:
        below = bids.ecpm_micros < min(reserve_ecpm_micros.tolist(), default=0)
    else:
        in_slots = ecpm_in_slots(bids.ecpm_micros, bids.by_view, examination)
        below = (in_slots < reserve_ecpm_micros[:, None]).all(axis=0)
    reason[below | (bids.ecpm_micros <= 0.0)] = Reason.BELOW_FLOOR.value
    reason[slate.winner] = Reason.WON.value
    return reason


def _outranked(
    slate: Slate, bids: Bids, tier: NDArray[np.uint8], reserve_ecpm_micros: NDArray[np.int64], examination: Examination
) -> NDArray[np.bool_]:
    """[N] who had no chance: every slot whose reserve it passes went to a higher tier."""
    ecpm = bids.ecpm_micros[None] if examination is None else ecpm_in_slots(bids.ecpm_micros, bids.by_view, examination)
    taken_by = np.full(len(reserve_ecpm_micros), np.iinfo(np.uint8).max)
    taken_by[slate.slot] = tier[slate.winner]
    outranked: NDArray[np.bool_] = ((taken_by[:, None] < tier) | (ecpm < reserve_ecpm_micros[:, None])).all(axis=0)
    return outranked
