"""Buckets, clicks of a page, shares of an offer: what they say, and that they stay small."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.traffic import Rate
from serving.gateway.traffic.rates import HALF_LIFE_MS, Buckets, ClickShares, LastClicks

HOUR_MS = 3_600_000


@given(st.lists(st.integers(0, 120_000), min_size=1, max_size=200), st.integers(1, 20), st.integers(1, 600))
def test_no_more_passes_than_a_full_bucket_and_what_ran_in(gaps_ms: list[int], at_once: int, per_hour: int) -> None:
    buckets, now_ms, passed = Buckets(Rate(at_once=at_once, per_hour=per_hour)), 0, 0
    for gap_ms in gaps_ms:
        now_ms += gap_ms
        passed += buckets.take("x", now_ms)
    assert passed <= at_once + (now_ms + 1) * per_hour / HOUR_MS + 1e-6


@given(st.integers(1, 20), st.integers(1, 600), st.integers(1, 100))
def test_what_keeps_to_its_rate_always_passes(at_once: int, per_hour: int, times: int) -> None:
    buckets, each_ms = Buckets(Rate(at_once=at_once, per_hour=per_hour)), HOUR_MS / per_hour
    assert all(buckets.take("x", int(k * each_ms + 1)) for k in range(times))


def test_a_clock_that_jumps_locks_nobody_out_for_longer_than_an_empty_bucket() -> None:
    buckets = Buckets(Rate(at_once=2, per_hour=60))
    assert [buckets.take("x", 10 * HOUR_MS) for _ in range(3)] == [True, True, False]
    assert not buckets.take("x", 0), "ten hours back"
    assert buckets.take("x", 60_000)


@pytest.mark.parametrize("what", ["buckets", "clicks"])
def test_whoever_was_quiet_for_longest_is_forgotten(what: str) -> None:
    if what == "buckets":
        buckets = Buckets(Rate(at_once=1, per_hour=1), max_names=3)
        for name in "abcd":
            buckets.take(name, 0)
        assert len(buckets) == 3
        assert [buckets.take(name, 1) for name in "dcba"] == [False, False, False, True]
    else:
        clicks = LastClicks(max_names=3)
        for name in "abcd":
            clicks.since_another(name, 0, 0)
        assert [clicks.since_another(name, 1, 7) for name in "bcd"] == [7, 7, 7]
        assert clicks.since_another("a", 1, 7) is None


def test_old_clicks_and_impressions_fade() -> None:
    shares = ClickShares()
    for _ in range(8):
        shares.shown("o", 0)
    assert shares.clicked("o", HALF_LIFE_MS) == (1.0, 4.0)
    assert shares.clicked("o", 3 * HALF_LIFE_MS) == (1.25, 1.0)
    assert shares.clicked("o", 0) == (2.25, 1.0), "a clock set back lets nothing grow"
