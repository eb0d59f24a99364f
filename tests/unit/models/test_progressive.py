"""Judge, then learn: what a pass says of a row is what the model said before it had learned from it, or from its page."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from small_market import RAW

from features.market import Market, parse_market

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own imports
    from models.fit import Rows, fit_ranker, fit_towers
    from models.preprocessing import Encoding, Group
    from models.progress import FitProgress
    from models.progressive import ProgressivePass, log_losses, page_ends, score
    from models.ranker import Ensemble
    from models.recall import ahead, learn_new_clicks

NETWORK = {
    "epochs": 2,
    "batch_size": 64,
    "hidden_units": [8],
    "learning_rate": 0.02,
    "dropout": 0.0,
    "members": 2,
    "tower_epochs": 4,
}
BRANDS = 12
ENCODING = Encoding(Group((("city:id", 4),), ()), Group((("brand:id", BRANDS + 1),), ()))


def silent(progress: FitProgress) -> None:
    del progress


@pytest.fixture(scope="module")
def market() -> Market:
    return parse_market(RAW | {"model": NETWORK})


def rows_of(n: int, seed: int, rate: Any) -> Rows:
    rng = np.random.default_rng(seed)
    city, brand = rng.integers(0, 3, n), rng.integers(0, BRANDS, n)
    inputs = {
        "request_ids": city[:, None].astype(np.int32),
        "request_numbers": np.zeros((n, 0), np.float32),
        "offer_ids": brand[:, None].astype(np.int32),
        "offer_numbers": np.zeros((n, 0), np.float32),
    }
    return Rows(inputs, {"click": (rng.random(n) < np.broadcast_to(rate, BRANDS)[brand]).astype(np.float32)})


@pytest.fixture(scope="module")
def learned(market: Market) -> tuple[Ensemble, ProgressivePass]:
    rows = rows_of(600, 1, 0.5)
    ensemble = fit_ranker(market, ENCODING, rows, rows, silent)[0]
    return ensemble, ProgressivePass(market, ensemble)


@pytest.fixture
def fitted(learned: tuple[Ensemble, ProgressivePass]) -> Iterator[tuple[Ensemble, ProgressivePass]]:
    """As it was fitted, the state of its optimizers included, whatever the test before has taught it."""
    state = [variable for member in learned[0].members for variable in (*member.variables, *member.optimizer.variables)]
    before = [variable.numpy() for variable in state]
    yield learned
    for variable, value in zip(state, before, strict=True):
        variable.assign(value)


def test_batches_are_whole_pages() -> None:
    # Pages of 3, 3, 1, 4 and 2 rows, in batches of 4: two pages make 6, one and four make 5, and what is left is 2.
    pages = np.repeat([7, 8, 9, 10, 11], [3, 3, 1, 4, 2])
    assert page_ends(pages, 4) == [6, 11, 13]
    assert page_ends(pages, 1) == [3, 6, 7, 11, 13]
    assert page_ends(pages, 100) == [13]
    assert page_ends(pages[:0], 4) == []


def test_the_first_batch_is_scored_by_the_model_as_it_came_and_the_last_by_one_that_has_learned(
    market: Market, fitted: tuple[Ensemble, ProgressivePass]
) -> None:
    rows = rows_of(640, 2, 0.05)
    ensemble, learn = fitted
    before = score(ensemble, rows)
    scores, epoch = learn(rows, np.arange(640), silent)
    np.testing.assert_allclose(scores.p[:64], before.p[:64], rtol=1e-5)
    # The rate has fallen from one half to one in twenty: each batch brings the next one nearer.
    assert before.p.mean() == pytest.approx(0.5, abs=0.1)
    assert scores.p[-64:].mean() < before.p[-64:].mean() - 0.05
    assert score(ensemble, rows).p.mean() < scores.p.mean()
    np.testing.assert_array_equal(scores.examination, 1)
    assert epoch.valid_loss == log_losses(market, rows, scores)
    assert epoch.valid_loss["ctr"] < log_losses(market, rows, before)["ctr"]


def test_what_a_page_brings_is_not_known_while_it_is_judged(market: Market, fitted: tuple[Ensemble, ProgressivePass]) -> None:
    """One long page: all of it is scored before any of it is learned."""
    rows = rows_of(200, 3, 0.05)
    ensemble, learn = fitted
    before = score(ensemble, rows)
    scores, _ = learn(rows, np.zeros(200, np.int64), silent)
    np.testing.assert_allclose(scores.p, before.p, rtol=1e-5)
    assert np.abs(score(ensemble, rows).p - before.p).max() > 1e-4


def test_labels_that_are_not_final_are_scored_and_teach_nothing(market: Market, fitted: tuple[Ensemble, ProgressivePass]) -> None:
    rows = rows_of(200, 4, 0.05)
    rows.weights["ctr"] = np.zeros(200, np.float32)
    ensemble, learn = fitted
    before = score(ensemble, rows)
    scores, epoch = learn(rows, np.arange(200), silent)
    # Adam moves on a little, with the momentum of what it has learned before.
    np.testing.assert_allclose(scores.p, before.p, atol=0.1)
    assert epoch.valid_loss == {"ctr": 0.0}


def test_a_pass_goes_on_where_the_last_one_ended(fitted: tuple[Ensemble, ProgressivePass]) -> None:
    """Two passes over two halves are one over both, the optimizers' state included."""
    ensemble, learn = fitted
    rows = rows_of(256, 5, 0.2)
    state = [variable for member in ensemble.members for variable in (*member.variables, *member.optimizer.variables)]
    before = [variable.numpy() for variable in state]
    whole, _ = learn(rows, np.arange(256), silent)
    for variable, value in zip(state, before, strict=True):
        variable.assign(value)
    halves = [learn(rows.take(np.arange(*half)), np.arange(*half), silent)[0].p for half in ((0, 128), (128, 256))]
    np.testing.assert_allclose(np.concatenate(halves), whole.p, atol=1e-6)


def test_towers_are_judged_part_by_part_while_they_learn(market: Market) -> None:
    rows = rows_of(600, 1, 0.5)
    towers = fit_towers(market, ENCODING, rows, silent)
    # From now on the first brand alone is clicked.
    new = rows_of(1200, 7, [0.9, *[0.0] * (BRANDS - 1)])
    wanted = new.labels["click"] == 1
    catalogue = {"ids": np.arange(BRANDS, dtype=np.int32)[:, None], "numbers": np.zeros((BRANDS, 0), np.float32)}
    before = ahead(towers, new, wanted, catalogue)
    judged, told = learn_new_clicks(market, towers, new, wanted, catalogue, silent)
    assert ((judged >= 0) == wanted).all()
    assert judged.max() < BRANDS
    # The first quarter is judged by the towers as they came, and learned before the others are judged.
    np.testing.assert_array_equal(judged[:300], before[:300])
    assert (told.at, told.clicks) == (10, int(wanted.sum()))
    assert told.before == np.mean(before[wanted] < 10)
    assert told.judged == np.mean(judged[wanted] < 10)
    assert told.after is not None
    assert told.after >= told.before
    nothing, untold = learn_new_clicks(market, towers, new, ~wanted & wanted, catalogue, silent)
    assert set(nothing.tolist()) == {-1}
    assert untold.before is None
