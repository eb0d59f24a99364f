"""Slots that are looked at less often than the first: what a bid is worth there.

                          eCPM in slot k
    paid per impression   ecpm
    by click or sale      e_k ecpm,        e_k = P(click in slot k) / P(click in the first)

An examination is [S], by slot in page order, each above 0; None where all slots are looked at alike. It need not fall.
"""

import numpy as np
from numpy.typing import NDArray

from auction.bids import Bids

Examination = NDArray[np.float64] | None


def left_in_slots(by_view: NDArray[np.bool_], examination: NDArray[np.float64]) -> NDArray[np.float64]:
    """[S, N] what is left of each bidder's eCPM in each slot. by_view: [N]."""
    left: NDArray[np.float64] = np.where(by_view, 1.0, examination[:, None])
    return left


def ecpm_in_slots(
    ecpm_micros: NDArray[np.float64], by_view: NDArray[np.bool_], examination: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[S, N] eCPM of each bidder in each slot. ecpm_micros, by_view: [N]."""
    return left_in_slots(by_view, examination) * ecpm_micros


def left_of(bids: Bids, bidder: NDArray[np.int64], examination: NDArray[np.float64]) -> NDArray[np.float64]:
    """[W] what is left of some bidders' eCPM, each in a slot of its own. examination: [W], of these slots."""
    left: NDArray[np.float64] = np.where(bids.by_view[bidder], 1.0, examination)
    return left
