"""Runs controllers side by side over the same days, and scores them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.pacing.controllers import CONTROLLERS, Controller, Seen, plan
from benchmarks.pacing.hindsight import Hindsight
from benchmarks.pacing.market import CPA, MINUTES, Campaigns, Floats, Ints, Pages, hours_seen, pages_of
from benchmarks.pacing.money import Money
from benchmarks.pacing.selling import sell

CAMPAIGNS, PAGES, DAYS = 200, 150_000, 5
FIRST_WEEKDAY = 3
"""Thursday; so that two of the days that count are of a weekend."""
WEEKS_BEFORE = 4
LULL, BURST, RESTART = 1, 2, 3
"""Days of which each has one of these."""
RESTART_MINUTES = range(780, 790)
"""Without a pacer; then another takes over."""
DEMAND, IN_AN_HOUR = 1.1, 2.0
"""Demand allows a campaign its budget if all pages that it could have paid for would have cost so many times as much, counting no
more of an hour than so many times its plan."""


@dataclass(frozen=True, slots=True)
class Row:
    """One controller and seed, over all days but the first; docs/pacing.md defines the figures."""

    controller: str
    seed: int
    worst_end_error: float
    median_plan_error: float
    overspent_micros: int
    value_to_optimum: float
    ends_within_1_percent: float
    worst_end_error_by_click_or_view: float
    value_micros: int
    spent_micros: int


@dataclass
class Run:
    """One controller on its way through the days."""

    name: str
    controller: Controller
    money: Money
    rng: np.random.Generator
    optimum: list[float] = field(default_factory=list)
    allows: list[NDArray[np.bool_]] = field(default_factory=list)
    """[C] a day, see DEMAND."""
    plan_error: list[Floats] = field(default_factory=list)
    """[24, C] a day."""


def simulate(seed: int, names: Sequence[str], days: int = DAYS, n: int = CAMPAIGNS, pages: int = PAGES) -> list[Row]:
    """Rows of some controllers that meet the same shoppers."""
    rng = np.random.default_rng([seed, 0])
    campaigns = Campaigns.draw(rng, n, pages)
    before = np.stack([np.concatenate([hours_seen(rng, weekday) for weekday in range(7)]) for _ in range(WEEKS_BEFORE)])
    forecast = before.mean(axis=0).reshape(7, 24)
    runs = [Run(name, CONTROLLERS[name](n), Money(campaigns, days), np.random.default_rng([seed, 1])) for name in names]
    for day in range(days):
        rng = np.random.default_rng([seed, 2, day])
        weekday = (FIRST_WEEKDAY + day) % 7
        of_day = pages_of(campaigns, rng, hours_seen(rng, weekday), pages, day == LULL, day == BURST)
        order = np.argsort(of_day.candidate.ravel(), kind="stable")
        by_campaign = np.split(order, np.cumsum(np.bincount(of_day.candidate.ravel(), minlength=n + 1)))[:n]
        for run in runs:
            _day(run, campaigns, of_day, day, forecast[weekday] * pages / 24, forecast.mean(axis=0), by_campaign)
    for run in runs:
        run.money.finish(days)
    return [_row(run, seed, campaigns) for run in runs]


def _day(
    run: Run,
    campaigns: Campaigns,
    pages: Pages,
    day: int,
    forecast: Floats,
    of_any_day: Floats,
    by_campaign: list[np.ndarray],
) -> None:
    """forecast: [24] pages of each hour; of_any_day: [24] weights of hours, whatever the day."""
    hindsight = Hindsight()
    of_minutes = np.bincount(pages.minute, minlength=MINUTES).astype(np.float64)
    expected, by_day = (np.append(0.0, np.cumsum(np.repeat(of / of.sum() / 60, 60))) for of in (forecast, of_any_day))
    planned, came = plan(of_minutes, np.repeat(forecast / 60, 60))
    hours: list[Ints] = []
    for minute in range(MINUTES):
        run.money.begin(day, minute)
        committed = run.money.committed_micros(day)
        if minute and minute % 60 == 0:
            hours.append(committed)
        of = pages.of_minute(minute)
        shares = float(expected[minute]), float(by_day[minute]), float(came[minute]), float(planned[minute])
        seen = Seen(day, minute, *shares, committed, campaigns.budget_micros, campaigns.event_micros)
        if day != RESTART or minute not in RESTART_MINUTES:
            if day == RESTART and minute == RESTART_MINUTES.stop:
                run.controller.restart(seen)
            run.controller.update(seen)
        if of.start == of.stop:
            continue
        controller = run.controller
        takes_part = None
        if (controller.taking_part < 1).any():
            share = np.append(controller.taking_part, 0.0)[pages.candidate[of]]
            takes_part = run.rng.random(share.shape) < share
        multiplier = np.append(controller.multiplier, 0.0)
        sold = sell(campaigns, pages, of, multiplier, takes_part, run.money.room_micros(day))
        run.money.settle(sold, pages, of, day, minute)
        hindsight.add(sold.value_micros, sold.cost_micros)
    run.money.begin(day, MINUTES)
    hours.append(run.money.committed_micros(day))
    hour = np.repeat(pages.minute // 60, pages.candidate.shape[1])
    best, demand = hindsight.of(by_campaign, hour, campaigns.budget_micros.astype(np.float64))
    by_hour = planned[60::60]
    most = IN_AN_HOUR * np.diff(by_hour, prepend=0.0)[:, None] * campaigns.budget_micros
    run.optimum.append(float(best.sum()))
    run.allows.append(np.minimum(demand, most).sum(axis=0) >= DEMAND * campaigns.budget_micros)
    run.plan_error.append(np.abs(np.stack(hours) / campaigns.budget_micros - by_hour[:, None]))


def _row(run: Run, seed: int, campaigns: Campaigns) -> Row:
    budget, spent = campaigns.budget_micros, run.money.spent_micros[:-1]
    allows = np.stack(run.allows)
    allows[0] = False
    # Money that is less than one event costs can buy none.
    missing = np.maximum(budget - spent - campaigns.event_micros, 0) / budget
    by_conversion = np.broadcast_to(campaigns.kind[:-1] == CPA, allows.shape)
    value = int(run.money.value_micros[1:-1].sum())
    plan = [np.median(error[:, ok], axis=1).max() for error, ok in zip(run.plan_error, allows, strict=True) if ok.any()]
    return Row(
        controller=run.name,
        seed=seed,
        worst_end_error=float(missing[allows].max(initial=0.0)),
        median_plan_error=float(max(plan, default=0.0)),
        overspent_micros=int(run.money.overspent_micros.sum()),
        value_to_optimum=value / sum(run.optimum[1:]),
        ends_within_1_percent=float((missing[allows] <= 0.01).mean()),
        worst_end_error_by_click_or_view=float(missing[allows & ~by_conversion].max(initial=0.0)),
        value_micros=value,
        spent_micros=int(spent[1:].sum()),
    )
