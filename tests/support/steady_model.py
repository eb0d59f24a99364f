"""A release of the market of `log_entries` whose model is a formula."""

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from features.market import Market
from models import release
from models.calibration import Calibrator, TaskCalibration
from models.release import Manifest


def save_model(target: Path) -> None:
    """logit(pctr) = 0.02 amount - 2, pcvr = 0.3."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own imports
        from models.legacy_keras import tf
    columns = {"country": tf.string, "amount": tf.float32, "past_clicks": tf.int64, "brand": tf.string}

    def rank(**raw: object) -> dict[str, object]:
        amount = raw["amount"]
        return {"ctr": tf.sigmoid(0.02 * amount - 2), "cvr": tf.fill(tf.shape(amount), 0.3)}

    def evaluate(position: object, **raw: object) -> dict[str, object]:
        return rank(**raw) | {release.EXAMINATION: tf.ones(tf.shape(position))}

    tensors = {n: tf.TensorSpec([None], d, name=n) for n, d in columns.items()}
    module = tf.Module()
    module.called = {
        "serving_default": tf.function(rank).get_concrete_function(**tensors),
        "evaluate": tf.function(evaluate).get_concrete_function(
            position=tf.TensorSpec([None], tf.int64, name="position"), **tensors
        ),
    }
    tf.saved_model.save(module, str(target), signatures=module.called)


def seal_release(releases: Path, model: Path, market: Market, version: int, **origin: Any) -> Path:
    """A release whose calibrator changes nothing.

    Args:
      model: as `save_model` wrote it.
      origin: what the release has learned from; of none it is not known.
    """
    made = releases / str(version)
    for name in (*release.REQUIRED, release.WEIGHTS):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(name.encode())
    shutil.copytree(model, made, dirs_exist_ok=True)
    specs = release.FeatureSpecs.of(market)
    (made / release.FEATURE_SPEC).write_text(specs.model_dump_json())
    (made / release.CALIBRATOR).write_text(Calibrator(tasks={t.name: TaskCalibration() for t in market.tasks}).model_dump_json())
    np.savez(made / release.OFFERS, ids=np.array([o.id for o in market.offers]))
    manifest = Manifest(
        **{"rows": {"train": 1}} | origin,
        version=version,
        market=market.name,
        created_ms=1,
        inputs=release.inputs_of(market),
        tasks=tuple(t.name for t in market.tasks),
        embedding_dim=2,
        packages={},
    )
    release.seal(made, manifest)
    return made
