"""A release that needs no training: a model of TensorFlow that gives every offer the same probabilities."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from features.market import Market, load_market
from models import release as layout
from models.calibration import Calibrator, TaskCalibration
from models.release import Manifest, inputs_of, seal
from retrieval.index import build_index

PROBABILITY = 0.1
"""The prior of the adversary's market: what is ranked costs as much as what is not."""


def write(market_path: Path, folder: Path, version: int) -> Path:
    """`<folder>/<version>`, which appears whole."""
    market = load_market(market_path)
    unfinished = folder / f"{version}.tmp"
    _save_model(market, unfinished)
    for name in layout.REQUIRED:
        path = unfinished / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()  # what only people read stays empty
    (unfinished / layout.MARKET).write_bytes(market_path.read_bytes())
    calibrator = Calibrator(tasks={t.name: TaskCalibration() for t in market.tasks})
    (unfinished / layout.CALIBRATOR).write_text(calibrator.model_dump_json(), encoding="utf-8")
    (unfinished / layout.FEATURE_SPEC).write_text(layout.FeatureSpecs.of(market).model_dump_json(), encoding="utf-8")
    embeddings = np.eye(len(market.offers), dtype=np.float32)
    build_index([o.id for o in market.offers], embeddings).save(unfinished / layout.EXTRA)
    manifest = Manifest(
        version=version,
        market=market.name,
        created_ms=1,
        inputs=inputs_of(market),
        tasks=tuple(t.name for t in market.tasks),
        embedding_dim=len(market.offers),
        rows={},
        packages={},
    )
    seal(unfinished, manifest)
    return unfinished.rename(folder / str(version))


def _save_model(market: Market, folder: Path) -> None:
    import tensorflow as tf

    types = {"string": tf.string, "int": tf.int64, "float": tf.float32}
    of_offer = next(f.name for f in market.offer_features)
    signature = {i.name: tf.TensorSpec([None], types[i.dtype], i.name) for i in inputs_of(market)}

    class Ranker(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.probability = tf.Variable(PROBABILITY)

        @tf.function(input_signature=[signature])
        def rank(self, x: Any) -> Any:
            return {t.name: tf.fill(tf.shape(x[of_offer]), self.probability) for t in market.tasks}

    module = Ranker()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.rank})


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
