"""Generalised second price: each winner pays the least that keeps its slot."""

import numpy as np
from numpy.typing import NDArray

from auction.bids import Bids
from auction.examination import Examination, left_of
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
    left = _Left(bids, examination)
    slot: list[int] = []
    winner: list[int] = []
    for k, reserve in enumerate(reserve_ecpm_micros.tolist()):
        ecpm, best = left.best(k)
        if best is not None and ecpm >= reserve:
            slot.append(k)
            winner.append(best)
            left.place(best)
    return Slate(
        slot=np.asarray(slot, dtype=np.int64),
        winner=np.asarray(winner, dtype=np.int64),
        propensity=np.ones(len(slot)),
        explored=False,
    )


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
    left = _Left(bids, examination)
    to_reach: list[float] = []
    for slot, winner in zip(slate.slot.tolist(), slate.winner.tolist(), strict=True):
        left.place(winner)
        to_reach.append(max(float(reserve_ecpm_micros[slot]), left.best(slot)[0]))
    at_first = np.array(to_reach)
    if examination is not None:
        at_first /= left_of(bids, slate.winner, examination[slate.slot])
    return price_micros(bids, slate.winner, at_first, bid_share)


class _Left:
    """The bidders whose advertisers are not placed yet.

    Those that are paid for the same event rank alike in all slots: the best of a slot is the first of one of two rankings.
    """

    def __init__(self, bids: Bids, examination: Examination) -> None:
        self._ecpm: list[float] = bids.ecpm_micros.tolist()
        self._advertiser: list[int] = bids.advertiser.tolist()
        self._placed: set[int] = set()
        ranking = _ranking(bids)
        if examination is None:
            self._rankings = [(ranking[::-1], None)]
        else:
            by_view: list[bool] = bids.by_view.tolist()
            ranking.reverse()
            self._rankings = [
                ([i for i in ranking if by_view[i]], None),
                ([i for i in ranking if not by_view[i]], examination.tolist()),
            ]

    def place(self, bidder: int) -> None:
        """Nobody of its advertiser is left."""
        self._placed.add(self._advertiser[bidder])

    def best(self, slot: int) -> tuple[float, int | None]:
        """(eCPM in the slot, bidder) of the best one left; (0, None) where there is none."""
        found: tuple[float, float, int] | None = None
        for ranking, examination in self._rankings:
            while ranking and self._advertiser[ranking[-1]] in self._placed:
                ranking.pop()
            if ranking:
                first = ranking[-1]
                ecpm = self._ecpm[first]
                this = (ecpm if examination is None else examination[slot] * ecpm, ecpm, -first)
                if found is None or this > found:
                    found = this
        return (0.0, None) if found is None else (found[0], -found[2])


def _ranking(bids: Bids) -> list[int]:
    """Bidders from the highest eCPM to the lowest, ties to the lower index, without those that bid nothing."""
    ranking: list[int] = np.argsort(-bids.ecpm_micros, kind="stable")[: np.count_nonzero(bids.ecpm_micros > 0.0)].tolist()
    return ranking
