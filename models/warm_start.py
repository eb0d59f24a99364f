"""Warm start: a network begins where the release before it ended.

A weight is taken over by its path in the network, such as `ranker/_deep.0.kernel`, where its shape still fits. Rows of the
embedding tables are taken over by vocabulary entry; an entry that is new starts where it was looked up until now, at the
out-of-vocabulary row, or the first of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.embedding import GroupEmbedding
from models.preprocessing import Group

Weights = Mapping[str, NDArray[Any]]


def save_weights(path: Path, models: Iterable[Any]) -> None:
    """Every weight of some networks that have been called, under its path."""
    np.savez(path, **{name: weight.numpy() for model in models for name, weight in _named(model).items()})


def load_weights(path: Path) -> dict[str, NDArray[Any]]:
    """What `save_weights` wrote; TensorFlow-free."""
    with np.load(path, allow_pickle=False) as weights:
        return dict(weights)


def row_sources(before: Group, after: Group, entries: Mapping[str, int]) -> NDArray[np.int64]:
    """[rows after] The row of the former embedding table that each row starts as.

    Args:
      before, after: the same columns; vocabularies may have grown, which leaves the ids of their former entries as they were.
      entries: column -> ids before those beyond its vocabulary: its entries before, and what stands for a missing value.
    """
    sources: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    start = 0
    for (column, was), (_, size) in zip(before.ranges, after.ranges, strict=True):
        known = entries.get(column, was)
        ids = np.concatenate([np.arange(known), np.full(size - was, known), np.arange(known, was)])
        sources.append(start + ids)
        start += was
    return np.concatenate(sources)


def carry_over(model: Any, weights: Weights, tables: Sequence[tuple[Group, NDArray[np.int64]]]) -> tuple[list[str], list[str]]:
    """Overwrites the initial weights of a network that has been called.

    Args:
      tables: groups of the network's encoding, with the `row_sources` of each.
    Returns:
      paths of the weights taken over, and of those that start fresh, since there was none of that path and shape.
    """
    sources = {
        id(table): rows
        for layer in model.submodules
        if isinstance(layer, GroupEmbedding)
        for group, rows in tables
        if layer.group == group
        for table in layer.weights
    }
    taken, fresh = [], []
    for name, weight in _named(model).items():
        value = weights.get(name)
        rows = sources.get(id(weight))
        if value is not None and rows is not None and len(rows) and len(value) == rows.max() + 1:
            value = value[rows]
        if value is not None and value.shape == tuple(weight.shape):
            weight.assign(value)
            taken.append(name)
        else:
            fresh.append(name)
    return taken, fresh


def _named(model: Any) -> dict[str, Any]:
    """Weights by path; neither metrics nor the optimizer's state."""
    counted = {id(weight) for metric in model.metrics for weight in metric.weights}
    own = {id(weight) for weight in model.weights} - counted
    return {f"{model.name}/{path}": w for path, w in sorted(model.get_weight_paths().items()) if id(w) in own}
