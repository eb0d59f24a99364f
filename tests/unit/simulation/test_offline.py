"""Logs in memory are what their formulas say: confounded positions, delays within the window, a market that moves."""

from pathlib import Path

import numpy as np
import pytest

from features.market import Market, load_market
from simulation.offline import HOUR_S, MOBILE_SLOTS, Logged, OfflineMarket, OfflineSpec


@pytest.fixture(scope="module")
def market() -> Market:
    return load_market(Path(__file__).parents[3] / "examples" / "confirmation" / "market.toml")


def logged(market: Market, seed: int, hour: int, pages: int, **spec: float) -> Logged:
    return OfflineMarket(market, seed, OfflineSpec(**spec)).hour(hour, pages)


def test_an_hour_is_fixed_by_seed_and_number(market: Market) -> None:
    simulated = OfflineMarket(market, 3)
    later, earlier = simulated.hour(5, 200), simulated.hour(4, 200)
    assert later.click.tolist() == logged(market, 3, 5, 200).click.tolist()
    assert later.pctr.tolist() == OfflineMarket(market, 3).hour(5, 200).pctr.tolist()
    assert later.pctr.tolist() != logged(market, 4, 5, 200).pctr.tolist()
    joined = Logged.join([earlier, later])
    assert joined.take(joined.time_s >= 5 * HOUR_S).delay_s.tolist() == later.delay_s.tolist()


def test_rows_are_pages_of_distinct_offers_under_the_features_of_the_market(market: Market) -> None:
    log = logged(market, 1, 20, 300)
    assert set(log.features) == {f.name for f in market.features if f.source != "history"}
    assert log.position.tolist() == [0, 1, 2] * 300
    assert all(len(set(page)) == 3 for page in log.features["offer_id"].reshape(300, 3).tolist())
    assert (np.diff(log.time_s) >= 0).all()
    assert 20 * HOUR_S <= log.time_s.min() <= log.time_s.max() < 21 * HOUR_S
    assert set(log.features["hour"].tolist()) == {20}


def test_clicks_come_as_examination_times_pctr(market: Market) -> None:
    log = logged(market, 1, 0, 20_000)
    mobile = log.features["device"] == "mobile"
    for slot in range(3):
        for on_mobile, exponent in ((True, MOBILE_SLOTS), (False, 1.0)):
            rows = (log.position == slot) & (mobile == on_mobile)
            expected = 0.75 ** (slot * exponent) * log.pctr[rows].mean()
            # Of some 8,000 clicks at 30 % the standard error is 0.5 points.
            assert log.click[rows].mean() == pytest.approx(expected, abs=0.02)
    assert log.conversion[log.click].mean() == pytest.approx(log.pcvr[log.click].mean(), abs=0.02)
    assert not log.conversion[~log.click].any()


def test_the_policy_shows_better_offers_further_up_and_random_pages_do_not(market: Market) -> None:
    by_policy, by_chance = logged(market, 1, 0, 5000), logged(market, 1, 0, 5000, epsilon=1.0)
    first, last = (by_policy.pctr[by_policy.position == slot].mean() for slot in (0, 2))
    assert first > 1.15 * last
    first, last = (by_chance.pctr[by_chance.position == slot].mean() for slot in (0, 2))
    assert first == pytest.approx(last, rel=0.05)
    assert by_policy.pctr.mean() > 1.5 * by_chance.pctr.mean()


def test_conversions_come_late_but_within_the_window_and_later_in_some_categories(market: Market) -> None:
    log = logged(market, 1, 0, 20_000, delay_s=2 * HOUR_S, window_s=6 * HOUR_S)
    delay_s = log.delay_s[log.conversion]
    assert (delay_s >= 0).all()
    assert (delay_s <= 6 * HOUR_S).all()
    category = log.features["category"][log.conversion]
    means = [delay_s[category == c].mean() for c in np.unique(category)]
    assert max(means) > 1.5 * min(means)


def test_tastes_are_forgotten_in_time_at_an_unchanged_level(market: Market) -> None:
    simulated = OfflineMarket(market, 1, OfflineSpec(epsilon=1.0, forgotten_after_h=10))

    def ctr_by_offer(hour: int) -> np.ndarray:
        log = simulated.hour(hour, 8000)
        return np.array([log.pctr[log.features["offer_id"] == o.id].mean() for o in market.offers])

    start, soon, late = ctr_by_offer(0), ctr_by_offer(1), ctr_by_offer(10)
    assert np.corrcoef(start, soon)[0, 1] > 0.9
    assert abs(np.corrcoef(start, late)[0, 1]) < 0.6
    assert late.mean() == pytest.approx(start.mean(), rel=0.4)


def test_newcomers_appear_over_the_hours(market: Market) -> None:
    simulated = OfflineMarket(market, 1, OfflineSpec(epsilon=1.0, newcomers=0.5, arrived_after_h=10))
    live = [len(np.unique(simulated.hour(hour, 2000).features["offer_id"])) for hour in (0, 5, 10)]
    assert live[0] < live[1] < live[2] == len(market.offers)
