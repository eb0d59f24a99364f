"""The network that says what a conversion is worth."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_market import market_of

from features.market import Market
from models.legacy_keras import tf
from models.preprocessing import Encoding, Group
from models.value import MOST_LOG, Sold, fit_value, learn_values, resume_value, tweedie_loss, value_micros
from models.value_metrics import tweedie_deviance
from models.warm_start import carry_over, load_weights, save_weights

ENCODING = Encoding(Group((("device:id", 3),), ()), Group((("offer_id:id", 3),), ()))
FEATURES = [
    {"name": "device", "source": "shopper", "default": "a", "vocabulary": ["a", "b"]},
    {"name": "offer_id", "source": "offer", "default": "", "vocabulary": ["a", "b"]},
]
TASKS = [{"name": "ctr", "label": "click"}, {"name": "cvr", "label": "conversion", "given": "click"}]
MEANS = np.array([20e6, 80e6])
"""Of offer 0 and 1, in micros."""


def market(**model: Any) -> Market:
    network = {"hidden_units": [8], "embedding_dim": 2, "batch_size": 512, "learning_rate": 0.02, "epochs": 20, "dropout": 0}
    return market_of(FEATURES, TASKS, 1, network | model)


def sold(rows: int, seed: int, returned: float = 0.0) -> Sold:
    """Baskets with a heavy tail, a share of which was returned, and so is worth 0."""
    rng = np.random.default_rng(seed)
    offer = rng.integers(0, 2, rows)
    micros = MEANS[offer] * rng.lognormal(-0.5, 1, rows) * (rng.random(rows) >= returned) / (1 - returned)
    numbers = np.zeros((rows, 0), np.float32)
    inputs = {
        "request_ids": np.zeros((rows, 1), np.int32),
        "request_numbers": numbers,
        "offer_ids": offer.astype(np.int32)[:, None],
        "offer_numbers": numbers,
    }
    return Sold(inputs, micros.astype(np.int64))


def of_offers(network: Any) -> Any:
    two = {name: x[:2] for name, x in sold(2, 0).inputs.items()} | {"offer_ids": np.array([[0], [1]], np.int32)}
    return value_micros(network, two)


def nothing(told: object) -> None:
    """Nobody is told."""


def test_the_loss_is_half_the_deviance_but_for_what_depends_on_the_value_alone() -> None:
    y, v = np.array([0.0, 0.3, 1.0, 7.0]), np.array([2.0, 0.3, 5.0, 0.1])
    loss = tweedie_loss(tf.constant(y), tf.constant(np.log(v))).numpy()
    assert loss - 4 * np.sqrt(y) == pytest.approx(tweedie_deviance(y, v) / 2)


def test_the_loss_is_least_at_the_mean_whatever_the_distribution() -> None:
    y = np.array([0.0, 0.0, 1.0, 2.0, 97.0])
    log_v = tf.Variable(np.log(y.mean()))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tweedie_loss(tf.constant(y), log_v))
    assert float(tape.gradient(loss, log_v)) == pytest.approx(0, abs=1e-12)
    for other in (0.9, 1.1):
        assert float(tf.reduce_mean(tweedie_loss(tf.constant(y), log_v + np.log(other)))) > float(loss)


def test_it_learns_the_mean_of_each_offer_though_a_part_is_returned() -> None:
    network = fit_value(market(), ENCODING, sold(4000, 1, returned=0.3), sold(1000, 2, returned=0.3), nothing)
    # Lognormal with sigma 1: a standard error of 1.3 (and more by returns) / sqrt(2000) = 4 %.
    assert of_offers(network) == pytest.approx(MEANS, rel=0.15)


def test_a_few_conversions_are_read_in_small_batches_and_no_prediction_is_beyond_a_thousand_times_the_mean() -> None:
    few = sold(40, 3)
    few.micros[:] = np.where(few.inputs["offer_ids"][:, 0] == 1, 10**15, 1)
    network = fit_value(market(epochs=20), ENCODING, few, few, nothing)
    low, high = of_offers(network)
    assert low < high
    mean = few.micros.mean()
    assert mean * np.exp(-MOST_LOG) * 0.999 <= low
    assert high <= mean * np.exp(MOST_LOG) * 1.001


def test_without_conversions_to_judge_by_it_makes_one_pass() -> None:
    told: list[Any] = []
    fit_value(market(), ENCODING, sold(400, 1), sold(0, 1), told.append)
    assert [(t.model, t.epochs) for t in told] == [("value", 1)]


def test_it_goes_on_from_where_it_was_and_learns_what_has_changed(tmp_path: Path) -> None:
    spec = market()
    first = fit_value(spec, ENCODING, sold(2000, 1), sold(500, 2), nothing)
    save_weights(tmp_path / "weights.npz", [first])
    weights, tables = load_weights(tmp_path / "weights.npz"), [(g, np.arange(3)) for g in ENCODING.groups.values()]
    new = sold(2000, 5)
    later = resume_value(spec, ENCODING, new.inputs, lambda model: carry_over(model, weights, tables))
    before = of_offers(later)
    np.testing.assert_allclose(before, of_offers(first), rtol=1e-6)
    learn_values(spec, later, sold(0, 1))
    np.testing.assert_array_equal(of_offers(later), before)
    learn_values(spec, later, Sold(new.inputs, new.micros * 3))
    assert np.all(of_offers(later) > 1.5 * before)
