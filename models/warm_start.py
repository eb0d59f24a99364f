"""Warm start: a network begins where the release before it ended.

A weight is taken over by its path in the network, such as `ranker/_deep.0.kernel`, where its shape still fits. Rows of the
embedding tables are taken over by vocabulary entry; an entry that is new starts where it was looked up until now, at the
out-of-vocabulary row, or the first of them.

The optimizer goes on, too. Of a network that is compiled with `LazyAdam`, `save_weights` writes the moments of each weight and
the number of steps beside the weights, and `carry_over`, called between `compile` and `fit`, takes them over; a new entry starts
with moments of 0. Of a network that is not compiled only the weights are saved, and taken over.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.embedding import GroupEmbedding
from models.optimizer import LazyAdam
from models.preprocessing import Group

OPTIMIZER = "optimizer/"

Weights = Mapping[str, NDArray[Any]]


def save_weights(path: Path, models: Iterable[Any]) -> None:
    """Every weight of some networks that have been called, under its path, and what their optimizers remember."""
    saved = {name: variable for model in models for name, variable in (_named(model) | _state(model)).items()}
    np.savez(path, **{name: variable.numpy() for name, variable in saved.items()})


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
    """Overwrites the initial weights of a network that has been called, and the state of its optimizer, if it is compiled.

    Args:
      tables: groups of the network's encoding, with the `row_sources` of each.
    Returns:
      paths of the weights taken over, and of those that start fresh, since there was none of that path and shape. The moments
      of a weight that is taken over come with it, where they were saved; others are 0.
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
        value = _laid_out(weights.get(name), sources.get(id(weight)))
        if value is not None and value.shape == tuple(weight.shape):
            weight.assign(value)
            taken.append(name)
        else:
            fresh.append(name)
    rows_of = {name: sources.get(id(weight)) for name, weight in _named(model).items() if name in taken}
    for name, slot in _state(model).items():
        weight = name.removeprefix(OPTIMIZER).rpartition(":")[0]
        if name in weights and (weight in rows_of or not weight):
            slot.assign(_laid_out(weights[name], rows_of.get(weight), new=0.0))
    return taken, fresh


def _laid_out(value: NDArray[Any] | None, rows: NDArray[np.int64] | None, new: float | None = None) -> NDArray[Any] | None:
    """A former table by the rows of the present one, with a value of their own for new entries, if one is given."""
    if value is None or rows is None or not len(rows) or len(value) != rows.max() + 1:
        return value
    laid_out = value[rows]
    if new is not None:
        # `row_sources` puts new entries right before the row that they start as.
        laid_out[:-1][rows[1:] == rows[:-1]] = new
    return laid_out


def _state(model: Any) -> dict[str, Any]:
    """Variables of the optimizer: `optimizer/:<network>`, its steps, and `optimizer/<path>:m` and `:v` of each weight."""
    optimizer = getattr(model, "optimizer", None)
    if not isinstance(optimizer, LazyAdam):
        return {}
    optimizer.build(model.trainable_variables)
    trained = {id(weight) for weight in model.trainable_variables}
    moments = {
        f"{OPTIMIZER}{name}:{slot}": variable
        for name, weight in _named(model).items()
        if id(weight) in trained
        for slot, variable in optimizer.moments(weight).items()
    }
    return {f"{OPTIMIZER}:{model.name}": optimizer.iterations} | moments


def _named(model: Any) -> dict[str, Any]:
    """Weights by path; neither metrics nor the optimizer's state."""
    counted = {id(weight) for metric in model.metrics for weight in metric.weights}
    own = {id(weight) for weight in model.weights} - counted
    return {f"{model.name}/{path}": w for path, w in sorted(model.get_weight_paths().items()) if id(w) in own}
