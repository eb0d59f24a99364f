import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.metrics import auc, log_loss, normalised_entropy, pcoc

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
