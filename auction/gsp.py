"""Generalised second price: each winner pays the least that keeps its slot."""

import numpy as np
from numpy.typing import NDArray

from auction.bids import Bids
from auction.examination import Examination, ecpm_in_slots, left_of
from auction.reserve import price_micros
from domain.outcome import Slate


def best_slate(bids: Bids, reserve_ecpm_micros: NDArray[np.int64], examination: Examination = None) -> Slate:
    """Fills the slots in page order, each with the best bidder left that passes the slot's reserve.

    At most one offer per advertiser. A slot whose reserve nobody left passes stays empty; a later slot with a lower
    reserve may still sell. A bid of 0 never wins, not even where the reserve is 0. Ties go to whoever is worth more in the first
    slot, then to the lower index.

    With an examination, best is by the eCPM in that slot: bids paid per impression and clicks change places down the page.

    Args:
      reserve_ecpm_micros: [S], by slot in page order.
      examination: [S], see `auction.examination`.
    """
    if examination is not None:
        return _best_by_slot(bids, reserve_ecpm_micros, examination)
    ecpm, advertiser = bids.ecpm_micros.tolist(), bids.advertiser.tolist()
    ranking = iter(_ranking(bids))
    best = next(ranking, None)
    slot: list[int] = []
    winner: list[int] = []
    placed: set[int] = set()
    for k, reserve in enumerate(reserve_ecpm_micros.tolist()):
        while best is not None and advertiser[best] in placed:
            best = next(ranking, None)
        if best is not None and ecpm[best] >= reserve:
            slot.append(k)
            winner.append(best)
            placed.add(advertiser[best])
    return _greedy(slot, winner)


def price_gsp(
    slate: Slate, bids: Bids, reserve_ecpm_micros: NDArray[np.int64], bid_share: float, examination: Examination = None
) -> NDArray[np.int64]:
    """Prices of a slate from `best_slate`, per billed event.

        price_w = ceil(max(next_w, reserve_w) / (1000 quality_w)), at least bid_share bid_w, never above bid_w

    next_w is the best eCPM among the advertisers placed neither in the slot of w nor before it: the price never depends on
    another offer of the winner's own advertiser. With an examination, both eCPM are those in the slot of w, and of a winner by
    click or sale e_slot quality_w stands for quality_w.

    Args:
      bid_share: least share of its bid that a winner pays, as in `price_micros`.
      examination: [S], as in `best_slate`.
    Returns:
      price_micros [W] int64.
    Source: Edelman, Ostrovsky and Schwarz (2007), Internet Advertising and the Generalized Second-Price Auction.
    """
    if examination is not None:
        to_beat = _to_beat_by_slot(slate, bids, reserve_ecpm_micros, examination)
        return price_micros(bids, slate.winner, to_beat / left_of(bids, slate.slot, slate.winner, examination), bid_share)
    ecpm, advertiser = bids.ecpm_micros.tolist(), bids.advertiser.tolist()
    ranking = iter(_ranking(bids))
    following = next(ranking, None)
    placed: set[int] = set()
    to_reach: list[float] = []
    for slot, winner in zip(slate.slot.tolist(), slate.winner.tolist(), strict=True):
        placed.add(advertiser[winner])
        while following is not None and advertiser[following] in placed:
            following = next(ranking, None)
        to_reach.append(max(float(reserve_ecpm_micros[slot]), 0.0 if following is None else ecpm[following]))
    return price_micros(bids, slate.winner, np.array(to_reach), bid_share)


def _best_by_slot(bids: Bids, reserve_ecpm_micros: NDArray[np.int64], examination: NDArray[np.float64]) -> Slate:
    ranking = np.array(_ranking(bids), dtype=np.int64)
    advertiser = bids.advertiser[ranking]
    ecpm = ecpm_in_slots(bids.ecpm_micros[ranking], bids.by_view[ranking], examination)
    left = np.ones(len(ranking), dtype=bool)
    slot: list[int] = []
    winner: list[int] = []
    for k, reserve in enumerate(reserve_ecpm_micros.tolist()):
        if not left.any():
            break
        best = int(np.where(left, ecpm[k], -1.0).argmax())
        if ecpm[k, best] >= reserve:
            slot.append(k)
            winner.append(int(ranking[best]))
            left &= advertiser != advertiser[best]
    return _greedy(slot, winner)


def _to_beat_by_slot(
    slate: Slate, bids: Bids, reserve_ecpm_micros: NDArray[np.int64], examination: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[W] eCPM in its slot that each winner has to reach."""
    ecpm = ecpm_in_slots(bids.ecpm_micros, bids.by_view, examination)
    left = np.ones(len(bids), dtype=bool)
    to_beat = np.zeros(len(slate.winner))
    for w, (slot, winner) in enumerate(zip(slate.slot.tolist(), slate.winner.tolist(), strict=True)):
        left &= bids.advertiser != bids.advertiser[winner]
        to_beat[w] = max(float(reserve_ecpm_micros[slot]), float(np.where(left, ecpm[slot], 0.0).max()))
    return to_beat


def _greedy(slot: list[int], winner: list[int]) -> Slate:
    return Slate(
        slot=np.asarray(slot, dtype=np.int64),
        winner=np.asarray(winner, dtype=np.int64),
        propensity=np.ones(len(slot)),
        explored=False,
    )


def _ranking(bids: Bids) -> list[int]:
    """Bidders from the highest eCPM to the lowest, ties to the lower index, without those that bid nothing."""
    ranking: list[int] = np.argsort(-bids.ecpm_micros, kind="stable")[: np.count_nonzero(bids.ecpm_micros > 0.0)].tolist()
    return ranking
