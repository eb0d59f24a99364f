"""The controller in closed loop with a market that spends in proportion to demand and to a power of the multiplier."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auction.pacing import ASAP, HASTE, MAX_STEP, MIN_MULTIPLIER, RESERVED, SHORTEST_HORIZON, Pacing, joined, of_today
from auction.pacing import update as update_of
from domain.clock import traffic_passed

BUDGET = 1_000_000_000
GAIN = 10.0
"""Of a budget of a thousand events."""
HOURS = tuple(1.0 + 0.8 * np.sin(2 * np.pi * (h - 8) / 24) for h in range(24))


def update(before, day, passed, committed, budget, until=1.0, **given) -> Pacing:
    """One step of campaigns whose budgets pay for a thousand events."""
    return update_of(before, day, passed, committed, budget, until, event_micros=np.asarray(budget) // 1000, **given)


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
    counts_pending: bool = False,
    until: float = 1.0,
    seed: int = 0,
) -> Day:
    """A day in which unpaced bids would spend `demand` budgets, in Poisson events of one price, `delay` updates late.

    The budget is a hard stop, as the hold is. During `closed`, shares of the day, nothing is sold. With `counts_pending` the
    controller is told of what will be spent once the delay is over, as it is of clicks that wait for their conversion. From
    `until` on, a share of the day, the campaign has ended.
    """
    rng = np.random.default_rng(seed)
    day, spent = state.day + 1, 0
    pending = [0] * delay
    rows: list[tuple[float, int, float]] = []
    for t in range(updates):
        # A day of as many seconds as updates; the last millisecond of each still belongs to it.
        before, passed = (traffic_passed(ms, updates, shape) for ms in (t * 1000, t * 1000 + 999))
        events = demand * BUDGET / price_micros * (passed - before) * state.multiplier[0] ** elasticity
        is_open = not closed[0] <= t / updates < closed[1] and t / updates < until
        room = BUDGET - spent - sum(pending) * price_micros if counts_pending else BUDGET
        pending.append(min(int(rng.poisson(events)), room // price_micros) if is_open else 0)
        spent = min(spent + pending.pop(0) * price_micros, BUDGET)
        committed = spent + sum(pending) * price_micros if counts_pending else spent
        passed_at_end = traffic_passed(round(until * updates) * 1000, updates, shape) if until < 1.0 else 1.0
        state = update(state, day, passed, np.array([committed]), np.array([BUDGET]), passed_at_end)
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
    assert after.multiplier[0] == pytest.approx(0.4, rel=1e-2)
    assert (after.day, after.traffic_passed, after.committed_micros[0]) == (2, 0.01, BUDGET // 100)


def test_campaigns_are_paced_each_by_itself() -> None:
    state = Pacing(1, 0.0, np.zeros(3, np.int64), np.full(3, 0.4))
    after = update(state, 1, 0.1, np.array([200, 100, 0]), np.array([1000, 1000, 1000]))
    # Planned 10 %: the first spent 20 %, the second 10 %, the third nothing.
    np.testing.assert_allclose(after.multiplier, [0.4 * np.exp(-MAX_STEP), 0.4, 0.4 * np.exp(MAX_STEP)], rtol=0.02)


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


# What divides, and how far one update can be driven.


@given(
    spent=st.lists(st.integers(0, BUDGET // 50), min_size=1, max_size=50),
    passed=st.lists(st.floats(0, 0.01), min_size=50, max_size=50),
    multiplier=st.floats(MIN_MULTIPLIER, 1.0),
)
def test_a_few_cents_over_a_plan_of_next_to_nothing_lower_a_bid_by_next_to_nothing(spent, passed, multiplier) -> None:
    # The first minutes after midnight: what is planned is near 0, and whatever was spent is many times that. It is the share of
    # the budget that counts, not the ratio: spending x of it in any steps, at any pace, costs exp(-GAIN x) at most.
    state, total = Pacing(0, 1.0, np.array([BUDGET]), np.array([multiplier])), 0
    for at, more in zip(sorted(passed), spent, strict=False):
        total += more
        state = update(state, 1, at, np.array([total]), np.array([BUDGET]))
        assert state.multiplier[0] >= max(multiplier * np.exp(-GAIN * total / BUDGET), MIN_MULTIPLIER) * (1 - 1e-9)


@given(multiplier=st.floats(MIN_MULTIPLIER, 1.0), passed=st.floats(0, 0.9), updates=st.integers(8, 500))
def test_from_any_multiplier_a_bid_that_buys_nothing_is_back_within_half_of_the_traffic_that_is_left(
    multiplier: float, passed: float, updates: int
) -> None:
    # ln(1 / MIN_MULTIPLIER) / GAIN = 0.46 of what is left, in as many updates as that takes; never fewer than 7, as each at
    # most doubles the bid: ln(100) / 0.7 = 6.6.
    state = Pacing(1, passed, np.array([0]), np.array([multiplier]))
    needed = max(int(np.ceil(0.5 * updates)), 7)
    for k in range(1, min(needed, updates) + 1):
        state = update(state, 1, passed + (1 - passed) * k / updates, np.array([0]), np.array([BUDGET]))
    assert state.multiplier[0] == pytest.approx(1.0)


@given(
    before_day=st.integers(0, 3),
    day=st.integers(0, 3),
    passed=st.floats(0, 1),
    now_passed=st.floats(0, 1),
    spent=st.lists(st.integers(0, 2**53), min_size=2, max_size=2),
    budget=st.integers(0, 2**53),
    until=st.floats(0, 1),
    multiplier=st.floats(MIN_MULTIPLIER, 1.0),
)
def test_no_reading_moves_a_bid_by_more_than_one_step_or_out_of_its_range(
    before_day: int, day: int, passed: float, now_passed: float, spent: list[int], budget: int, until: float, multiplier: float
) -> None:
    # Any jump of the clock, either way and over midnight; money gone from Redis; a budget of nothing, of one micro, lowered below
    # what is spent; a campaign that ended hours ago.
    state = Pacing(before_day, passed, np.array([spent[0]]), np.array([multiplier]))
    after = update(state, day, now_passed, np.array([spent[1]]), np.array([budget]), until).multiplier[0]
    low, high = max(multiplier * np.exp(-MAX_STEP), MIN_MULTIPLIER), min(multiplier * np.exp(MAX_STEP), 1.0)
    assert low * (1 - 1e-12) <= after <= high * (1 + 1e-12)


def test_a_budget_of_nothing_leaves_the_bid_where_it_was() -> None:
    after = update(Pacing(1, 0.5, np.array([0]), np.array([0.5])), 1, 0.6, np.array([0]), np.array([0]))
    assert after.multiplier.tolist() == [0.5]


def test_a_budget_of_one_event_sells_it_every_day() -> None:
    # The event is the whole budget, and comes at once: the bid is halved, and back before the next midnight is 7 % old.
    state = fresh()
    for day in range(1, 6):
        spent = 0
        for k in range(1, 1001):
            if state.multiplier[0] == 1.0:
                spent = BUDGET
            state = update(state, day, k / 1000, np.array([spent]), np.array([BUDGET]))
            if k == 100:
                assert spent == BUDGET


def test_hours_without_expected_traffic_plan_nothing_and_cost_no_more_than_what_they_spend() -> None:
    shape = (0.0, 1.0)
    day, noon = 1000, 500
    passed = [traffic_passed(t * 1000, day, shape) for t in range(day)]
    state = Pacing(1, 0.0, np.array([0]), np.array([0.5]))
    for t in range(1, noon):
        state = update(state, 1, passed[t], np.array([0]), np.array([BUDGET]))
    assert state.multiplier.tolist() == [0.5]
    state = update(state, 1, passed[noon], np.array([BUDGET // 100]), np.array([BUDGET]))
    assert state.multiplier[0] == pytest.approx(0.5 * np.exp(-0.1))


def test_a_clock_set_back_and_forth_changes_the_bid_by_one_step_at_most() -> None:
    state = Pacing(1, 0.50, np.array([BUDGET // 2]), np.array([0.4]))
    for passed in (0.25, 0.50):  # a quarter of a day back, then right again
        state = update(state, 1, passed, np.array([BUDGET // 2]), np.array([BUDGET]))
    assert 0.4 <= state.multiplier[0] <= 0.4 * np.exp(MAX_STEP)


def test_a_budget_lowered_below_what_is_spent_rests() -> None:
    state = Pacing(1, 0.50, np.array([BUDGET // 2]), np.array([0.4]))
    for k in range(1, 50):
        state = update(state, 1, 0.5 + k / 100, np.array([BUDGET // 2]), np.array([BUDGET // 10]))
    assert state.multiplier.tolist() == [0.4]


# What is pending, and when it ends.


def test_a_click_counts_once_from_the_click_to_long_after_its_conversion() -> None:
    # 1 % of the traffic passes per update and 1 % of the budget is committed: exactly the plan, whether it is pending or spent.
    state = Pacing(1, 0.0, np.array([0]), np.array([0.4]))
    pending, spent = 0, 0
    for k in range(1, 51):
        pending += BUDGET // 100
        if k % 10 == 0:  # ten clicks convert at once, for what was expected of them
            spent, pending = spent + pending, 0
        state = update(state, 1, k / 100, np.array([spent + pending]), np.array([BUDGET]))
        assert state.multiplier[0] == pytest.approx(0.4, rel=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_conversions_that_come_a_third_of_a_day_late_are_paced_by_what_is_pending(seed: int) -> None:
    # Without it the first third of the day looks as if nobody bought: bids stay up, and the hard stop has to end the day.
    paced = simulate(fresh(), demand=5.0, price_micros=BUDGET // 200, updates=300, delay=100, counts_pending=True, seed=seed)
    committed = paced.state.committed_micros[0] / BUDGET
    assert abs(committed - 1.0) < 0.05
    blind = simulate(fresh(), demand=5.0, price_micros=BUDGET // 200, updates=300, delay=100, seed=seed)
    assert paced.multiplier[80] < 0.5 < blind.multiplier[80]


def test_a_campaign_that_starts_at_noon_spreads_its_budget_over_the_afternoon() -> None:
    day = simulate(fresh(), demand=6.0, closed=(0.0, 0.5))
    assert abs(day.ahead[-1]) < 0.05
    assert day.exhausted_at > 0.95


def test_a_campaign_that_ends_at_noon_has_spent_its_budget_by_then() -> None:
    day = simulate(fresh(0.3), demand=6.0, until=0.5)
    assert day.spent[-1] / BUDGET > 0.9
    half = day.passed <= 0.25
    assert abs(day.spent[half][-1] / BUDGET - 0.5) < 0.2
    running_on = simulate(fresh(0.3), demand=6.0, closed=(0.5, 1.0))
    assert running_on.spent[-1] / BUDGET < 0.7


def test_haste_spends_three_quarters_by_half_of_the_traffic_or_bids_in_full() -> None:
    assert set(HASTE.values()) == {1.0, 2.0, ASAP}
    spent = {haste: [0.0] for haste in (1.0, 2.0)}
    for haste, so_far in spent.items():
        state = Pacing(1, 0.0, np.array([0]), np.array([0.4]))
        for k in range(1, 1001):
            # The market sells what keeps the bid where it is: exactly the plan.
            left = BUDGET - so_far[-1]
            so_far.append(so_far[-1] + left * haste * 0.001 / max(0.001 + 1 - RESERVED - k / 1000, SHORTEST_HORIZON))
            state = update(state, 1, k / 1000, np.array([round(so_far[-1])]), np.array([BUDGET]), haste=haste)
            if k <= 900:
                assert state.multiplier[0] == pytest.approx(0.4, rel=1e-3)
    assert spent[1.0][500] / BUDGET == pytest.approx(0.505, abs=0.002)
    assert spent[2.0][500] / BUDGET == pytest.approx(0.755, abs=0.002)
    slow = Pacing(1, 0.5, np.array([0]), np.array([0.4]))
    assert update(slow, 1, 0.6, np.array([BUDGET // 2]), np.array([BUDGET]), haste=ASAP).multiplier[0] == 1.0


def test_fewer_events_move_a_bid_less_each_by_what_it_is_of_the_budget() -> None:
    state = Pacing(1, 0.5, np.array([0, 0, 0]), np.array([0.4, 0.4, 0.4]))
    budget = np.array([BUDGET, BUDGET, BUDGET])
    after = update_of(state, 1, 0.5, budget // 100, budget, event_micros=budget // np.array([8, 1000, 10**9]))
    np.testing.assert_allclose(after.multiplier, 0.4 * np.exp(-0.01 * np.array([3, 10, 20])))


def test_with_requests_known_a_lull_plans_nothing_and_a_burst_much() -> None:
    state = Pacing(1, 0.5, np.array([0]), np.array([0.4]))
    lull = update(state, 1, 0.6, np.array([0]), np.array([BUDGET]), came=0.0)
    assert lull.multiplier[0] == 0.4
    burst = update(state, 1, 0.5, np.array([round(BUDGET * 0.1 / (0.6 - RESERVED))]), np.array([BUDGET]), came=0.1)
    assert burst.multiplier[0] == pytest.approx(0.4, rel=1e-6)


def test_a_campaign_about_to_end_brings_no_burst() -> None:
    before = Pacing(1, 0.5, np.array([0]), np.array([0.1]))
    by_horizon = update(before, 1, 0.5003, np.array([0]), np.array([BUDGET]), 0.501).multiplier[0]
    assert by_horizon == pytest.approx(0.1 * np.exp(GAIN * 0.0003 / SHORTEST_HORIZON))
    assert update(before, 1, 0.5003, np.array([0]), np.array([BUDGET]), np.array([0.2])).multiplier[0] == by_horizon


def test_campaigns_that_come_and_go_leave_the_others_on_their_course() -> None:
    before = Pacing(3, 0.5, np.array([10, 20, 30]), np.array([0.1, 0.2, 0.3]))
    unlimited = np.iinfo(np.int64).max
    # b has gone, d is new, a has lost its limit; d had spent 7 before it came back, which is not held against it.
    now = joined(before, ("a", "b", "c"), ("c", "d", "a"), 4, 0.25, np.array([33, 7, 11]), np.array([100, 100, unlimited]))
    assert (now.day.tolist(), now.traffic_passed.tolist()) == ([3, 4, 3], [0.5, 0.25, 0.5])
    assert now.committed_micros.tolist() == [30, 7, 10]
    assert now.multiplier.tolist() == [0.3, 1.0, 1.0]
    assert joined(before, ("a", "b", "c"), (), 4, 0.25, np.zeros(0, np.int64), np.zeros(0, np.int64)).multiplier.tolist() == []


def test_a_lifetime_budget_with_an_end_is_planned_in_equal_shares_of_the_days_that_are_left() -> None:
    unlimited = np.iinfo(np.int64).max
    daily = np.array([unlimited, 100, 100, unlimited, unlimited, unlimited])
    left = np.array([1000, 1000, 150, 1000, -5, 1000])
    days_left = np.array([10, 5, 2, 3, 4, 0])
    plans = np.array([True, True, True, False, True, True])
    assert of_today(daily, left, days_left, plans).tolist() == [100, 100, 75, unlimited, 0, 1000]


def test_what_one_day_leaves_of_a_lifetime_budget_is_spread_over_the_days_after_it() -> None:
    left, spent = 1000, []
    for day in range(10):
        (today,) = of_today(np.array([1000]), np.array([left]), np.array([10 - day]), np.array([True])).tolist()
        spent.append(0 if day == 3 else today)
        left -= spent[-1]
    assert spent == [100, 100, 100, 0, 117, 117, 117, 117, 116, 116]
