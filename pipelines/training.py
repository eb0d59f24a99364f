"""Trainer's entry point: fits the ranker and the towers on Transform's columns, and exports them with Transform's graph."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_transform as tft

from features.market import Market, load_market
from models.export import ServedModel, pack
from models.fit import Rows, fit_ranker, fit_towers
from models.legacy_keras import tf
from models.preprocessing import Encoding, encoding_of
from models.release import HISTORY
from pipelines.examples_io import read_files
from pipelines.progress import tell


def run_fn(fn_args: Any) -> None:
    """Called by TFX with a `tfx.components.trainer.fn_args_utils.FnArgs`."""
    market = load_market(Path(fn_args.custom_config["market"]))
    transformed = tft.TFTransformOutput(fn_args.transform_output)
    encoding = encoding_of(market, transformed)
    transform = transformed.transform_features_layer()
    train = load_rows(market, encoding, transform, fn_args.train_files)
    valid = load_rows(market, encoding, transform, fn_args.eval_files)
    ranker, history = fit_ranker(market, encoding, train, valid, tell)
    towers = fit_towers(market, encoding, train, tell)
    out = Path(fn_args.serving_model_dir)
    ServedModel(market, encoding, transform, ranker, towers).save(out)
    (out / HISTORY).parent.mkdir(exist_ok=True)
    (out / HISTORY).write_text(history.model_dump_json(indent=2) + "\n", encoding="utf-8")


def load_rows(market: Market, encoding: Encoding, transform: Any, patterns: list[str]) -> Rows:
    """All rows of some files, transformed and packed, in an order of their own: Beam's differs from run to run."""
    files = sorted(name for pattern in patterns for name in tf.io.gfile.glob(pattern))
    packed: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for features, other in read_files(files, market):
        packed.append({name: tensor.numpy() for name, tensor in pack(encoding, transform(features)).items()})
        others.append({name: tensor.numpy() for name, tensor in other.items()})
    inputs = {name: np.concatenate([p[name] for p in packed]) for name in packed[0]}
    columns = {name: np.concatenate([o[name] for o in others]) for name in others[0]}
    order = np.lexsort([column for matrix in inputs.values() for column in matrix.T] + list(columns.values()))
    labels = {t.label: columns[t.label][order].astype(np.float32) for t in market.tasks}
    positions = columns["position"][order].astype(np.int32) if "position" in columns else None
    return Rows({name: x[order] for name, x in inputs.items()}, labels, positions)
