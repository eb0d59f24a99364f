"""The truth is what the formula says, and the best policy is the auction told the truth."""

from pathlib import Path

import numpy as np
import pytest

from domain.errors import InvalidMarket
from features.market import Market, load_market
from simulation.best_policy import Valuation
from simulation.shoppers import Shoppers
from simulation.world import World


@pytest.fixture(scope="module")
def market() -> Market:
    return load_market(Path(__file__).parents[3] / "examples" / "confirmation" / "market.toml")


@pytest.fixture(scope="module")
def shoppers(market: Market) -> Shoppers:
    return Shoppers(market, 7)


@pytest.fixture(scope="module")
def world(market: Market, shoppers: Shoppers) -> World:
    return World(market, shoppers)


def test_random_slates_have_the_base_rates(world: World, shoppers: Shoppers) -> None:
    purchases = [shoppers.purchase(i, 100 * i) for i in range(1500)]
    assert np.mean([world.pctr(p).mean() for p in purchases]) == pytest.approx(0.12, abs=0.01)
    assert np.mean([world.pcvr(p).mean() for p in purchases]) == pytest.approx(0.25, abs=0.02)


def test_the_truth_is_fixed_by_the_seed_and_differs_between_seeds(market: Market, shoppers: Shoppers, world: World) -> None:
    purchase = shoppers.purchase(5, 0)
    assert World(market, Shoppers(market, 7)).pctr(purchase).tolist() == world.pctr(purchase).tolist()
    assert World(market, Shoppers(market, 8)).pctr(purchase).tolist() != world.pctr(purchase).tolist()


def test_an_offer_keeps_its_appeal_when_others_leave_the_market(market: Market, shoppers: Shoppers, world: World) -> None:
    fewer = World(market.model_copy(update={"offers": market.offers[::2]}), shoppers)
    purchase = shoppers.purchase(5, 0)
    logit = lambda p: np.log(p / (1 - p))  # noqa: E731
    # The intercept is fitted to the offers there are; beyond that nothing moves.
    shift = logit(world.pctr(purchase)[::2]) - logit(fewer.pctr(purchase))
    assert np.ptp(shift) == pytest.approx(0, abs=1e-9)


def test_lower_slots_are_looked_at_less(world: World) -> None:
    assert world.examination.tolist() == [1.0, 0.75, 0.5625]


def test_a_market_without_baskets_cannot_be_simulated(market: Market) -> None:
    features = tuple(f for f in market.features if f.name != "basket_category")
    poorer = market.model_copy(update={"features": features})
    with pytest.raises(InvalidMarket, match="basket_category"):
        World(poorer, Shoppers(poorer, 1))


def test_a_page_is_worth_clicks_times_prices(market: Market, shoppers: Shoppers, world: World) -> None:
    valuation = Valuation(world)
    purchase = shoppers.purchase(3, 0)
    pctr, pcvr = world.pctr(purchase), world.pcvr(purchase)
    cpc, cpa, cpm = (
        next(o.id for o in market.offers if market.campaign_by_id[o.campaign].bid_kind == kind) for kind in ("cpc", "cpa", "cpm")
    )
    a, b, c = (valuation.position[o] for o in (cpc, cpa, cpm))
    worth = valuation.shown(purchase, [0, 1, 2], [cpc, cpa, cpm], [400_000, 2_000_000, 12_000])
    assert worth.slots == 3
    assert worth.clicks == pytest.approx(pctr[a] + 0.75 * pctr[b] + 0.5625 * pctr[c])
    assert worth.revenue_micros == pytest.approx(400_000 * pctr[a] + 2_000_000 * 0.75 * pctr[b] * pcvr[b] + 12_000)


def test_the_best_policy_beats_random_pages_by_far(market: Market, shoppers: Shoppers, world: World) -> None:
    valuation = Valuation(world)
    rng = np.random.default_rng(1)
    best_clicks = random_clicks = 0.0
    for i in range(300):
        purchase = shoppers.purchase(i, 100 * i)
        drawn = rng.choice(len(market.offers), 3, replace=False)
        best_clicks += valuation.best(purchase).clicks
        random_clicks += valuation.shown(purchase, [0, 1, 2], [market.offers[i].id for i in drawn], [0, 0, 0]).clicks
    assert best_clicks > 1.7 * random_clicks


def test_the_best_policy_keeps_to_targeting(market: Market, shoppers: Shoppers, world: World) -> None:
    raw = market.model_dump(mode="json")
    for campaign in raw["campaigns"]:
        campaign["targeting"] = {"country": ["MARS"]}
    only_mars = Market.model_validate(raw)
    assert Valuation(World(only_mars, shoppers)).best(shoppers.purchase(1, 0)).slots == 0
