"""Same seed, same shoppers, purchases and reactions, whatever happens in between."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from features.market import Market, load_market
from simulation.shoppers import Shoppers, arrivals_ms


@pytest.fixture(scope="module")
def market() -> Market:
    return load_market(Path(__file__).parents[3] / "examples" / "confirmation" / "market.toml")


def test_the_seed_fixes_purchases_and_reactions_in_whatever_order_they_are_asked_for(market: Market) -> None:
    forwards, backwards = Shoppers(market, 7), Shoppers(market, 7)
    expected = [(forwards.purchase(i, 40 * i), forwards.reaction(i)) for i in range(50)]
    for i in reversed(range(50)):
        purchase, reaction = backwards.purchase(i, 40 * i), backwards.reaction(i)
        assert purchase == expected[i][0]
        assert reaction.click_draw.tolist() == expected[i][1].click_draw.tolist()
        assert reaction.conversion_draw.tolist() == expected[i][1].conversion_draw.tolist()
        assert reaction.think_ms.tolist() == expected[i][1].think_ms.tolist()
        assert reaction.leaves_ms == expected[i][1].leaves_ms


def test_another_seed_means_other_shoppers(market: Market) -> None:
    one, other = Shoppers(market, 7), Shoppers(market, 8)
    assert [one.purchase(i, 0) for i in range(20)] != [other.purchase(i, 0) for i in range(20)]


def test_a_returning_shopper_is_the_same_person(market: Market) -> None:
    shoppers = Shoppers(market, 7, population=3)
    seen = {}
    for i in range(60):
        p = shoppers.purchase(i, 0)
        who = (p.segment, p.eagerness, p.shopper)
        assert seen.setdefault(p.shopper_key, who) == who
    assert len(seen) == 3


def test_every_value_is_one_the_market_knows(market: Market) -> None:
    shoppers = Shoppers(market, 1)
    for i in range(200):
        p = shoppers.purchase(i, 1000 * i)
        for f in market.features:
            value = (p.shopper | p.context).get(f.name)
            assert (value is None) == (f.source in ("offer", "history"))
            if value is not None:
                assert f.coerce(value) == value
                assert not isinstance(f.vocabulary, tuple) or value in f.vocabulary


def test_the_hour_follows_the_budget_day(market: Market) -> None:
    shoppers = Shoppers(market, 1)
    day_ms = market.policy.day_length_s * 1000
    assert shoppers.purchase(0, 0).context["hour"] == 0
    assert shoppers.purchase(0, day_ms // 2).context["hour"] == 12
    assert shoppers.purchase(0, 0, day_offset_ms=day_ms * 3 // 4).context["hour"] == 18
    assert shoppers.purchase(0, day_ms, day_offset_ms=day_ms * 3 // 4).context["hour"] == 18


def test_arrivals_follow_the_day_and_keep_the_mean_rate() -> None:
    # 100 days of 100 s at 10 per second: 100,000 arrivals are expected, standard deviation 316.
    times = np.fromiter(islice(arrivals_ms(3, 10, 100), 20_000), float) / 1000
    assert (np.diff(times) > 0).all()
    assert times[-1] == pytest.approx(2000, rel=0.03)  # 20 whole days
    in_day = times % 100
    noon = ((in_day > 40) & (in_day < 60)).sum()
    midnight = ((in_day < 10) | (in_day > 90)).sum()
    # The rate is 10 (1 - 0.25 cos x): over the fifth of the day around its turn, cos averages 5 sin(pi / 5) / pi = 0.935.
    assert noon / midnight == pytest.approx((1 + 0.25 * 0.935) / (1 - 0.25 * 0.935), rel=0.08)


def test_arrivals_are_fixed_by_the_seed() -> None:
    assert list(islice(arrivals_ms(3, 10, 100), 50)) == list(islice(arrivals_ms(3, 10, 100), 50))
    assert list(islice(arrivals_ms(3, 10, 100), 50)) != list(islice(arrivals_ms(4, 10, 100), 50))


def test_the_segment_given_the_features_is_bayes_rule(market: Market) -> None:
    shoppers = Shoppers(market, 3)
    purchases = shoppers.purchases(np.random.default_rng(1), 20_000, 12)
    p = shoppers.segment_given(purchases.known)
    assert p.sum(axis=1) == pytest.approx(np.ones(20_000))
    # Calibrated: of the rows that give segment 0 some 60 to 80 %, as many are of it.
    sure = (p[:, 0] > 0.6) & (p[:, 0] < 0.8)
    assert (purchases.segment[sure] == 0).mean() == pytest.approx(p[sure, 0].mean(), abs=0.05)
