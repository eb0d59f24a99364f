"""A release of the golden market with a model of its own: a few matrices over hashed features, different for each version."""

import warnings
from pathlib import Path

import numpy as np
from whole_release import write_release

from features.market import load_market
from models import release as layout
from models.examination import ExaminationCurve

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

    def save(folder: Path) -> None:
        tf.saved_model.save(module, str(folder), signatures={"serving_default": module.rank})
        (folder / layout.WARMUP).write_bytes(b"")

    write_release(base, version, market_file, load_market(market_file), ExaminationCurve(seen=(1.0, 0.7, 0.5)), save)
