"""The controller in closed loop with a market that spends in proportion to demand and to a power of the multiplier."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from auction.pacing import MAX_STEP, MIN_MULTIPLIER, Pacing, update
from domain.clock import traffic_passed

BUDGET = 1_000_000_000
HOURS = tuple(1.0 + 0.8 * np.sin(2 * np.pi * (h - 8) / 24) for h in range(24))


@dataclass
class Day:
    """A simulated budget day: [T] traffic passed, spend and multiplier after each update."""

    passed: np.ndarray
    spent: np.ndarray
    multiplier: np.ndarray
    state: Pacing

    @property
    def ahead(self) -> np.ndarray:
        """Spend ahead of plan, as a share of the budget."""
        return self.spent / BUDGET - self.passed

    @property
    def exhausted_at(self) -> float:
        """Share of the day's traffic that had passed when the budget was gone."""
        gone = self.spent >= BUDGET
        return float(self.passed[gone.argmax()]) if gone.any() else 1.0


def simulate(
    state: Pacing,
    *,
    demand: float,
    price_micros: int = 500_000,
    elasticity: float = 1.0,
    shape: Sequence[float] = (1.0,),
    updates: int = 1440,
    delay: int = 0,
    closed: tuple[float, float] = (1.0, 1.0),
    seed: int = 0,
) -> Day:
    """A day in which unpaced bids would spend `demand` budgets, in Poisson events of one price, `delay` updates late.

    The budget is a hard stop, as the hold is. During `closed`, shares of the day, nothing is sold.
    """
    rng = np.random.default_rng(seed)
    day, spent = state.day + 1, 0
    pending = [0] * delay
    rows: list[tuple[float, int, float]] = []
    for t in range(updates):
        # A day of as many seconds as updates; the last millisecond of each still belongs to it.
        before, passed = (traffic_passed(ms, updates, shape) for ms in (t * 1000, t * 1000 + 999))
        events = demand * BUDGET / price_micros * (passed - before) * state.multiplier[0] ** elasticity
        is_open = not closed[0] <= t / updates < closed[1]
        pending.append(int(rng.poisson(events)) if is_open else 0)
        spent = min(spent + pending.pop(0) * price_micros, BUDGET)
        state = update(state, day, passed, np.array([spent]), np.array([BUDGET]))
        rows.append((passed, spent, float(state.multiplier[0])))
    passed_at, spent_at, multiplier = (np.array(column) for column in zip(*rows, strict=True))
    return Day(passed_at, spent_at, multiplier, state)


def fresh(multiplier: float = 1.0) -> Pacing:
    return Pacing(0, 1.0, np.array([0]), np.array([multiplier]))


@pytest.mark.parametrize("shape", [(1.0,), HOURS], ids=["even traffic", "shaped traffic"])
@pytest.mark.parametrize("demand", [2.0, 5.0])
def test_spend_follows_the_plan_under_over_demand(demand: float, shape: Sequence[float]) -> None:
    day = simulate(fresh(), demand=demand, shape=shape)
    assert abs(day.ahead[-1]) < 0.05
    assert day.exhausted_at > 0.95
    assert np.abs(day.ahead).max() < 0.2  # the first hours of a campaign's life, from 1 down to 1 / demand
    again = simulate(day.state, demand=demand, shape=shape, seed=1)
    assert abs(again.ahead[-1]) < 0.05
    assert np.abs(again.ahead).max() < 0.05  # all of the second day, as the multiplier is known by then


def test_sparse_spend_follows_the_plan() -> None:
    # 100 conversions fill the budget, and chance alone moves their number by 10 (one standard deviation).
    days = [simulate(fresh(), demand=2.0, price_micros=BUDGET // 100, seed=seed) for seed in range(10)]
    assert all(abs(d.ahead[-1]) < 0.05 for d in days)
    assert all(d.exhausted_at > 0.9 for d in days)


def test_very_sparse_spend_follows_the_plan_to_within_three_events() -> None:
    days = [simulate(fresh(), demand=2.0, price_micros=BUDGET // 50, seed=seed) for seed in range(10)]
    assert all(abs(d.ahead[-1]) < 3.5 / 50 for d in days)
    assert abs(np.mean([d.ahead[-1] for d in days])) < 2 / 50


def test_spend_that_follows_late_and_steeply_still_lasts_the_day() -> None:
    # A day of 150 updates, where spend comes 5 updates late and goes with the cube of the bid: a compressed market.
    day = simulate(fresh(), demand=6.0, elasticity=3.0, price_micros=BUDGET // 100, updates=150, delay=5)
    again = simulate(day.state, demand=6.0, elasticity=3.0, price_micros=BUDGET // 100, updates=150, delay=5, seed=1)
    assert abs(again.ahead[-1]) <= 0.05
    assert again.exhausted_at > 0.9
    assert np.abs(again.ahead).max() < 0.15


def test_too_little_demand_leaves_bids_unpaced() -> None:
    day = simulate(fresh(0.2), demand=0.5)
    assert day.multiplier[-1] == 1.0
    assert day.spent[-1] == pytest.approx(0.5 * BUDGET, rel=0.15)  # less the hours it took to get there


def test_a_campaign_nobody_wanted_winds_nothing_up() -> None:
    # Idle for 60 % of the day at multiplier 1; then demand at five times the budget's pace. What is left is spread over what
    # is left of the day, with the same transient as a fresh campaign has.
    day = simulate(fresh(), demand=5.0, closed=(0.0, 0.6))
    assert abs(day.ahead[-1]) < 0.05
    assert day.exhausted_at > 0.95


def test_after_an_outage_the_rest_is_spread_over_the_rest_of_the_day() -> None:
    day = simulate(fresh(0.5), demand=2.0, closed=(0.3, 0.5))
    assert abs(day.ahead[-1]) < 0.05
    reopened = day.passed >= 0.5
    quarter = (day.passed >= 0.5) & (day.passed < 0.625)
    # 70 % is left for 50 % of the traffic: evenly, a quarter of that time takes 17.5 %; no burst takes much more.
    assert np.ptp(day.spent[quarter]) / BUDGET < 0.25
    assert day.multiplier[reopened].min() > 0.3


def test_a_burst_lowers_the_bid_by_half_at_most() -> None:
    state = Pacing(1, 0.5, np.array([BUDGET // 2]), np.array([0.8]))
    after = update(state, 1, 0.501, np.array([BUDGET]), np.array([BUDGET]))
    assert after.multiplier[0] == pytest.approx(0.8 * np.exp(-MAX_STEP))


def test_a_gap_between_updates_raises_the_bid_to_twice_at_most() -> None:
    state = Pacing(1, 0.1, np.array([0]), np.array([0.3]))
    after = update(state, 1, 0.9, np.array([0]), np.array([BUDGET]))
    assert after.multiplier[0] == pytest.approx(0.3 * np.exp(MAX_STEP))


def test_the_multiplier_stays_in_its_range() -> None:
    low = Pacing(1, 0.5, np.array([0, 0]), np.array([MIN_MULTIPLIER, 1.0]))
    after = update(low, 1, 0.6, np.array([BUDGET, 0]), np.array([BUDGET, BUDGET]))
    assert after.multiplier.tolist() == [MIN_MULTIPLIER, 1.0]


def test_an_exhausted_campaign_rests_until_midnight() -> None:
    state = Pacing(1, 0.5, np.array([BUDGET]), np.array([0.4]))
    for passed in (0.6, 0.8, 1.0):
        state = update(state, 1, passed, np.array([BUDGET]), np.array([BUDGET]))
    assert state.multiplier.tolist() == [0.4]


def test_a_new_day_starts_from_nothing_spent_with_yesterdays_multiplier() -> None:
    state = Pacing(1, 1.0, np.array([BUDGET]), np.array([0.4]))
    # 1 % of the traffic has passed and 1 % of the budget is spent: exactly the plan.
    after = update(state, 2, 0.01, np.array([BUDGET // 100]), np.array([BUDGET]))
    assert after.multiplier[0] == pytest.approx(0.4)
    assert (after.day, after.traffic_passed, after.spent_micros[0]) == (2, 0.01, BUDGET // 100)


def test_campaigns_are_paced_each_by_itself() -> None:
    state = Pacing(1, 0.0, np.zeros(3, np.int64), np.full(3, 0.4))
    after = update(state, 1, 0.1, np.array([200, 100, 0]), np.array([1000, 1000, 1000]))
    # Planned 10 %: the first spent 20 %, the second 10 %, the third nothing.
    np.testing.assert_allclose(after.multiplier, [0.4 * np.exp(-MAX_STEP), 0.4, 0.4 * np.exp(MAX_STEP)])


def test_bids_that_sell_all_or_nothing_are_paced_around_their_threshold() -> None:
    # Random pages charge the reserve: a bid moves spend only by passing the floor, here above a multiplier of 0.3.
    rng = np.random.default_rng(0)
    state, spent, ahead = fresh(), 0, []
    for t in range(150):
        events = rng.poisson(4.0 * BUDGET / 5_000_000 / 150) if state.multiplier[0] >= 0.3 else 0
        spent = min(spent + events * 5_000_000, BUDGET)
        state = update(state, 1, (t + 1) / 150, np.array([spent]), np.array([BUDGET]))
        ahead.append(spent / BUDGET - (t + 1) / 150)
    assert abs(ahead[-1]) < 0.05
    assert max(ahead) < 0.2
