"""Rates, and how much patience a key has earned."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.gateway.limits import BURST_S, RateLimit
from serving.gateway.patience import HALF_LIFE_S, LAG_S, PRIOR, Patience


def test_a_burst_of_five_seconds_worth_then_the_rate():
    limit = RateLimit()
    # 2 a second: 10 at once and the one that is due, then one each half second.
    assert [limit.wait_s("a", 2, 100.0) for _ in range(12)] == [0] * 11 + [0.5]
    assert limit.wait_s("a", 2, 100.5) == 0
    assert limit.wait_s("a", 2, 100.5) == 0.5
    assert limit.wait_s("b", 2, 100.5) == 0


def test_the_wait_it_says_is_enough_and_no_more():
    limit, now_s = RateLimit(), 0.0
    while (wait_s := limit.wait_s("a", 0.7, now_s)) == 0:
        pass
    assert limit.wait_s("a", 0.7, now_s + wait_s - 0.01) > 0
    assert limit.wait_s("a", 0.7, now_s + wait_s + 1e-9) == 0


@given(st.lists(st.floats(0, 3), max_size=60), st.sampled_from([0.1, 1.0, 7.0]))
def test_no_more_than_rate_and_burst_ever_pass(pauses, per_second):
    limit, now_s, passed = RateLimit(), 1000.0, []
    for pause in pauses:
        now_s += pause
        passed += [now_s] * (limit.wait_s("a", per_second, now_s) == 0)
    for i, start in enumerate(passed):
        for j in range(i, len(passed)):
            assert j - i + 1 <= per_second * (passed[j] - start + BURST_S) + 1 + 1e-6


def test_names_are_bounded_and_the_quietest_is_forgotten():
    limit = RateLimit(max_names=100)
    for i in range(1000):
        limit.wait_s("busy", 1000, 0.0)
        limit.wait_s(f"address-{i}", 1, 0.0)
    assert len(limit) == 100
    while limit.wait_s("busy", 1000, 0.0) == 0:
        pass
    limit.wait_s("another", 1, 0.0)
    assert limit.wait_s("busy", 1000, 0.0) > 0  # still known


def test_a_key_that_shows_what_it_asks_for_is_given_time():
    patience, now_s = Patience(), 0.0
    assert patience.of("shop", now_s) == 1
    for _ in range(600):  # 3 offers a second, each seen two seconds later
        now_s += 1
        patience.asked("shop", 3, now_s)
        if now_s > 2:
            for _ in range(3):
                patience.shown("shop", now_s)
        assert patience.of("shop", now_s) == 1


def test_a_key_that_never_shows_gets_less_and_less_and_never_nothing():
    patience, shares = Patience(), []
    for now_s in range(0, 120):  # 25 pages a second of 3 offers
        for _ in range(25):
            patience.asked("drain", 3, float(now_s))
        shares.append(patience.of("drain", float(now_s)))
    # Nothing for LAG_S, since impressions take time to come; a quarter of a minute later less than a tenth is left.
    assert shares[int(LAG_S) - 1] == 1
    assert shares[int(LAG_S) + 15] < 0.1
    assert shares == sorted(shares, reverse=True)
    assert 0 < shares[-1] < 0.02
    assert patience.of("shop", 120.0) == 1  # nobody else pays for it


def test_half_the_offers_shown_is_half_the_patience_whatever_the_load():
    for offers in (10, 1000):
        patience = Patience()
        for now_s in range(3000):
            patience.asked("shop", offers, float(now_s))
            for _ in range(offers // 2):
                patience.shown("shop", float(now_s))
        assert patience.of("shop", 3000.0) == pytest.approx(0.5, abs=0.02)


def test_it_is_forgiven_within_the_hour():
    patience = Patience()
    patience.asked("shop", 100_000, 0.0)
    assert patience.of("shop", LAG_S) == pytest.approx(PRIOR / (100_000 + PRIOR))
    assert patience.of("shop", LAG_S + 20 * HALF_LIFE_S) > 0.99
