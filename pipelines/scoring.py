"""Rows of a split as columns, and what a SavedModel makes of them."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.market import Market
from models.legacy_keras import tf
from models.release import EXAMINATION, raw_column
from pipelines.examples_io import BATCH_ROWS, files_of, read_files

Columns = dict[str, NDArray[Any]]


def read_columns(market: Market, examples_uri: str, split: str) -> Columns:
    """All rows of a split: the features' tensors and labels by name; text as str, in few objects where it repeats itself."""
    text = [f.name for f in market.features if f.dtype == "string"]
    decoded: dict[bytes, str] = {}
    batches: list[Columns] = []
    for features, others in read_files(files_of(examples_uri, split), market):
        for name in text:
            flat = [decoded.setdefault(value, value.decode()) for value in features[name].ravel().tolist()]
            features[name] = np.array(flat, object).reshape(features[name].shape)
        batches.append(features | others)
    return {name: np.concatenate([b.pop(name) for b in batches]) for name in list(batches[0])}


@lru_cache(maxsize=2)
def load_signatures(saved_model: str) -> Mapping[str, Any]:
    """By name, as `models.export` has them; those of a training and of the release in service are loaded once for all components
    of a process."""
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
