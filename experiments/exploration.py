"""Epsilon-greedy exploration over whole pages, with exact propensities in closed form."""

import numpy as np
from numpy.typing import NDArray

from domain.outcome import Slate


def explore(
    greedy: Slate,
    ecpm_micros: NDArray[np.float64],
    advertiser: NDArray[np.int32],
    reserve_ecpm_micros: NDArray[np.int64],
    epsilon: float,
    rng: np.random.Generator,
    coin: bool | None = None,
) -> Slate:
    """With probability epsilon replaces the page by a random one; either way says how likely each offer was in its slot.

        propensity(o, k) = epsilon P(random page has o in slot k) + (1 - epsilon) 1[greedy has o in slot k]

    It is marginal over the other slots, and conditional on the bidders: on retrieval, eligibility, predictions and pacing.
    A budget hold that fails afterwards does not change it.

    Args:
      greedy: the page the auction would sell.
      ecpm_micros: [N].
      advertiser: [N] codes; equal codes never share a page.
      reserve_ecpm_micros: [S], by slot in page order.
      epsilon: share of random pages, in [0, 1].
      coin: whether to draw at random, where an earlier call for the same page has decided that; None throws it.
    Returns:
      The page to sell. `explored` says that it was drawn, even where it happens to equal the greedy one.
    """
    chance = slot_chances(ecpm_micros, advertiser, reserve_ecpm_micros)
    explored = bool(rng.random() < epsilon) if coin is None else coin
    slot, winner = greedy.slot, greedy.winner
    if explored:
        slot, winner = _draw(ecpm_micros, advertiser, reserve_ecpm_micros, rng)
    greedily = np.full(len(reserve_ecpm_micros), -1)
    greedily[greedy.slot] = greedy.winner
    propensity = epsilon * chance[slot, winner] + (1.0 - epsilon) * (greedily[slot] == winner)
    return Slate(slot, winner, propensity, explored)


def slot_chances(
    ecpm_micros: NDArray[np.float64], advertiser: NDArray[np.int32], reserve_ecpm_micros: NDArray[np.int64]
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
    """
    _, code = np.unique(advertiser, return_inverse=True)
    n_advertisers = int(code.max()) + 1 if len(code) else 0
    chance = np.zeros((len(reserve_ecpm_micros), len(ecpm_micros)))
    unplaced = np.ones(n_advertisers)
    filled = 0
    for k in _drawing_order(reserve_ecpm_micros):
        passes = _passes(ecpm_micros, reserve_ecpm_micros[k])
        offers = np.bincount(code[passes], minlength=n_advertisers)
        rivals = np.count_nonzero(offers) - filled
        if rivals > 0:
            placed_here = np.where(offers > 0, unplaced / rivals, 0.0)
            chance[k, passes] = (placed_here / np.maximum(offers, 1))[code[passes]]
            unplaced -= placed_here
            filled += 1
    return chance


def _draw(
    ecpm_micros: NDArray[np.float64],
    advertiser: NDArray[np.int32],
    reserve_ecpm_micros: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A random page: slots [W] ascending, and who takes them [W]."""
    placed: dict[int, int] = {}
    taken = np.zeros(len(advertiser), dtype=bool)
    for k in _drawing_order(reserve_ecpm_micros):
        left = _passes(ecpm_micros, reserve_ecpm_micros[k]) & ~taken
        if left.any():
            chosen = rng.choice(np.unique(advertiser[left]))
            placed[k] = int(rng.choice(np.flatnonzero(left & (advertiser == chosen))))
            taken |= advertiser == chosen
    slots = sorted(placed)
    return np.array(slots, dtype=np.int64), np.array([placed[k] for k in slots], dtype=np.int64)


def _drawing_order(reserve_ecpm_micros: NDArray[np.int64]) -> list[int]:
    order: list[int] = np.argsort(-reserve_ecpm_micros, kind="stable").tolist()
    return order


def _passes(ecpm_micros: NDArray[np.float64], reserve: np.int64) -> NDArray[np.bool_]:
    # A bid of 0 passes no floor, not even 0: the rule of the auction.
    passes: NDArray[np.bool_] = (ecpm_micros >= reserve) & (ecpm_micros > 0.0)
    return passes
