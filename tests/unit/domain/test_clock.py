import time

import pytest

from domain.clock import budget_day, day_fraction, now_ms, traffic_passed

NOON_2026 = 1_767_268_800_000  # 2026-01-01T12:00:00Z


def test_budget_days_are_utc_days_since_the_epoch() -> None:
    assert budget_day(NOON_2026, 86_400) == 20_454
    assert budget_day(0, 86_400) == 0
    assert budget_day(86_399_999, 86_400) == 0
    assert budget_day(86_400_000, 86_400) == 1


def test_a_simulated_market_has_shorter_days() -> None:
    assert [budget_day(ms, 300) for ms in (299_999, 300_000, 600_000)] == [0, 1, 2]


def test_the_fraction_runs_from_zero_to_just_below_one() -> None:
    assert day_fraction(NOON_2026, 86_400) == 0.5
    assert day_fraction(300_000, 300) == 0.0
    assert day_fraction(299_999, 300) == pytest.approx(1.0, abs=1e-5)
    assert day_fraction(299_999, 300) < 1.0


def test_now_is_in_milliseconds() -> None:
    before = time.time() * 1000
    assert before - 1 <= now_ms() <= time.time() * 1000 + 1


def test_traffic_passes_by_the_weight_of_the_hours() -> None:
    day_s = 1000
    assert traffic_passed(300_000, day_s) == pytest.approx(0.3)
    # Quarters of weight 0, 1, 3, 0: nothing by 6:00, a quarter by noon, half of the third quarter's 3 on top by 15:00.
    shape = (0.0, 1.0, 3.0, 0.0)
    assert [traffic_passed(ms, day_s, shape) for ms in (0, 250_000, 500_000, 625_000, 750_000)] == [0, 0, 0.25, 0.625, 1]
