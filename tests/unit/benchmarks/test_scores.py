"""What a study says of its models follows from the truth it was given."""

import numpy as np
import pytest

from benchmarks.studies.scores import Score, beats, judged, pcoc_by_decile

TRUTH = np.linspace(0.01, 0.5, 1000)


def test_the_truth_itself_has_no_excess() -> None:
    entropy = -np.mean(TRUTH * np.log(TRUTH) + (1 - TRUTH) * np.log(1 - TRUTH))
    assert judged("shown", TRUTH, TRUTH) == {
        "log loss, shown": pytest.approx(entropy),
        "excess, shown": 0,
        "PCOC, shown": 1,
    }


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_whatever_is_not_the_truth_has_a_higher_log_loss_than_it(factor: float) -> None:
    found = judged("shown", TRUTH, factor * TRUTH)
    assert found["excess, shown"] > 1
    assert found["PCOC, shown"] == pytest.approx(factor)


def test_deciles_are_in_the_order_of_what_they_are_by() -> None:
    order = np.random.default_rng(1).permutation(1000)
    p = TRUTH * np.where(order < 100, 1.5, np.where(order >= 900, 0.5, 1))
    assert pcoc_by_decile(order.astype(float), TRUTH, p) == pytest.approx([1.5, *[1] * 8, 0.5])


def test_a_claim_is_borne_out_by_the_mean_over_the_same_seeds() -> None:
    scores = [Score("ours", seed, {"excess": value}) for seed, value in enumerate((1.0, 2.0, 6.0))]
    scores += [Score("theirs", seed, {"excess": 4.0}) for seed in range(3)]
    assert beats(scores, "ours", "theirs", "excess") == (
        "'ours' below 'theirs' in excess: is borne out; lower by 1 on average, in 2 of 3 seeds"
    )
    assert "is NOT borne out; lower by -1 on average, in 1 of 3 seeds" in beats(scores, "theirs", "ours", "excess")
