"""Rows of a split as columns, and what a SavedModel makes of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.market import Market
from features.model_spec import TaskSpec
from models.legacy_keras import tf
from models.release import raw_column
from pipelines.examples_io import BATCH_ROWS, read_split

Columns = dict[str, NDArray[Any]]


def read_columns(market: Market, examples_uri: str, split: str) -> Columns:
    """All rows of a split: features and labels by name; text as str."""
    batches = [
        {name: tensor.numpy() for name, tensor in {**features, **labels}.items()}
        for features, labels in read_split(examples_uri, split, market)
    ]
    columns = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
    for f in market.features:
        if f.dtype == "string":
            columns[f.name] = np.vectorize(bytes.decode, otypes=[object])(columns[f.name])
    return columns


def load_ranker(saved_model: str) -> Any:
    """The function that serving calls."""
    return tf.saved_model.load(saved_model).signatures["serving_default"]


def score(market: Market, rank: Any, rows: Columns) -> Columns:
    """`raw.<task>` -> [N], the model's own probabilities."""
    batches = []
    for start in range(0, len(rows[market.tasks[0].label]), BATCH_ROWS):
        inputs = {f.name: tf.constant(rows[f.name][start : start + BATCH_ROWS]) for f in market.features}
        batches.append({raw_column(task): p.numpy() for task, p in rank(**inputs).items()})
    return {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}


def counting(task: TaskSpec, rows: Columns) -> NDArray[np.bool_]:
    """[N], whether a row counts for the task."""
    return rows[task.given] == 1 if task.given else np.ones(len(rows[task.label]), bool)
