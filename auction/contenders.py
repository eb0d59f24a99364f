"""The campaigns that compete for a page: what each can be charged at most, and who has to be asked whether it can pay."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from auction.bids import Bids
from auction.examination import Examination, left_in_slots
from auction.reserve import highest_passed, price_micros
from domain.may_win import may_be_placed

ROUNDING = 1 + 1e-12
"""What dividing by an examination may be off by: a bound that is more by that is never less than a price."""


@dataclass(frozen=True, slots=True)
class Contenders:
    """The K campaigns of which some bidder passes a reserve, by tier, ranked by the eCPM of their best bidders in the first slot.

    Offers of a campaign are paid from one budget, so a campaign takes part or leaves as a whole, and by eCPM only its best
    bidder can win: all are paid for the same event, and best in every slot is who is best in the first.
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
    group: list[int]
    """[K] codes; equal ones never share a page."""
    tier: NDArray[np.uint8] | None = None
    """[K]; None where all are of one."""
    examination: Examination = None
    """[S]"""
    left_in_slots: NDArray[np.float64] | None = None
    """[S, N] what the examination leaves of each bidder's eCPM in each slot."""

    @classmethod
    def of(
        cls,
        bids: Bids,
        campaign: NDArray[np.int32],
        reserve_ecpm_micros: NDArray[np.int64],
        examination: Examination = None,
    ) -> Self:
        """The contenders of one page.

        Args:
          campaign: [N] codes; a campaign belongs to one advertiser, and pays for one kind of event.
          reserve_ecpm_micros: [S], S > 0.
          examination: [S], see `auction.examination`.
        """
        ecpm = bids.ecpm_micros
        left = None if examination is None else left_in_slots(bids.by_view, examination)
        if left is None:
            passes = ecpm >= min(reserve_ecpm_micros.tolist())
        else:
            passes = (left * ecpm >= reserve_ecpm_micros[:, None]).any(axis=0)
        passing = np.flatnonzero(passes & (ecpm > 0.0))
        if bids.tier is None:
            ranking = passing[np.argsort(-ecpm[passing], kind="stable")]
        else:
            ranking = passing[np.lexsort((-ecpm[passing], bids.tier[passing]))]
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
        advertiser = bids.advertiser[best].tolist()
        group = advertiser if bids.group is None else bids.group[best].tolist()
        tier = None if bids.tier is None else bids.tier[best]
        return cls(bids, reserve_ecpm_micros, number, best, advertiser, group, tier, examination, left)

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
                                                         in the same tier

        When a campaign gets its slot it is the best that is left of its tier: all that rank higher are of its own advertiser, or
        placed, or kept off the page by somebody placed, or gone, with all their offers, so none of these can be the next bidder.
        The campaigns that rank lower are each met at their best bidder. Where reserves are equal, nobody leaves,
        nobody has rivals and no advertiser has two campaigns, this is the price itself.

        With an examination, that holds of campaigns that pay for the same kind of event; of those that do not, whoever is worth
        less in some slot may be the next there.

        Args:
          bid_share: least share of its bid that a winner pays, as in `sell`.
        """
        ecpm = self.bids.ecpm_micros[self.best]
        if self.examination is None:
            following = _next_ecpm(ecpm.tolist(), self.advertiser, self._tiers())
            to_reach = np.maximum(following, highest_passed(ecpm, self.reserve_ecpm_micros))
        else:
            to_reach = self._most_to_reach(ecpm, self.examination)
        return price_micros(self.bids, self.best, to_reach, bid_share)

    def most_drawn_micros(self, bid_share: float) -> NDArray[np.int64]:
        """[N] most that a bidder can be charged on a page drawn at random; 0 where it passes no reserve."""
        most = np.zeros(len(self.number), dtype=np.int64)
        passing = np.flatnonzero(self.number >= 0)
        ecpm = self.bids.ecpm_micros[passing]
        if self.examination is None:
            floor: NDArray[Any] = highest_passed(ecpm, self.reserve_ecpm_micros)
        else:
            by_view = self.bids.by_view[passing]
            floor = _highest_below(ecpm, by_view, self.reserve_ecpm_micros, self.reserve_ecpm_micros / self.examination)
        most[passing] = price_micros(self.bids, passing, floor, bid_share)
        return most

    def may_win(self, able: NDArray[np.bool_], certain: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which campaigns may be on the page by eCPM, [K]: all others cannot, whoever of the uncertain turns out unable.

        Down the ranking, until there is an advertiser with a certain campaign for every slot: whatever becomes of the uncertain,
        one of these is always left for the next slot, and ranks higher than all that come later. With an examination, or several
        tiers, each slot has a ranking of its own. For an advertiser read a group, where bids have some.

        Args:
          able: [K], not known to be unable to pay.
          certain: [K], of the able: surely able.
        """
        if self.left_in_slots is not None or self.tier is not None:
            if self.left_in_slots is None:
                left = np.ones((len(self.reserve_ecpm_micros), len(self.best)))
            else:
                left = self.left_in_slots[:, self.best]
            ecpm = np.where(able, left * self.bids.ecpm_micros[self.best], -1.0)
            rankings = (self._ranking(here, r) for here, r in zip(ecpm, self.reserve_ecpm_micros.tolist(), strict=True))
            return may_be_placed(rankings, self.group, certain)
        found = np.zeros(len(able), dtype=bool)
        certainly: set[int] = set()
        sure = certain.tolist()
        for k, is_able in enumerate(able.tolist()):
            if not is_able or self.group[k] in certainly:
                continue
            found[k] = True
            if sure[k]:
                certainly.add(self.group[k])
                if len(certainly) == len(self.reserve_ecpm_micros):
                    break
        return found

    def _tiers(self) -> list[int] | None:
        return None if self.tier is None else self.tier.tolist()

    def _ranking(self, ecpm_micros: NDArray[np.float64], reserve: int) -> list[int]:
        """Those that pass the reserve of a slot, the first tier first, by their eCPM there, [K]."""
        if self.tier is None:
            by_ecpm: list[int] = np.argsort(-ecpm_micros, kind="stable")[: np.count_nonzero(ecpm_micros >= reserve)].tolist()
            return by_ecpm
        order = np.lexsort((-ecpm_micros, self.tier))
        ranking: list[int] = order[ecpm_micros[order] >= reserve].tolist()
        return ranking

    def _most_to_reach(self, ecpm_micros: NDArray[np.float64], examination: NDArray[np.float64]) -> NDArray[np.float64]:
        """[K] most that the best bidder has to reach, as an eCPM at the first position. ecpm_micros: [K]."""
        by_view, reserves = self.bids.by_view[self.best], self.reserve_ecpm_micros
        advertiser = np.array(self.advertiser, dtype=np.int64)
        alike = np.zeros(len(ecpm_micros))
        for kind in (k for k in (by_view, ~by_view) if k.any()):
            tier = None if self.tier is None else self.tier[kind].tolist()
            alike[kind] = _next_ecpm(ecpm_micros[kind].tolist(), advertiser[kind].tolist(), tier)
        # What the other kind is worth in each slot, by the measure of the own.
        to_views = np.append((examination[:, None] * ecpm_micros[~by_view]).ravel(), reserves)
        to_clicks = np.append((ecpm_micros[by_view] / examination[:, None]).ravel(), reserves / examination)
        return np.maximum(alike * ROUNDING, _highest_below(ecpm_micros, by_view, to_views, to_clicks))


def _next_ecpm(ecpm_micros: list[float], advertiser: list[int], tier: list[int] | None) -> list[float]:
    """[K] best eCPM of another advertiser further down the ranking, of the same tier, 0 where there is none."""
    following = [0.0] * len(ecpm_micros)
    for k in range(len(ecpm_micros) - 2, -1, -1):
        if tier is not None and tier[k + 1] != tier[k]:
            continue
        following[k] = ecpm_micros[k + 1] if advertiser[k + 1] != advertiser[k] else following[k + 1]
    return following


def _highest_below(
    ecpm_micros: NDArray[np.float64], by_view: NDArray[np.bool_], to_views: NDArray[Any], to_clicks: NDArray[Any]
) -> NDArray[np.float64]:
    """[K] the highest that each bidder reaches of what its kind may have to, in eCPM at the first position."""
    reached = np.zeros(len(ecpm_micros))
    for kind, asked in ((by_view, to_views), (~by_view, to_clicks)):
        if kind.any():
            reached[kind] = highest_passed(ecpm_micros[kind] * ROUNDING, np.append(asked, 0.0))
    return reached * ROUNDING
