"""Bidders for the auction's tests: by hand, and drawn by hypothesis."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from auction.bids import Bids


def bidders(*rows: tuple[int, float, int]) -> Bids:
    """Bids from rows of (advertiser, quality, bid per billed event)."""
    advertiser, quality, bid = zip(*rows, strict=True) if rows else ((), (), ())
    q, b = np.array(quality, dtype=np.float64), np.array(bid, dtype=np.int64)
    return Bids(np.array(advertiser, dtype=np.int32), q, b, 1000.0 * q * b, np.zeros(len(q), dtype=bool))


def reserves(*ecpm_micros: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.array(ecpm_micros, dtype=np.int64)


def without(bids: Bids, out: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> Bids:
    """The same bidders, of which some bid nothing."""
    return replace(bids, bid_micros=np.where(out, 0, bids.bid_micros), ecpm_micros=np.where(out, 0.0, bids.ecpm_micros))


def bidding_more(bids: Bids, bidder: int, micros: int) -> Bids:
    """The same bidders, of which one bids more."""
    more = bids.bid_micros.copy()
    more[bidder] += micros
    return replace(bids, bid_micros=more, ecpm_micros=1000.0 * bids.quality * more)


_row = st.tuples(st.integers(0, 5), st.floats(1e-6, 1.0), st.integers(0, 10**9))
any_bidders = st.lists(_row, max_size=15).map(lambda rows: bidders(*rows))
any_reserves = st.lists(st.integers(0, 10**9), min_size=1, max_size=6).map(lambda floors: reserves(*floors))
any_share = st.sampled_from([0.0, 0.1, 0.5, 1.0])
