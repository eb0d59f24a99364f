"""Epsilon-greedy exploration over whole pages, with exact propensities in closed form."""

from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from domain.luck import Luck
from domain.may_win import may_be_placed
from domain.outcome import Slate


@dataclass(frozen=True, slots=True)
class Lots:
    """The luck of a random page, drawn before it is known who can pay.

    Every slot has its own lots: it goes to the advertiser with the lowest of those that are able, not yet placed and pass its
    reserve with some offer, and to the one with the lowest lot of these offers. Lots are independent of each other and of who is
    able, so given the able that is exactly the page whose probabilities `slot_chances` has.
    """

    advertiser: NDArray[np.float64]
    """[S, N] of each bidder's advertiser, the same for bidders of one advertiser."""
    offer: NDArray[np.float64]
    """[S, N]"""

    @classmethod
    def draw(cls, n_slots: int, advertiser: NDArray[np.int32], rng: np.random.Generator) -> "Lots":
        """Uniform lots. advertiser: [N] codes; equal codes never share a page."""
        names, code = np.unique(advertiser, return_inverse=True)
        return cls(rng.random((n_slots, len(names)))[:, code], rng.random((n_slots, len(advertiser))))

    def page(
        self,
        ecpm_micros: NDArray[np.float64],
        advertiser: NDArray[np.int32],
        reserve_ecpm_micros: NDArray[np.int64],
        left_in_slots: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Slots [W] ascending, and who takes them [W]. ecpm_micros: [N], 0 of bidders that are not able."""
        placed: dict[int, int] = {}
        left = np.ones(len(advertiser), dtype=bool)
        order, passes = _passing(ecpm_micros, reserve_ecpm_micros, left_in_slots)
        for k in order:
            among = np.flatnonzero(passes[k] & left)
            if len(among):
                lot = self.advertiser[k, among]
                tied = among[lot == lot.min()]
                placed[k] = int(tied[self.offer[k, tied].argmin()])
                left &= advertiser != advertiser[placed[k]]
        slots = sorted(placed)
        return np.array(slots, dtype=np.int64), np.array([placed[k] for k in slots], dtype=np.int64)

    def may_win(
        self,
        ecpm_micros: NDArray[np.float64],
        advertiser: NDArray[np.int32],
        reserve_ecpm_micros: NDArray[np.int64],
        certain: NDArray[np.bool_],
        left_in_slots: NDArray[np.float64] | None = None,
    ) -> NDArray[np.bool_]:
        """Which bidders may be on the page, [N]: all others cannot, whoever of the uncertain turns out unable.

        Each slot is looked through by its lots, see `may_be_placed`.

        Args:
          ecpm_micros: [N], 0 of bidders that are known not to be able.
          certain: [N], surely able.
        """
        order, passes = _passing(ecpm_micros, reserve_ecpm_micros, left_in_slots)
        among = ((k, np.flatnonzero(passes[k])) for k in order)
        rankings = (may[np.lexsort((self.offer[k, may], self.advertiser[k, may]))].tolist() for k, may in among)
        return may_be_placed(rankings, advertiser.tolist(), certain)


def explore(
    greedy: Slate,
    ecpm_micros: NDArray[np.float64],
    advertiser: NDArray[np.int32],
    reserve_ecpm_micros: NDArray[np.int64],
    epsilon: float,
    lots: Lots | None,
    left_in_slots: NDArray[np.float64] | None = None,
) -> Slate:
    """The page that the lots say, or the greedy one; either way with how likely each offer was in its slot.

        propensity(o, k) = epsilon P(random page has o in slot k) + (1 - epsilon) 1[greedy has o in slot k]

    It is marginal over the other slots, and conditional on the bidders: on retrieval, eligibility, predictions and pacing, and
    on which campaigns were able to pay.

    Args:
      greedy: the page the auction would sell.
      ecpm_micros: [N], 0 of bidders that are not able.
      advertiser: [N] codes; equal codes never share a page.
      reserve_ecpm_micros: [S], by slot in page order.
      epsilon: share of random pages, in [0, 1].
      lots: from `toss`.
      left_in_slots: [S, N] what is left of each bidder's eCPM in each slot; None where that is all of it.
    Returns:
      The page to sell. `explored` says that it was drawn, even where it happens to equal the greedy one.
    """
    if lots is None and epsilon == 0.0:
        return greedy
    slot, winner = greedy.slot, greedy.winner
    if lots is not None:
        slot, winner = lots.page(ecpm_micros, advertiser, reserve_ecpm_micros, left_in_slots)
    chance = _chance_of(slot, winner, ecpm_micros, advertiser, reserve_ecpm_micros, left_in_slots)
    greedily = np.full(len(reserve_ecpm_micros), -1)
    greedily[greedy.slot] = greedy.winner
    propensity = epsilon * chance + (1.0 - epsilon) * (greedily[slot] == winner)
    return Slate(slot, winner, propensity, lots is not None)


def toss(n_slots: int, advertiser: NDArray[np.int32], epsilon: float, luck: Luck) -> Lots | None:
    """Lots for a random page with probability epsilon; None for the greedy one."""
    return Lots.draw(n_slots, advertiser, luck.rng) if luck.coin < epsilon else None


def _chance_of(
    slot: NDArray[np.int64],
    winner: NDArray[np.int64],
    ecpm_micros: NDArray[np.float64],
    advertiser: NDArray[np.int32],
    reserve_ecpm_micros: NDArray[np.int64],
    left_in_slots: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """`slot_chances` of some slots and bidders, [W]; without the rest of the table where all slots are alike, as most are."""
    order, by_slot = _passing(ecpm_micros, reserve_ecpm_micros, left_in_slots)
    passes = by_slot[order[0]]
    if np.count_nonzero(passes) != np.count_nonzero(by_slot[order[-1]]):
        return _chances(advertiser, order, by_slot)[slot, winner]
    turn = {k: n for n, k in enumerate(order)}
    passing = advertiser[passes].tolist()
    n_advertisers = len(set(passing))
    return np.array(
        [
            1.0 / (n_advertisers * passing.count(a)) if passed and turn[k] < n_advertisers else 0.0
            for k, a, passed in zip(slot.tolist(), advertiser[winner].tolist(), passes[winner].tolist(), strict=True)
        ]
    )


def slot_chances(
    ecpm_micros: NDArray[np.float64],
    advertiser: NDArray[np.int32],
    reserve_ecpm_micros: NDArray[np.int64],
    left_in_slots: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """P(a random page has bidder o in slot k), [S, N].

    A random page fills its slots from the highest reserve to the lowest, ties in page order. Each takes an advertiser
    uniformly among those not yet placed with an offer that passes the slot's reserve, then one such offer of theirs uniformly.
    Down the reserves, whoever was placed passes all later slots too, so the number of rivals left at a step is the same
    whatever was drawn before. Hence, with A_k advertisers passing the reserve of slot k, n_{a,k} passing offers of
    advertiser a, and m_k slots filled before:

        P(a in slot k) = P(a not placed before) / (A_k - m_k)      P(o in slot k) = P(a in slot k) / n_{a,k}

    With equal reserves that is 1 / (A n_a) in each of the first min(S, A) slots, and 0 beyond. Rows sum to 1, or to 0 where
    no page fills the slot.

    Where slots leave more of some bids than of others (`left_in_slots`), what passes a slot need not pass the next in the
    order. It is drawn only if it passes all that come later, so that the above holds.
    """
    return _chances(advertiser, *_passing(ecpm_micros, reserve_ecpm_micros, left_in_slots))


def _chances(advertiser: NDArray[np.int32], order: list[int], by_slot: NDArray[np.bool_]) -> NDArray[np.float64]:
    """`slot_chances`, given the order of drawing and who passes each slot, [S, N]."""
    passing = by_slot.sum(axis=1).tolist()  # who passes one slot passes all later ones, so that as many are the same
    _, code = np.unique(advertiser, return_inverse=True)
    n_advertisers = int(code.max()) + 1 if len(code) else 0
    chance = np.zeros(by_slot.shape)
    unplaced = np.ones(n_advertisers)
    filled = 0
    for _, group in groupby(order, key=passing.__getitem__):
        slots = list(group)
        passes = by_slot[slots[0]]
        offers = np.bincount(code[passes], minlength=n_advertisers)
        rivals = np.count_nonzero(offers) - filled
        here = slots[: max(rivals, 0)]
        if here:
            # Slots that the same pass have the same chances: at each step one rival less is left, each there that much less.
            placed = np.where(offers > 0, unplaced / rivals, 0.0)
            row = np.zeros(len(advertiser))
            row[passes] = (placed / np.maximum(offers, 1))[code[passes]]
            chance[here] = row
            unplaced -= len(here) * placed
            filled += len(here)
    return chance


def _passing(
    ecpm_micros: NDArray[np.float64], reserve_ecpm_micros: NDArray[np.int64], left_in_slots: NDArray[np.float64] | None
) -> tuple[list[int], NDArray[np.bool_]]:
    """The slots in the order of drawing, and whom each may be filled with, [S, N]: who may fill one may fill all later ones.

    The order is the same whoever is able.
    """
    if left_in_slots is None:
        order: list[int] = np.argsort(-reserve_ecpm_micros, kind="stable").tolist()
        return order, _passes(ecpm_micros, reserve_ecpm_micros[:, None])
    order = np.argsort(-reserve_ecpm_micros / left_in_slots.min(axis=1, initial=1.0), kind="stable").tolist()
    passes = _passes(left_in_slots * ecpm_micros, reserve_ecpm_micros[:, None])
    passes[order] = np.logical_and.accumulate(passes[order][::-1])[::-1]
    return order, passes


def _passes(ecpm_micros: NDArray[np.float64], reserve_ecpm_micros: NDArray[np.int64] | int) -> NDArray[np.bool_]:
    # A bid of 0 passes no floor, not even 0: the rule of the auction.
    passes: NDArray[np.bool_] = (ecpm_micros >= reserve_ecpm_micros) & (ecpm_micros > 0.0)
    return passes
