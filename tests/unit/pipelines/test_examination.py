"""The curve of a release is what the tower has learned, read through the model's own signature."""

from typing import Any

import numpy as np
from small_market import market_of

from features.market import Market
from models.legacy_keras import tf
from models.release import EXAMINATION
from pipelines.examination import curve_of

FEATURES = [
    {"name": "device", "source": "shopper", "default": "phone", "vocabulary": ["phone", "desktop"]},
    {"name": "tabs", "source": "context", "dtype": "int", "missing": "own", "vocabulary": [1, 2]},
    {"name": "offer_id", "source": "offer", "default": "", "vocabulary": ["o"]},
]
CLICKS = [{"name": "ctr", "label": "click"}]
Log = tuple[float, ...]


def market(slots: int, **model: Any) -> Market:
    return market_of(FEATURES, CLICKS, slots, model)


def tower(position: Log, **by_value: dict[Any, Log]) -> Any:
    """The signature of a model that learned these logarithms, which add up."""

    def evaluate(**raw: Any) -> dict[str, Any]:
        at = np.minimum(raw["position"].numpy(), len(position) - 1)
        log_e = np.array(position)[at]
        for name, learned in by_value.items():
            log_e += [learned[v][k] if v in learned else 0.0 for k, v in zip(at, raw[name].numpy().tolist(), strict=True)]
        return {EXAMINATION: tf.constant(np.exp(log_e), tf.float32)}

    return evaluate


def test_the_curve_is_what_the_tower_says_by_position_and_by_each_feature() -> None:
    learned = tower(
        (0.0, np.log(0.6), np.log(0.4)),
        device={b"phone": (0.0, np.log(0.5), np.log(0.5)), b"desktop": (0.0, 0.0, np.log(0.9))},
        tabs={1: (0.0, 0.0, 0.0), 2: (0.0, np.log(0.8), 0.0)},
    )
    curve = curve_of(learned, market(3, bias={"features": ["device", "tabs"]}))
    for device, tabs, expected in [
        ("phone", None, [1.0, 0.3, 0.2]),
        ("phone", 2, [1.0, 0.24, 0.2]),
        ("desktop", 1, [1.0, 0.6, 0.36]),
        ("fridge", 9, [1.0, 0.6, 0.4]),
    ]:
        np.testing.assert_allclose(curve.at(3, {"device": device, "tabs": tabs}), expected, atol=1e-5)


def test_positions_that_the_tower_never_saw_are_as_the_last_one_it_did_see() -> None:
    curve = curve_of(tower((0.0, np.log(0.5), 0.0, np.log(0.25), 0.0)), market(5, bias={}))
    assert curve.seen == (1.0, 0.5, 0.5, 0.25)
    assert curve.at(5, {}).tolist() == [1.0, 0.5, 0.5, 0.25, 0.25]


def test_a_model_that_learned_nothing_of_positions_has_no_curve() -> None:
    assert curve_of(tower((0.0, np.log(0.5))), market(2)) is None
    assert curve_of(tower((0.0, 0.0)), market(2, bias={"features": ["device"]})) is None


def test_what_no_page_looks_like_is_cut_so_that_the_release_can_be_loaded() -> None:
    curve = curve_of(tower((0.0, -30.0, 30.0)), market(3, bias={}))
    assert curve.seen == (1.0, 0.001, 10.0)
