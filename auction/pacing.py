"""Spreads daily budgets over the day's traffic by scaling bids: dual descent on each campaign's budget.

A plan, not a guard: that spend never passes the budget is the business of the hold (serving/lua/hold.lua). docs/pacing.md has
the reasoning, and what the controller does in odd situations.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.campaign import PacingKind

MIN_MULTIPLIER = 0.01
LEAST_GAIN, MOST_GAIN = 3.0, 20.0
"""Spending 1 % of the daily budget more than planned lowers the bid by the cube root of the events that it pays for, in per cent,
between these. More would settle sooner, but swing where spend comes in few pieces: what is best grows as that root."""
MAX_STEP = 0.7
"""One update at most halves or doubles a bid, whatever burst or gap it saw."""
SHORTEST_HORIZON = 0.01
"""Money left over late is spread over at least this share of the day's traffic, so that the last minute brings no burst."""
RESERVED = 0.01
"""Share of the day's traffic that the plan leaves for what was not sold before: pages hold money to their end."""
EVEN, ASAP = 1.0, np.inf
HASTE: dict[PacingKind, float] = {"even": EVEN, "front_loaded": 2.0, "asap": ASAP}
"""How many times as much of what is left is spent as traffic comes."""


@dataclass(frozen=True, slots=True)
class Pacing:
    """What the controller remembers of C campaigns between two updates."""

    day: int | NDArray[np.int64]
    """Budget day of the last reading, [C] or of all."""
    traffic_passed: float | NDArray[np.float64]
    """Share of that day's traffic that had passed, in [0, 1], [C] or of all."""
    committed_micros: NDArray[np.int64]
    """[C] spend of that day so far, and what is expected of clicks that wait for their conversion."""
    multiplier: NDArray[np.float64]
    """[C] in [MIN_MULTIPLIER, 1]."""


def joined(
    before: Pacing,
    ids: Sequence[str],
    now: Sequence[str],
    day: int | NDArray[np.int64],
    traffic_passed: float | NDArray[np.float64],
    committed_micros: NDArray[np.int64],
    budget_micros: NDArray[np.int64],
) -> Pacing:
    """The controller's memory of the campaigns there are now: those that stay go on, new ones begin with their whole bid.

    Args:
      ids: [C] of the campaigns in `before`.
      now: [D] of those there are.
      day, traffic_passed: of the reading now, [D] or of all.
      committed_micros: [D] as read now: what a new campaign may have spent before it came back is not held against it.
      budget_micros: [D]; a budget without a limit paces nothing.
    """
    at = {c: i for i, c in enumerate(ids)}
    stayed = np.array([(i, at[c]) for i, c in enumerate(now) if c in at], dtype=np.int64).reshape(-1, 2)
    mine, theirs = stayed.T
    multiplier, committed = np.ones(len(now)), committed_micros.copy()
    days, passed = np.full(len(now), day), np.full(len(now), traffic_passed)
    multiplier[mine] = before.multiplier[theirs]
    committed[mine] = before.committed_micros[theirs]
    days[mine] = np.broadcast_to(before.day, len(ids))[theirs]
    passed[mine] = np.broadcast_to(before.traffic_passed, len(ids))[theirs]
    multiplier[budget_micros == np.iinfo(np.int64).max] = 1.0
    return Pacing(days, passed, committed, multiplier)


def update(
    before: Pacing,
    day: int | NDArray[np.int64],
    traffic_passed: float | NDArray[np.float64],
    committed_micros: NDArray[np.int64],
    budget_micros: NDArray[np.int64],
    traffic_until: float | NDArray[np.float64] = 1.0,
    *,
    event_micros: NDArray[np.int64],
    came: float | NDArray[np.float64] | None = None,
    haste: float | NDArray[np.float64] = EVEN,
) -> Pacing:
    """One step towards spending what is left over the traffic that is left.

        rho        = (budget - committed before) * haste * (traffic since) / (traffic since + traffic expected from now on)
        gain       = cbrt(budget / event), within [LEAST_GAIN, MOST_GAIN]
        multiplier <- multiplier * exp(-gain * (committed since - rho) / budget), within [MIN_MULTIPLIER, 1]

    Being ahead of or behind the plan changes rho, and so works itself off over the rest of the day. As the multiplier is
    projected onto its range at every step, a campaign nobody wants winds nothing up. Campaigns keep their multiplier over
    midnight; where the budget is gone, rho and spend are 0 and it rests.

    Only the budget and the traffic left divide anything, never what was expected of a moment: an overspend of x budgets lowers
    a bid by exp(-MOST_GAIN x) at most, however little was planned so far, at midnight as at noon.

    Args:
      before: from the last update.
      day: budget day of this reading, [C] or of all.
      traffic_passed: share of that day's traffic that was expected to have passed, from `domain.days`, [C] or of all.
      committed_micros: [C] spend of that day so far, and what is expected of clicks that wait for their conversion: each once,
        as it leaves this sum's second part when it enters the first.
      budget_micros: [C] daily budgets; one too large to matter leaves the multiplier at 1, one of 0 has nothing to pace.
      traffic_until: share of the day's traffic that has passed when a campaign ends, [C] or for all; 1 for those that run on.
      event_micros: [C] most that one billed event costs.
      came: traffic since the last update, as a share of a day's; None: as much as was expected. With it spend follows what
        comes: a lull spends little and a burst much, at the same bid.
      haste: EVEN spends as traffic comes; 2 twice as fast at first, so that after a share x of the traffic 1 - (1 - x)^2 is
        spent; ASAP bids in full.
    Source: Balseiro, Lu and Mirrokni (2020), Dual Mirror Descent for Online Allocation Problems, with the target rate
      re-planned from what is left.
    """
    # A new day starts from nothing spent; whatever the old one still owed is not paced.
    same_day = np.equal(day, before.day)
    committed_before = np.where(same_day, before.committed_micros, 0)
    passed_before = np.where(same_day, before.traffic_passed, 0.0)
    expected = np.maximum(traffic_passed - passed_before, 0.0)  # a clock that was set back plans nothing until it has caught up
    traffic = expected if came is None else np.minimum(came, 1.0)
    horizon = np.maximum(traffic + traffic_until - RESERVED - traffic_passed, SHORTEST_HORIZON)
    hasty = np.isinf(haste)
    left = np.maximum(budget_micros - committed_before, 0)
    rho = left * np.minimum(np.where(hasty, 1.0, haste) * traffic / horizon, 1.0)
    gain = np.clip(np.cbrt(budget_micros / np.maximum(event_micros, 1)), LEAST_GAIN, MOST_GAIN)
    step = -gain * ((committed_micros - committed_before) - rho) / np.maximum(budget_micros, 1)
    multiplier = before.multiplier * np.exp(np.clip(step, -MAX_STEP, MAX_STEP))
    return Pacing(day, traffic_passed, committed_micros, np.where(hasty, 1.0, np.clip(multiplier, MIN_MULTIPLIER, 1.0)))


def of_today(
    daily_micros: NDArray[np.int64], lifetime_micros: NDArray[np.int64], days_left: NDArray[np.int64], plans: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """[C] budgets of the day: the daily one, or where a lifetime budget is to last until an end its equal share, if less.

    What one day leaves or takes is spread over all days after it.

    Args:
      daily_micros: [C], one too large to matter where there is none.
      lifetime_micros: [C] what was left of the lifetime budget when the day began; at least 0 counts.
      days_left: [C] with today; at least 1 counts.
      plans: [C] whether it has a lifetime budget and an end.
    """
    share = -(-np.maximum(lifetime_micros, 0) // np.maximum(days_left, 1))
    return np.where(plans, np.minimum(daily_micros, share), daily_micros)
