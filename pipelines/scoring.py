"""Rows of a split as columns, and what a SavedModel makes of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.market import Market
from models.legacy_keras import tf
from models.release import EXAMINATION, raw_column
from pipelines.examples_io import BATCH_ROWS, read_split

Columns = dict[str, NDArray[Any]]


def read_columns(market: Market, examples_uri: str, split: str) -> Columns:
    """All rows of a split: the features' tensors and labels by name; text as str."""
    batches = [
        {name: tensor.numpy() for name, tensor in {**features, **labels}.items()}
        for features, labels in read_split(examples_uri, split, market)
    ]
    columns = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
    for f in market.features:
        if f.dtype == "string":
            columns[f.name] = np.vectorize(bytes.decode, otypes=[object])(columns[f.name])
    return columns


def load_signatures(saved_model: str) -> Mapping[str, Any]:
    """By name, as `models.export` has them."""
    signatures: Mapping[str, Any] = tf.saved_model.load(saved_model).signatures
    return signatures


def load_ranker(saved_model: str) -> Any:
    """What serving calls, with auxiliary tasks and the examination of positions."""
    return load_signatures(saved_model)["evaluate"]


def score(market: Market, rank: Any, rows: Columns) -> Columns:
    """`raw.<task>` -> [N], the model's own probabilities as served, and `examination`, what the row's position leaves of them."""
    count = len(rows[market.tasks[0].label])
    inputs = {t.name: rows[t.name] for f in market.features for t in f.tensors}
    inputs |= {"position": np.asarray(rows.get("position", np.zeros(count)), np.int64)}
    batches = []
    for start in range(0, count, BATCH_ROWS):
        batch = {name: tf.constant(column[start : start + BATCH_ROWS]) for name, column in inputs.items()}
        batches.append({name: p.numpy() for name, p in rank(**batch).items()})
    found = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
    return {EXAMINATION: found.pop(EXAMINATION)} | {raw_column(task): p for task, p in found.items()}
