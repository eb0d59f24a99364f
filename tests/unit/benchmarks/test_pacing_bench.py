"""`make bench-pacing` in small, and what its figures rest on: the product's auction, the optimum of the linear programme."""

import numpy as np
import pytest
from scipy.optimize import linprog

from auction.bids import effective_bids
from auction.gsp import best_slate
from auction.slate import sell as sell_page
from benchmarks.pacing.days import simulate
from benchmarks.pacing.hindsight import optimum
from benchmarks.pacing.market import RESERVE_ECPM_MICROS, Campaigns, Pages, hours_seen, pages_of
from benchmarks.pacing.money import Money
from benchmarks.pacing.selling import sell

MANY = 10**15


@pytest.fixture(scope="module")
def market() -> tuple[Campaigns, Pages]:
    rng = np.random.default_rng(0)
    campaigns = Campaigns.draw(rng, 12, 9000)
    return campaigns, pages_of(campaigns, rng, hours_seen(rng, 0), 9000, lull=False, burst=False)


def test_a_minute_of_pages_is_sold_as_the_product_sells_each(market: tuple[Campaigns, Pages]) -> None:
    campaigns, pages = market
    of, multiplier = slice(0, 400), np.append(np.random.default_rng(1).uniform(0.01, 1.0, len(campaigns)), 0.0)
    sold = sell(campaigns, pages, of, multiplier, None, np.full(len(multiplier), MANY))
    by_page = dict(zip(sold.page.tolist(), zip(sold.campaign.tolist(), sold.price_micros.tolist(), strict=True), strict=True))
    reserve = np.array([RESERVE_ECPM_MICROS])
    for i in range(400):
        who = pages.candidate[i]
        bids = effective_bids(
            who.astype(np.int32),
            campaigns.kind[who],
            campaigns.bid_micros[who],
            pages.pctr[i],
            campaigns.pcvr[who],
            multiplier[who],
        )
        sale = sell_page(best_slate(bids, reserve), bids, reserve, 0.0)
        assert by_page.get(i) == ((int(who[sale.winner[0]]), int(sale.price_micros[0])) if len(sale.winner) else None)


def test_nobody_holds_more_than_there_is_room_for(market: tuple[Campaigns, Pages]) -> None:
    campaigns, pages = market
    room = np.append(3 * campaigns.event_micros, 0)
    sold = sell(campaigns, pages, slice(0, 400), np.append(np.ones(len(campaigns)), 0.0), None, room)
    by_event = campaigns.kind[sold.campaign] != 2
    held = np.bincount(sold.campaign[by_event], sold.price_micros[by_event], minlength=len(room))
    assert (held <= room).all()
    assert (held > 0.5 * room).any()


def test_the_optimum_is_that_of_the_linear_programme() -> None:
    rng = np.random.default_rng(0)
    for budget in (0.0, 3.0, 20.0, 1e6):
        value, cost = rng.uniform(1, 2, 60), rng.uniform(0.1, 1, 60)
        solved = linprog(-value, A_ub=cost[None], b_ub=[budget], bounds=(0, 1))
        assert optimum(value, cost, budget) == pytest.approx(-solved.fun)


def test_conversions_are_charged_where_there_is_room_and_never_beyond(market: tuple[Campaigns, Pages]) -> None:
    campaigns, pages = market
    money = Money(campaigns, days=2)
    everything = np.full(len(campaigns) + 1, MANY)
    for minute in range(1440):
        money.begin(0, minute)
        of = pages.of_minute(minute)
        if of.start < of.stop:
            by_click = np.append(campaigns.kind[:-1] == 2, False)
            money.settle(sell(campaigns, pages, of, by_click * 1.0, None, everything), pages, of, 0, minute)
    money.finish(2)
    assert (money.spent_micros <= money.limit_micros).all()
    assert (money.spent_micros[0] > 0).any()
    assert not money.overspent_micros.any()


def test_days_in_small() -> None:
    ours, none = simulate(101, ["offerrank", "none"], days=2, n=20, pages=15_000)
    assert (ours.controller, none.controller, ours.seed) == ("offerrank", "none", 101)
    assert ours.overspent_micros == none.overspent_micros == 0
    assert ours.median_plan_error < none.median_plan_error
    assert 0.5 < ours.value_to_optimum < 1.1
    assert none.value_micros < ours.value_micros
