"""A column of a training log -> the columns of a feature's tensors; lists all of one length, as the model takes them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.spec import MAX_WEIGHT, FeatureSpec
from pipelines.columns import feature_column
from pipelines.refusals import Where, refuse_first, refuse_type
from pipelines.text import plain
from pipelines.written_lists import lists_in

BEFORE_WEIGHT = ":"
WEIGHT = FeatureSpec(name="weight", source="context", dtype="float", missing="own")
"""Weights are read as any numbers are; NaN, which is none, is no weight."""


def tensor_columns(feature: FeatureSpec, raw: pa.Array, where: Where) -> list[pa.Array]:
    """One column per tensor of a feature, as `bag_columns` or `feature_column` makes it."""
    return bag_columns(feature, raw, where) if feature.multiple else [feature_column(feature, raw, where)]


def bag_columns(feature: FeatureSpec, raw: pa.Array, where: Where) -> list[pa.Array]:
    """One column of lists per tensor of a `multiple` feature, each list `max_values` long.

    Lists are Arrow's, or text such as `a|b` or `["a", "b"]`; null and "" are empty. Weighted values are structs of a value and a
    weight, text such as `a:0.5`, or all of them `{"a": 0.5}`.

    Raises:
      InvalidTrainingData: no lists, too long ones, or a wrong value or weight in one.
    """
    raw = plain(raw)
    if pa.types.is_string(raw.type):
        raw = lists_in(raw, feature.weighted, where)
    if pa.types.is_null(raw.type):
        raw = raw.cast(pa.list_(pa.string()))
    if not pa.types.is_list(raw.type) and not pa.types.is_large_list(raw.type):
        refuse_type(raw, "lists", where)
    lengths = pc.fill_null(pc.list_value_length(raw), 0).to_numpy(zero_copy_only=False)
    refuse_first(lengths > feature.max_values, raw, f"at most {feature.max_values} values", where)
    of_row = np.repeat(np.arange(len(raw)), lengths)
    values, weights = _split(feature, plain(pc.list_flatten(raw)), lambda i: where(int(of_row[i]) if len(of_row) else 0))
    held = np.arange(feature.max_values) < lengths[:, None]
    padded = np.full(held.shape, feature.fill, dtype=object if feature.dtype == "string" else np.int64)
    padded[held] = values
    columns = [_lists(padded, pa.string() if feature.dtype == "string" else pa.int64())]
    if feature.weighted:
        weight = np.zeros(held.shape, np.float32)
        weight[held] = weights
        columns.append(_lists(weight, pa.float32()))
    return columns


def as_lists(column: pa.Array) -> pa.Array:
    """[a, b] -> [[a], [b]]: tf.Example holds lists only. Columns of lists, all of one length, stay as they are."""
    values = column.flatten() if pa.types.is_list(column.type) else column
    if pa.types.is_string(values.type):
        values = values.cast(pa.binary())
    offsets = np.arange(len(column) + 1, dtype=np.int32) * (len(values) // max(len(column), 1))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _split(feature: FeatureSpec, flat: pa.Array, where: Callable[[int], str]) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Values and weights, a list's after the other."""
    values, weights = flat, pa.array(np.ones(len(flat)))
    if feature.weighted and pa.types.is_struct(flat.type):
        values, weights = flat.flatten()
    elif feature.weighted:
        parts = pc.split_pattern(flat.cast(pa.string()), BEFORE_WEIGHT, max_splits=1, reverse=True)
        both = pc.list_value_length(parts).to_numpy(zero_copy_only=False) == 2
        refuse_first(~both, flat, "`value:weight`", where)
        values, weights = pc.list_element(parts, 0), pc.list_element(parts, 1)
    known = feature_column(feature, values, where)
    refuse_first(pc.equal(known, pa.scalar(feature.fill)).to_numpy(zero_copy_only=False), values, "no empty value", where)
    as_weights = feature_column(WEIGHT, weights, where).to_numpy()
    refuse_first(~((as_weights >= 0) & (as_weights <= MAX_WEIGHT)), weights, f"a weight from 0 to {MAX_WEIGHT:g}", where)
    return known.to_numpy(zero_copy_only=False), as_weights


def _lists(padded: NDArray[Any], kind: pa.DataType) -> pa.Array:
    rows, width = padded.shape
    return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1) * width, pa.int32()), pa.array(padded.ravel(), kind))
