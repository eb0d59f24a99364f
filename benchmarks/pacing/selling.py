"""The product's auction for all pages of a minute at once, among those that can pay: `effective_bids`, then second prices."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auction.bids import Bids, effective_bids
from auction.reserve import price_micros
from benchmarks.pacing.market import RESERVE_ECPM_MICROS, Campaigns, Floats, Ints, Pages
from serving.gateway.means import hold_micros


@dataclass(frozen=True)
class Sold:
    """What became of n pages with K candidates each."""

    page: Ints
    """[W] of those that were sold, their place among the n."""
    campaign: Ints
    """[W]"""
    price_micros: Ints
    """[W] per billed event."""
    pctr: Floats
    """[W]"""
    value_micros: Floats
    """[n, K] what each candidate was expected to pay for the page at most: its whole bid, unpaced."""
    cost_micros: Floats
    """[n, K] what it would have been expected to pay, the others bidding as they did."""


def sell(
    campaigns: Campaigns,
    pages: Pages,
    of: slice,
    multiplier: Floats,
    takes_part: NDArray[np.bool_] | None,
    room_micros: Ints,
) -> Sold:
    """Sells pages in their order.

    A winner whose budget has no room for what has to be held leaves the page, and only that; the next best has it. All that is
    held in a minute stays held to its end.

    Args:
      multiplier: [C + 1] of the bids.
      takes_part: [n, K]; None: all do.
      room_micros: [C + 1] at the begin of the minute.
    """
    candidate, pctr = pages.candidate[of], pages.pctr[of]
    n, k = candidate.shape
    flat, flat_pctr = candidate.ravel(), pctr.ravel()
    kind, pcvr, bid = campaigns.kind[flat], campaigns.pcvr[flat], campaigns.bid_micros[flat]
    paced = multiplier[flat] if takes_part is None else multiplier[flat] * takes_part.ravel()
    bids = effective_bids(flat.astype(np.int32), kind, bid, flat_pctr, pcvr, paced)
    ecpm = bids.ecpm_micros.reshape(n, k).copy()
    row = np.arange(n)

    def auction(rows: Ints) -> tuple[Ints, Ints, Floats]:
        """Winner's column, its price and the eCPM next to it, [rows]; the price is -1 where nobody passes the reserve."""
        of_rows = ecpm[rows]
        best = of_rows.argmax(axis=1)
        at = np.arange(len(rows))
        top = of_rows[at, best]
        of_rows[at, best] = 0.0
        following = np.maximum(of_rows.max(axis=1), RESERVE_ECPM_MICROS)
        price = price_micros(bids, rows * k + best, following, 0.0)
        return best, np.where(top >= RESERVE_ECPM_MICROS, price, -1), following

    best, price, following = auction(row)
    while True:
        refused = np.flatnonzero(_refused(bids, campaigns, candidate, best, price, room_micros))
        if not len(refused):
            break
        ecpm[refused, best[refused]] = 0.0
        best[refused], price[refused], following[refused] = auction(refused)
    sold = np.flatnonzero(price >= 0)
    won = best[sold]
    full = effective_bids(flat.astype(np.int32), kind, bid, flat_pctr, pcvr, np.ones(n * k)).ecpm_micros.reshape(n, k) / 1000
    cost = np.repeat(np.maximum(ecpm[row, best], RESERVE_ECPM_MICROS)[:, None], k, axis=1)
    cost[sold, won] = following[sold]
    return Sold(sold, candidate[sold, won], price[sold], pctr[sold, won], full, cost / 1000)


def _refused(
    bids: Bids, campaigns: Campaigns, candidate: NDArray[np.int64], best: Ints, price: Ints, room_micros: Ints
) -> NDArray[np.bool_]:
    """[n] pages whose winner has no room: for this page alone, or else the first after which its room is used up."""
    n, k = candidate.shape
    who = candidate[np.arange(n), best]
    need = hold_micros(np.maximum(price, 0), campaigns.kind[who], bids.quality[np.arange(n) * k + best])
    alone = (price >= 0) & (need > room_micros[who])
    if alone.any():
        return alone
    total = np.bincount(who, need, minlength=len(room_micros))
    refused = np.zeros(n, dtype=bool)
    for c in np.flatnonzero(total > room_micros):
        at = np.flatnonzero((who == c) & (price >= 0))
        beyond = np.flatnonzero(np.cumsum(need[at]) > room_micros[c])
        if len(beyond):
            refused[at[beyond[0]]] = True
    return refused
