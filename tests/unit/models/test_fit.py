"""Where a fit starts, and how it goes on from there."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_market import market_of

from features.market import Market
from models.fit import Rows, fit_ranker, fit_towers, new_ranker
from models.metrics import log_loss
from models.preprocessing import Encoding, Group
from models.progressive import ProgressivePass

ENCODING = Encoding(Group((("device:id", 3),), ()), Group((("offer_id:id", 3),), ()))
CTR = {"name": "ctr", "label": "click"}
CVR = {"name": "cvr", "label": "conversion", "given": "click", "space": "entire"}


FEATURES = [
    {"name": "device", "source": "shopper", "default": "a", "vocabulary": ["a", "b"]},
    {"name": "offer_id", "source": "offer", "default": "", "vocabulary": ["a", "b"]},
]


def market(tasks: list[dict[str, Any]], **model: Any) -> Market:
    return market_of(FEATURES, tasks, 3, {"hidden_units": [8], "embedding_dim": 2, "expert_units": 4, "batch_size": 50} | model)


def rows(click: np.ndarray, conversion: np.ndarray | None = None) -> Rows:
    """Rows of offer 0 with even numbers, of offer 1 with odd ones."""
    n = len(click)
    numbers = np.zeros((n, 0), np.float32)
    inputs = {
        "request_ids": np.zeros((n, 1), np.int32),
        "request_numbers": numbers,
        "offer_ids": (np.arange(n, dtype=np.int32) % 2)[:, None],
        "offer_numbers": numbers,
    }
    labels = {
        "click": click.astype(np.float32),
        "conversion": (np.zeros(n) if conversion is None else conversion).astype(np.float32),
    }
    return Rows(inputs, labels)


def test_an_entire_space_task_starts_at_the_rate_of_its_condition() -> None:
    click, conversion = np.arange(1000) % 5 == 0, np.arange(1000) % 20 == 0
    train = rows(click, conversion)
    p = np.asarray(new_ranker(market([CTR, CVR]), ENCODING, train).probabilities(train.inputs)).mean(axis=0)
    # A fifth is clicked, and a quarter of that, not a twentieth, converts; embeddings start near 0, and with them all else.
    assert p == pytest.approx([0.2, 0.25], rel=0.1)


def test_rows_whose_label_is_not_final_teach_nothing() -> None:
    # Of the final half two fifths are clicked; of the others none is so far.
    n = np.arange(2000)
    final, click = n % 4 < 2, (n % 4 < 2) & (n % 5 < 2)
    known = rows(click)
    spec = market([CTR], epochs=8, learning_rate=0.02)
    for weights, rate in (({"ctr": final.astype(np.float32)}, 0.4), ({}, 0.2)):
        train = replace(known, weights=weights)
        ensemble, _ = fit_ranker(spec, ENCODING, train, train, lambda progress: None)
        assert np.asarray(ensemble.probabilities(known.inputs)).mean() == pytest.approx(rate, abs=0.03)


def test_towers_stay_where_they_start_without_a_click_that_counts() -> None:
    train = rows(np.arange(100) % 5 == 0)
    started: list[np.ndarray] = []
    unused = replace(train, weights={"ctr": np.zeros(100, np.float32)})
    towers = fit_towers(market([CTR]), ENCODING, unused, print, lambda model: started.extend(model.get_weights()))
    assert len(started) > 2
    for before, after in zip(started, towers.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_pass_over_new_rows_goes_on_from_the_fit() -> None:
    even = np.arange(2000) % 2 == 0
    clicked_if_even, clicked_if_odd = rows(even), rows(~even)
    asked = clicked_if_even.inputs
    spec = market([CTR], members=2, epochs=3, learning_rate=0.02)
    ensemble, _ = fit_ranker(spec, ENCODING, clicked_if_even, clicked_if_even, lambda progress: None)
    before = np.asarray(ensemble.probabilities(asked))[:, 0]
    assert before[even].mean() > 0.9 > 0.1 > before[~even].mean()
    ProgressivePass(spec, ensemble)(clicked_if_odd, np.arange(2000), lambda progress: None)
    after = np.asarray(ensemble.probabilities(asked))[:, 0]
    losses = [log_loss((~even).astype(np.int64), p) for p in (before, after)]
    assert losses[0] is not None
    assert losses[1] is not None
    assert losses[1] < 0.5 * losses[0]
