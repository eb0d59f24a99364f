"""Floors: the least each slot of a page sells for."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auction.bids import Bids
from domain.money import to_price_micros
from domain.outcome import Slate
from domain.request import Placement


def slot_reserves(placements: Sequence[Placement], reserve_ecpm_micros: int) -> NDArray[np.int64]:
    """The reserve of every slot in page order, [S] eCPM micros: the market's, or the placement's floor where it is higher."""
    floors = [max(p.floor_ecpm_micros, reserve_ecpm_micros) for p in placements]
    return np.repeat(np.asarray(floors, dtype=np.int64), [p.count for p in placements])


def price_at_reserve(slate: Slate, bids: Bids, reserve_ecpm_micros: NDArray[np.int64]) -> NDArray[np.int64]:
    """Least price that passes each slot's floor, [W]: for slots nobody won by eCPM, where there is no next bidder to ask.

    price = ceil(reserve_slot / (1000 quality)), never above the bid
    """
    return price_micros(slate, bids, reserve_ecpm_micros[slate.slot].astype(np.float64))


def price_micros(slate: Slate, bids: Bids, ecpm_to_reach: NDArray[np.float64]) -> NDArray[np.int64]:
    """Least price per billed event at which each winner's eCPM is `ecpm_to_reach` [W]; never above its bid."""
    exact = ecpm_to_reach / (1000.0 * bids.quality[slate.winner])
    cap = bids.bid_micros[slate.winner]
    return np.array([to_price_micros(float(e), int(c)) for e, c in zip(exact, cap, strict=True)], dtype=np.int64)
