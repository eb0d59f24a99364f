"""Floors: the least each slot of a page sells for, and the least of its bid that a winner pays."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from auction.bids import Bids
from auction.examination import Examination, left_of
from domain.money import to_prices_micros
from domain.outcome import Slate
from domain.request import Placement

Number = TypeVar("Number", np.int64, np.float64)


def slot_reserves(placements: Sequence[Placement], reserve_ecpm_micros: int) -> NDArray[np.int64]:
    """The reserve of every slot in page order, [S] eCPM micros: the market's, or the placement's floor where it is higher."""
    floors = [max(p.floor_ecpm_micros, reserve_ecpm_micros) for p in placements]
    return np.repeat(np.asarray(floors, dtype=np.int64), [p.count for p in placements])


def highest_passed(ecpm_micros: NDArray[np.float64], reserve_ecpm_micros: NDArray[Number]) -> NDArray[Number]:
    """The highest reserve that each of N bidders passes, [N] eCPM micros; all must pass some."""
    ascending = np.sort(reserve_ecpm_micros)
    passed: NDArray[Number] = ascending[np.searchsorted(ascending, ecpm_micros, side="right") - 1]
    return passed


def price_at_reserve(
    slate: Slate, bids: Bids, reserve_ecpm_micros: NDArray[np.int64], bid_share: float, examination: Examination = None
) -> NDArray[np.int64]:
    """Least price that passes each slot's floor, [W]: for slots nobody won by eCPM, where there is no next bidder to ask."""
    floor: NDArray[Any] = reserve_ecpm_micros[slate.slot]
    if examination is not None:
        floor = floor / left_of(bids, slate.winner, examination[slate.slot])
    return price_micros(bids, slate.winner, floor, bid_share)


def price_micros(
    bids: Bids, bidder: NDArray[np.int64], ecpm_to_reach: NDArray[np.float64] | NDArray[np.int64], bid_share: float
) -> NDArray[np.int64]:
    """Least price per billed event at which some bidders' eCPM is `ecpm_to_reach`, and no less than a share of their bids.

        price = max(ceil(ecpm_to_reach / (1000 quality)), ceil(bid_share bid), 1 if bid_share > 0), never above the bid

    Args:
      bidder: [W] indices into the bids.
      ecpm_to_reach: [W], at the first position: in slot k, what is asked there by what is left of the bidder's eCPM there.
      bid_share: in [0, 1]; 0 lets a price be 0.
    Returns:
      [W] int64.
    """
    bid = bids.bid_micros[bidder]
    exact = np.maximum(ecpm_to_reach / (1000.0 * bids.quality[bidder]), bid_share * bid)
    return to_prices_micros(np.maximum(exact, 1.0) if bid_share > 0.0 else exact, bid)
