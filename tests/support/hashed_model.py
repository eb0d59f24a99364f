"""A release of the golden market with a model of its own: a few matrices over hashed features, different for each version."""

import warnings
from pathlib import Path

import numpy as np

from features.market import load_market
from models import release as layout
from models.calibration import Calibrator, Platt, TaskCalibration
from models.examination import ExaminationCurve
from models.release import Manifest, inputs_of, seal
from retrieval.index import build_index

COLUMNS = ("country", "visits", "amount", "past_clicks", "category")


def write_hashed_release(base: Path, version: int, market_file: Path) -> None:
    """Whole, beside its folder first, then in one rename."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own imports
        from models.legacy_keras import tf
    rng = np.random.default_rng(version)
    table, dense, out = (tf.constant(rng.normal(0, 0.7, shape).astype(np.float32)) for shape in ((64, 16), (32, 24), (24, 2)))

    def embedded(text: object) -> object:
        return tf.gather(table, tf.strings.to_hash_bucket_fast(text, 64))

    def rank(**raw: object) -> dict[str, object]:
        numbers = [tf.math.log1p(tf.cast(raw[n], tf.float32)) for n in ("visits", "amount", "past_clicks")]
        page = embedded(raw["country"]) + sum(numbers)[:, None]
        offers = embedded(raw["category"])
        rows = tf.concat([tf.broadcast_to(page, tf.shape(offers)), offers], axis=1)
        p = 0.3 * tf.sigmoid(tf.nn.relu(rows @ dense) @ out - 1.0)
        return {"ctr": p[:, 0], "cvr": p[:, 1]}

    types = {"country": tf.string, "category": tf.string, "amount": tf.float32, "visits": tf.int64, "past_clicks": tf.int64}
    module = tf.Module()
    specs = {n: tf.TensorSpec([None], types[n], name=n) for n in COLUMNS}
    module.rank = tf.function(rank).get_concrete_function(**specs)
    folder, market = base / f".{version}", load_market(market_file)
    for name in layout.REQUIRED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"stands for the real one")
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.rank})
    (folder / layout.MARKET).write_bytes(market_file.read_bytes())
    (folder / layout.EVALUATION).write_text("{}")
    (folder / layout.WARMUP).write_bytes(b"")
    calibration = TaskCalibration(curve=Platt(slope=1.1))
    (folder / layout.CALIBRATOR).write_text(Calibrator(tasks={t.name: calibration for t in market.tasks}).model_dump_json())
    (folder / layout.FEATURE_SPEC).write_text(layout.FeatureSpecs.of(market).model_dump_json())
    build_index([o.id for o in market.offers], np.eye(len(market.offers), dtype=np.float32)).save(folder / layout.EXTRA)
    manifest = Manifest(
        version=version,
        market=market.name,
        created_ms=1,
        inputs=inputs_of(market),
        tasks=tuple(t.name for t in market.tasks),
        embedding_dim=len(market.offers),
        rows={"train": 1, "valid": 1, "eval": 1},
        packages={},
        examination=ExaminationCurve(seen=(1.0, 0.7, 0.5)),
    )
    seal(folder, manifest)
    folder.rename(base / str(version))
