"""Generalised second price: each winner pays the least that keeps its slot."""

import numpy as np
from numpy.typing import NDArray

from auction.bids import Bids
from auction.examination import Examination, left_of
from auction.reserve import price_micros
from domain.outcome import Slate


def best_slate(bids: Bids, reserve_ecpm_micros: NDArray[np.int64], examination: Examination = None) -> Slate:
    """Fills the slots in page order, each with the best bidder left that passes the slot's reserve.

    At most one offer per group, which is an advertiser's unless bids say otherwise. Best is whoever is of the first tier that has
    somebody who passes, and of these of the highest eCPM. A slot whose reserve nobody left passes stays empty; a later slot with
    a lower reserve may still sell. A bid of 0 never wins, not even where the reserve is 0. Ties go to
    whoever is worth more in the first slot, then to the lower index.

    With an examination, best is by the eCPM in that slot: bids paid per impression and clicks change places down the page.

    Args:
      reserve_ecpm_micros: [S], by slot in page order.
      examination: [S], see `auction.examination`.
    """
    left = _Left(bids, examination)
    slot: list[int] = []
    winner: list[int] = []
    for k, reserve in enumerate(reserve_ecpm_micros.tolist()):
        best = left.best(k, reserve)
        if best is not None:
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

    next_w is the best eCPM, among those of the tier of w, of other advertisers whose group was not placed before: the price never
    depends on another offer of the winner's own advertiser, nor on lower tiers. A rival that the winner keeps off the page is
    among them. With an examination, both eCPM are those in the slot of w, and of a winner by click or sale e_slot quality_w
    stands for quality_w.

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
        to_reach.append(max(float(reserve_ecpm_micros[slot]), left.next_ecpm(slot, winner)))
        left.place(winner)
    at_first = np.array(to_reach)
    if examination is not None:
        at_first /= left_of(bids, slate.winner, examination[slate.slot])
    return price_micros(bids, slate.winner, at_first, bid_share)


class _Left:
    """The bidders whose groups are not placed yet.

    Those of one tier that are paid for the same event rank alike in all slots: the best of a slot is the first of one of two
    rankings of the first tier that passes its reserve.
    """

    def __init__(self, bids: Bids, examination: Examination) -> None:
        self._ecpm: list[float] = bids.ecpm_micros.tolist()
        self._advertiser: list[int] = bids.advertiser.tolist()
        self._apart: list[int] = self._advertiser if bids.group is None else bids.group.tolist()
        self._placed: set[int] = set()
        ranking = _ranking(bids)
        ranking.reverse()
        self._tier: list[int] | None = None if bids.tier is None else bids.tier.tolist()
        tiers = {0: ranking}
        if self._tier is not None:
            of = self._tier
            tiers = {t: [i for i in ranking if of[i] == t] for t in sorted({of[i] for i in ranking})}
        self._tiers = {t: _by_kind(those, bids, examination) for t, those in tiers.items()}

    def place(self, bidder: int) -> None:
        """Nobody of its group is left."""
        self._placed.add(self._apart[bidder])

    def best(self, slot: int, reserve: float) -> int | None:
        """The best one left of the first tier in which somebody passes the reserve; None where nobody does."""
        for rankings in self._tiers.values():
            found: tuple[float, float, int] | None = None
            for ranking, examination in rankings:
                while ranking and self._apart[ranking[-1]] in self._placed:
                    ranking.pop()
                if ranking:
                    first = ranking[-1]
                    ecpm = self._ecpm[first]
                    this = (ecpm if examination is None else examination[slot] * ecpm, ecpm, -first)
                    if found is None or this > found:
                        found = this
            if found is not None and found[0] >= reserve:
                return -found[2]
        return None

    def next_ecpm(self, slot: int, bidder: int) -> float:
        """eCPM in the slot of the best one left of its tier, of other advertisers; 0 where there is none."""
        tier = 0 if self._tier is None else self._tier[bidder]
        found = 0.0
        for ranking, examination in self._tiers[tier]:
            for i in reversed(ranking):
                if self._advertiser[i] != self._advertiser[bidder] and self._apart[i] not in self._placed:
                    found = max(found, self._ecpm[i] if examination is None else examination[slot] * self._ecpm[i])
                    break
        return found


def _by_kind(ranking: list[int], bids: Bids, examination: Examination) -> list[tuple[list[int], list[float] | None]]:
    """Rankings, the best last, each with what its eCPM is multiplied by in each slot; None for nothing."""
    if examination is None:
        return [(ranking, None)]
    by_view: list[bool] = bids.by_view.tolist()
    return [([i for i in ranking if by_view[i]], None), ([i for i in ranking if not by_view[i]], examination.tolist())]


def _ranking(bids: Bids) -> list[int]:
    """Bidders from the highest eCPM to the lowest, ties to the lower index, without those that bid nothing."""
    ranking: list[int] = np.argsort(-bids.ecpm_micros, kind="stable")[: np.count_nonzero(bids.ecpm_micros > 0.0)].tolist()
    return ranking
