import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.metrics import (
    Interval,
    auc,
    auc_interval,
    ece,
    equal_mass_bins,
    field_rce,
    log_loss,
    normalised_entropy,
    pcoc,
    pcoc_interval,
    rate_interval,
    reliability_curve,
    row_log_loss,
)

LABELS = np.array([1, 0, 1, 0, 0])
P = np.array([0.9, 0.8, 0.7, 0.4, 0.1])


def test_auc_counts_pairs_in_the_right_order() -> None:
    # Positives 0.9 and 0.7 against negatives 0.8, 0.4, 0.1: 0.9 beats three, 0.7 beats two: 5 of 6 pairs.
    assert auc(LABELS, P) == pytest.approx(5 / 6)


def test_a_tie_counts_half() -> None:
    assert auc(np.array([1, 0]), np.array([0.5, 0.5])) == 0.5
    # 0.5 ties with one negative and beats the other: (0.5 + 1) / 2.
    assert auc(np.array([1, 0, 0]), np.array([0.5, 0.5, 0.2])) == 0.75


def test_auc_needs_both_labels() -> None:
    assert auc(np.array([1, 1]), np.array([0.2, 0.3])) is None
    assert auc(np.array([0, 0]), np.array([0.2, 0.3])) is None
    assert auc(np.array([], int), np.array([])) is None


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20)), min_size=2, max_size=40))
def test_auc_is_the_share_of_ordered_pairs(rows: list[tuple[int, int]]) -> None:
    labels, score = np.array([r[0] for r in rows]), np.array([r[1] / 20 for r in rows])
    pairs = [(a, b) for a in score[labels == 1] for b in score[labels == 0]]
    expected = sum((a > b) + (a == b) / 2 for a, b in pairs) / len(pairs) if pairs else None
    assert auc(labels, score) == (None if expected is None else pytest.approx(expected))


def test_log_loss_is_the_mean_negative_log_likelihood() -> None:
    # -(ln 0.8 + ln (1 - 0.4)) / 2
    assert log_loss(np.array([1, 0]), np.array([0.8, 0.4])) == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)
    assert log_loss(np.array([], int), np.array([])) is None


def test_log_loss_of_a_certain_mistake_is_finite() -> None:
    assert log_loss(np.array([1]), np.array([0.0])) == pytest.approx(-math.log(1e-7))


def test_pcoc_is_predicted_over_observed() -> None:
    assert pcoc(LABELS, P) == pytest.approx(2.9 / 2)
    assert pcoc(np.array([0, 0]), np.array([0.1, 0.1])) is None


def test_normalised_entropy_of_the_base_rate_is_one() -> None:
    assert normalised_entropy(LABELS, np.full(5, 0.4)) == pytest.approx(1)
    assert normalised_entropy(np.array([1, 1]), np.array([0.5, 0.5])) is None


def test_row_log_losses_average_to_the_log_loss() -> None:
    assert row_log_loss(np.array([1, 0]), np.array([0.8, 0.4])) == pytest.approx([-math.log(0.8), -math.log(0.6)])
    assert row_log_loss(LABELS, P).mean() == pytest.approx(log_loss(LABELS, P))


def covered(intervals: list[Interval | None], truth: float) -> float:
    return float(np.mean([i is not None and i.low <= truth <= i.high for i in intervals]))


def test_intervals_cover_the_truth_19_times_in_20() -> None:
    # Scores N(1, 1) for positives and N(0, 1) for negatives: AUC = Phi(1 / sqrt 2) = 0.7602. Of 1000 intervals that each hold
    # with 0.95, between 930 and 970 do, three standard errors either way.
    rng = np.random.default_rng(5)
    areas, ratios, rates = [], [], []
    for _ in range(1000):
        labels = (rng.random(300) < 0.3).astype(int)
        areas.append(auc_interval(labels, rng.normal(labels, 1)))
        truth = rng.beta(2, 8, 2000)
        ratios.append(pcoc_interval((rng.random(2000) < truth).astype(int), 1.2 * truth))
        rates.append(rate_interval(int(rng.binomial(200, 0.05)), 200))
    assert 0.93 <= covered(areas, 0.7602) <= 0.97
    assert 0.93 <= covered(ratios, 1.2) <= 0.97
    assert 0.93 <= covered(rates, 0.05) <= 0.975


def test_delongs_variance_by_hand() -> None:
    # Positives 0.9 and 0.7 outrank 3/3 and 2/3 of the negatives; negatives 0.8, 0.4, 0.1 are outranked by 1/2, 1, 1.
    # Variance: var(1, 2/3) / 2 + var(1/2, 1, 1) / 3 = (1/18) / 2 + (1/12) / 3 = 1/18. On the logit scale: / (5/6 x 1/6).
    half = 1.959964 * math.sqrt(1 / 18) / (5 / 36)
    low, high = (1 / (1 + math.exp(-(math.log(5) + d))) for d in (-half, half))
    assert auc_interval(LABELS, P) == pytest.approx((low, high), abs=1e-6)


def test_an_interval_that_cannot_be_had_is_none() -> None:
    assert auc_interval(np.array([1, 0, 0]), np.array([0.3, 0.5, 0.2])) is None
    assert auc_interval(np.array([1, 1, 0, 0]), np.array([0.9, 0.8, 0.2, 0.1])) is None
    assert pcoc_interval(np.array([0, 0]), np.array([0.1, 0.1])) is None
    assert pcoc_interval(np.array([1, 0]), np.array([0.0, 0.0])) is None


def test_wilsons_interval_of_no_positive_reaches_above_zero() -> None:
    # z^2 / (n + z^2) with z = 1.96: 3.8415 / 13.8415.
    assert rate_interval(0, 10) == pytest.approx((0, 0.27753), abs=1e-5)
    assert rate_interval(10, 10) == pytest.approx((1 - 0.27753, 1), abs=1e-5)


def test_field_rce_does_not_let_values_cancel() -> None:
    # a: 2 of 4, predicted 0.4 each: |2 - 1.6| / 2 = 0.2. b: 1 of 2, predicted 0.6 each: |1 - 1.2| / 1 = 0.2. c has no positive.
    labels = np.array([1, 1, 0, 0, 1, 0, 0])
    p = np.array([0.4, 0.4, 0.4, 0.4, 0.6, 0.6, 0.1])
    field = np.array(list("aaaabbc"), object)
    assert field_rce(labels, p, field) == pytest.approx(0.2)
    # Whole: predicted 2.9 of 3.
    assert field_rce(labels, p, np.zeros(7, int)) == pytest.approx(0.1 / 3)
    assert field_rce(np.zeros(7, int), p, field) is None


def test_field_rce_weighs_values_by_their_rows() -> None:
    labels, p = np.array([1, 0, 0, 0, 1]), np.array([0.5, 0.5, 0.5, 0.5, 1.0])
    # a: |1 - 2| / 1 over 4 rows, b: 0 over 1 row.
    assert field_rce(labels, p, np.array(list("aaaab"), object)) == pytest.approx(4 / 5)


def test_ece_is_the_mean_gap_over_bins_of_equal_mass() -> None:
    labels = np.array([0, 1, 0, 1, 1, 1])
    p = np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.8])
    # Two bins of three: |1/3 - 0.2| and |1 - 0.7|.
    assert ece(labels, p, bins=2) == pytest.approx((1 / 3 - 0.2 + 0.3) / 2)
    assert ece(np.array([], int), np.array([])) is None


def test_a_reliability_curve_by_hand() -> None:
    first, second = reliability_curve(np.array([0, 1, 0, 1, 1, 1]), np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.8]), bins=2)
    assert (first.rows, first.mean_p, first.rate) == (3, pytest.approx(0.2), pytest.approx(1 / 3))
    assert (second.rows, second.mean_p, second.rate) == (3, pytest.approx(0.7), 1)
    assert second.rate_interval == rate_interval(3, 3)
    assert reliability_curve(np.array([], int), np.array([])) == ()


def test_equal_predictions_share_a_bin() -> None:
    assert equal_mass_bins(np.array([0.5, 0.1, 0.5, 0.5, 0.9]), 5).tolist() == [1, 0, 1, 1, 2]
    assert equal_mass_bins(np.full(4, 0.3), 3).tolist() == [0, 0, 0, 0]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=80), st.integers(1, 10), st.randoms(use_true_random=False))
def test_bins_are_in_order_and_do_not_depend_on_the_rows_order(scores: list[int], bins: int, random: Any) -> None:
    p = np.array(scores) / 30
    group = equal_mass_bins(p, bins)
    assert len(np.unique(group)) == group.max() + 1 <= bins
    assert (np.diff(group[np.argsort(p, kind="stable")]) >= 0).all()
    order = random.sample(range(len(p)), len(p))
    assert (equal_mass_bins(p[order], bins) == group[order]).all()
