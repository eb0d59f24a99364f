import numpy as np
import pytest

from models.importance import auc_lost, draw
from models.metrics import auc


def test_rare_rows_are_all_drawn_and_the_others_weighed_by_what_they_stand_for() -> None:
    strata = np.array([0] * 9_000 + [1] * 900 + [2] * 6)
    rows, weight = draw(strata, 1_000, np.random.default_rng(1))
    drawn = np.unique(strata[rows], return_counts=True)[1]
    # The six, then half each of the 994 that are left.
    assert drawn.tolist() == [497, 497, 6]
    assert [float(weight[strata[rows] == s].sum()) for s in (0, 1, 2)] == pytest.approx([9_000, 900, 6])
    everything, alone = draw(strata, 20_000, np.random.default_rng(1))
    assert len(everything) == len(strata)
    assert set(alone.tolist()) == {1}


def test_what_is_lost_is_the_difference_of_two_aucs() -> None:
    rng = np.random.default_rng(2)
    labels = (rng.random(500) < 0.3).astype(np.int64)
    before, after = np.round(rng.normal(labels, 1), 1), np.round(rng.normal(0.5 * labels, 1), 1)  # with ties
    found = auc_lost(labels, before, after, np.ones(500))
    one, other = auc(labels, before), auc(labels, after)
    assert found is not None
    assert one is not None
    assert other is not None
    assert found[0] == pytest.approx(one - other)


def test_a_row_of_weight_two_counts_as_two_rows() -> None:
    labels, before, after = np.array([1, 0, 1, 0, 0]), np.array([0.9, 0.8, 0.7, 0.4, 0.1]), np.array([0.1, 0.8, 0.2, 0.4, 0.9])
    weight = np.array([1, 2, 1, 1, 3])
    found = auc_lost(labels, before, after, weight.astype(np.float64))
    told = auc_lost(*(np.repeat(x, weight) for x in (labels, before, after)), np.ones(8), np.repeat(np.arange(5), weight))
    assert found is not None
    assert told is not None
    assert found[0] == pytest.approx(told[0])
    assert found[1] == pytest.approx(told[1])


def test_of_one_label_or_one_shopper_there_is_little_to_tell() -> None:
    p = np.array([0.2, 0.4])
    assert auc_lost(np.array([1, 1]), p, p, np.ones(2)) is None
    assert auc_lost(np.array([1, 0]), p, p, np.ones(2), np.zeros(2, np.int64)) == (0, None)


def test_intervals_are_as_wide_as_draws_differ_and_these_are_right_on_average() -> None:
    # 300 draws of some 500 positives and 1,500 of 39,500 others: their standard deviation is known to 4 %.
    rng = np.random.default_rng(3)

    def rows(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        labels = (rng.random(n) < 0.0125).astype(np.int64)
        signal = rng.normal(labels, 1)
        return labels, signal + rng.normal(0, 0.3, n), rng.normal(0, 1, n) + 0.5 * signal

    whole = auc_lost(*rows(1_000_000), np.ones(1_000_000))
    assert whole is not None
    lost, half = np.zeros(300), np.zeros(300)
    for i in range(300):
        labels, before, after = rows(40_000)
        chosen, weight = draw(labels, 2_000, rng)
        found = auc_lost(labels[chosen], before[chosen], after[chosen], weight)
        assert found is not None
        assert found[1] is not None
        lost[i], half[i] = found[0], (found[1].high - found[1].low) / 2
    assert half.mean() / 1.96 == pytest.approx(lost.std(), rel=0.12)
    assert lost.mean() == pytest.approx(whole[0], abs=0.01)
