"""Importance weights make the loss of hourly rows, labelled too early, that of the final labels in expectation."""

import numpy as np
import pytest

from domain.errors import ContractError
from models.delay import importance_weights, stream

HOUR_S = 3600.0


def test_a_click_enters_at_the_end_of_its_hour_and_again_when_it_converts() -> None:
    inf = float("inf")
    click_s = np.array([0.0, 600.0, 1800.0, 3600.0, 3000.0])
    delay_s = np.array([60.0, 3600.0, inf, 1800.0, 9000.0])
    # Converted at 60 s, 4,200 s, never, 5,400 s and 12,000 s.
    first, second, third, fourth = (stream(click_s, delay_s, hour * HOUR_S, HOUR_S) for hour in range(4))
    assert (first.rows.tolist(), first.converted.tolist()) == ([0, 1, 2, 4], [True, False, False, False])
    assert first.elapsed_s.tolist() == [3600.0, 3000.0, 1800.0, 600.0]
    assert (second.rows.tolist(), second.converted.tolist()) == ([3, 1], [True, True])
    assert second.elapsed_s.tolist() == [3600.0, 3000.0], "a late one keeps the elapsed time it first entered with"
    assert third.rows.tolist() == []
    assert (fourth.rows.tolist(), fourth.converted.tolist()) == ([4], [True])


def test_the_weighted_stream_has_the_rate_of_the_final_labels() -> None:
    # 1,000,000 clicks of one kind: 30 % convert, with exponential delays of mean two hours; each enters after one hour.
    rng = np.random.default_rng(1)
    n, cvr, elapsed_h, mean_h = 1_000_000, 0.3, 1.0, 2.0
    delay_h = np.where(rng.random(n) < cvr, rng.exponential(mean_h, n), np.inf)
    later = cvr * np.exp(-elapsed_h / mean_h)
    p_dp, p_rn = later, (1 - cvr) / (1 - cvr + later)
    late = np.isfinite(delay_h) & (delay_h > elapsed_h)
    converted = np.concatenate([delay_h <= elapsed_h, np.ones(late.sum(), bool)])
    weights = importance_weights(converted, np.full(len(converted), p_dp), np.full(len(converted), p_rn))
    # E[w y] / E[w] is where the weighted log loss has its minimum; unweighted the duplicates make it cvr / (1 + p_dp) = 0.254.
    assert np.average(converted, weights=weights) == pytest.approx(cvr, abs=0.002)
    assert converted.mean() == pytest.approx(cvr / (1 + later), abs=0.002)


def test_without_delay_every_row_counts_once() -> None:
    converted = np.array([True, False])
    assert importance_weights(converted, np.zeros(2), np.ones(2)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("p", [np.array([0.5]), np.array([0.5, 1.5]), np.array([0.5, float("nan")])])
def test_what_is_no_probability_is_refused(p: np.ndarray) -> None:
    with pytest.raises(ContractError, match=r"real_negative: expected \[2\] probabilities"):
        importance_weights(np.array([True, False]), np.zeros(2), p)
