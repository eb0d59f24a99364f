"""Generalised second price: each winner pays the least that keeps its slot."""

import numpy as np
from numpy.typing import NDArray

from auction.bids import Bids
from auction.reserve import price_micros
from domain.outcome import Slate


def best_slate(bids: Bids, reserve_ecpm_micros: NDArray[np.int64]) -> Slate:
    """Fills the slots in page order, each with the best bidder left that passes the slot's reserve.

    At most one offer per advertiser. A slot whose reserve nobody left passes stays empty; a later slot with a lower
    reserve may still sell. A bid of 0 never wins, not even where the reserve is 0. Ties go to the lower index.

    Args:
      reserve_ecpm_micros: [S], by slot in page order.
    """
    left = np.where(bids.ecpm_micros > 0.0, bids.ecpm_micros, -np.inf)
    slot: list[int] = []
    winner: list[int] = []
    for k, reserve in enumerate(reserve_ecpm_micros.tolist()):
        best = int(left.argmax()) if len(left) else -1
        if best < 0 or left[best] < max(reserve, 0.0) or left[best] == -np.inf:
            continue
        slot.append(k)
        winner.append(best)
        left[bids.advertiser == bids.advertiser[best]] = -np.inf
    return Slate(
        slot=np.asarray(slot, dtype=np.int64),
        winner=np.asarray(winner, dtype=np.int64),
        propensity=np.ones(len(slot)),
        explored=False,
    )


def price_gsp(slate: Slate, bids: Bids, reserve_ecpm_micros: NDArray[np.int64]) -> NDArray[np.int64]:
    """Prices of a slate from `best_slate`, per billed event.

        price_w = ceil(max(next_w, reserve_w) / (1000 quality_w)), never above the bid of w

    next_w is the best eCPM among the advertisers placed neither in the slot of w nor before it: the price never depends on
    another offer of the winner's own advertiser.

    Returns:
      price_micros [W] int64.
    Source: Edelman, Ostrovsky and Schwarz (2007), Internet Advertising and the Generalized Second-Price Auction.
    """
    left = bids.ecpm_micros.copy()
    to_reach = reserve_ecpm_micros[slate.slot].astype(np.float64)
    for w, winner in enumerate(slate.winner.tolist()):
        left[bids.advertiser == bids.advertiser[winner]] = 0.0
        to_reach[w] = max(to_reach[w], left.max())
    return price_micros(slate, bids, to_reach)
