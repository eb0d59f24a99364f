"""The campaigns that compete for a page: what each can be charged at most, and who has to be asked whether it can pay."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from auction.bids import Bids
from auction.reserve import highest_passed, price_micros


@dataclass(frozen=True, slots=True)
class Contenders:
    """The K campaigns of which some bidder passes a reserve, ranked by the eCPM of their best bidders.

    Offers of a campaign are paid from one budget, so a campaign takes part or leaves as a whole, and by eCPM only its best
    bidder can win.
    """

    bids: Bids
    reserve_ecpm_micros: NDArray[np.int64]
    """[S]"""
    number: NDArray[np.int64]
    """[N] each bidder's campaign, in [0, K); -1 for bidders that pass no reserve."""
    best: NDArray[np.int64]
    """[K] bidders."""
    advertiser: list[int]
    """[K] codes."""

    @classmethod
    def of(cls, bids: Bids, campaign: NDArray[np.int32], reserve_ecpm_micros: NDArray[np.int64]) -> Self:
        """The contenders of one page.

        Args:
          campaign: [N] codes; a campaign belongs to one advertiser.
          reserve_ecpm_micros: [S], S > 0.
        """
        ecpm = bids.ecpm_micros
        passing = np.flatnonzero((ecpm >= min(reserve_ecpm_micros.tolist())) & (ecpm > 0.0))
        ranking = passing[np.argsort(-ecpm[passing], kind="stable")]
        number_of: dict[int, int] = {}
        first: list[int] = []
        numbers: list[int] = []
        for place, code in enumerate(campaign[ranking].tolist()):
            if code not in number_of:
                number_of[code] = len(first)
                first.append(place)
            numbers.append(number_of[code])
        number = np.full(len(bids), -1)
        number[ranking] = numbers
        best = ranking[first]
        return cls(bids, reserve_ecpm_micros, number, best, bids.advertiser[best].tolist())

    def __len__(self) -> int:
        return len(self.best)

    def per_bidder(self, values: NDArray[Any], otherwise: object) -> NDArray[Any]:
        """[N] the value of each bidder's campaign; `otherwise` where the bidder passes no reserve. values: [K]."""
        return np.append(values, np.array([otherwise], dtype=values.dtype))[self.number]

    def largest(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """[K] largest among each campaign's bidders that pass a reserve, at least 0. values: [N]."""
        largest = np.zeros(len(self.best), dtype=np.int64)
        passing = np.flatnonzero(self.number >= 0)
        np.maximum.at(largest, self.number[passing], values[passing])
        return largest

    def most_ranked_micros(self, bid_share: float) -> NDArray[np.int64]:
        """[K] most that the best bidder can be charged on a page by eCPM, whoever else leaves.

            price at max(next, highest reserve passed);  next = best eCPM of another advertiser's campaign that ranks lower

        When a campaign gets its slot it is the best that is left: all that rank higher are of its own advertiser, or placed, or
        gone, with all their offers, so none of these can be the next bidder. The campaigns that rank lower are each met at their
        best bidder. Where reserves are equal, nobody leaves and no advertiser has two campaigns, this is the price itself.

        Args:
          bid_share: least share of its bid that a winner pays, as in `sell`.
        """
        ecpm = self.bids.ecpm_micros[self.best]
        to_reach = np.maximum(self._next_ecpm(ecpm.tolist()), highest_passed(ecpm, self.reserve_ecpm_micros))
        return price_micros(self.bids, self.best, to_reach, bid_share)

    def most_drawn_micros(self, bid_share: float) -> NDArray[np.int64]:
        """[N] most that a bidder can be charged on a page drawn at random; 0 where it passes no reserve."""
        most = np.zeros(len(self.number), dtype=np.int64)
        passing = np.flatnonzero(self.number >= 0)
        floor = highest_passed(self.bids.ecpm_micros[passing], self.reserve_ecpm_micros)
        most[passing] = price_micros(self.bids, passing, floor, bid_share)
        return most

    def may_win(self, able: NDArray[np.bool_], certain: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which campaigns may be on the page by eCPM, [K]: all others cannot, whoever of the uncertain turns out unable.

        Down the ranking, until there is an advertiser with a certain campaign for every slot: whatever becomes of the uncertain,
        one of these is always left for the next slot, and ranks higher than all that come later.

        Args:
          able: [K], not known to be unable to pay.
          certain: [K], of the able: surely able.
        """
        found = np.zeros(len(able), dtype=bool)
        certainly: set[int] = set()
        sure = certain.tolist()
        for k, is_able in enumerate(able.tolist()):
            if not is_able or self.advertiser[k] in certainly:
                continue
            found[k] = True
            if sure[k]:
                certainly.add(self.advertiser[k])
                if len(certainly) == len(self.reserve_ecpm_micros):
                    break
        return found

    def _next_ecpm(self, ecpm_micros: list[float]) -> list[float]:
        """[K] best eCPM of another advertiser further down the ranking, 0 where there is none."""
        following = [0.0] * len(ecpm_micros)
        advertiser = self.advertiser
        for k in range(len(ecpm_micros) - 2, -1, -1):
            following[k] = ecpm_micros[k + 1] if advertiser[k + 1] != advertiser[k] else following[k + 1]
        return following
