"""Baselines of `make faults` follow the rules that their packages document."""

import numpy as np
import pytest

from benchmarks.faults.baselines import PageHinkley, evidently, tfdv
from monitoring.detection.profile import Profile, profile
from monitoring.summaries import ALL, FLOW, Flows, HourSummary, Numbers, Series, Values

AMOUNT, COLOUR = Series("feature", "amount"), Series("feature", "colour")


def _hour(red: int, blue: int, amounts: np.ndarray) -> Profile:
    by = {
        (ALL, COLOUR): Values.of({"red": red, "blue": blue}, red + blue),
        (ALL, AMOUNT): Numbers.of(amounts),
        (ALL, FLOW): Flows({"pages": red + blue}),
    }
    return profile([HourSummary(0, "r1", by)])


LARGE = np.random.default_rng(1).normal(50, 10, 2000).round(1)
BEFORE = _hour(1000, 1000, LARGE)


def test_tfdv_alarms_where_a_share_moved_by_a_tenth() -> None:
    # 60 % of red after 50 %.
    assert tfdv(_hour(1200, 800, LARGE), [BEFORE])["colour"] == pytest.approx(1.0)
    assert tfdv(BEFORE, [BEFORE])["amount"] == 0.0
    # Distributions that share no bucket are one bit apart.
    assert tfdv(_hour(1000, 1000, LARGE + 1000), [BEFORE])["amount"] == pytest.approx(10.0)


def test_evidently_alarms_where_a_number_moved_by_a_tenth_of_its_deviation() -> None:
    assert evidently(_hour(1000, 1000, LARGE + LARGE.std() / 10), [BEFORE])["amount"] == pytest.approx(1.0, rel=0.05)


def test_evidently_of_a_small_reference_tests_at_five_percent() -> None:
    # chi-squared of 60 : 40 against 50 : 50 is 4 with one degree of freedom, p = .0455.
    small = _hour(50, 50, LARGE[:100])
    assert evidently(_hour(60, 40, LARGE[:100]), [small])["colour"] == pytest.approx(0.05 / 0.0455, rel=0.01)


def test_page_hinkley_alarms_when_the_mean_has_added_up_to_fifty() -> None:
    watch = PageHinkley()
    assert all(watch(BEFORE, [])["amount"] < 1 for _ in range(40))
    moved = _hour(1000, 1000, LARGE + 20)
    scores = [watch(moved, [])["amount"] for _ in range(4)]
    # Each hour adds 20 less what the mean has followed.
    assert scores[0] < 1 < max(scores)
