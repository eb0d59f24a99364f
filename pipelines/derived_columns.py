"""What a file need not say: derived features, columns of one only value, and which of its words say nothing."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from domain.errors import InvalidTrainingData
from features.derived import TIME, derive, numbers
from features.market import Market
from features.spec import FeatureSpec
from pipelines.columns import decided_column, feature_column
from pipelines.refusals import Place
from pipelines.text import are_missing, plain
from pipelines.times import unix_ms


def without_words(market: Market, raw: pa.RecordBatch) -> pa.RecordBatch:
    """Rows with null for every text that stands for a missing value."""
    words: dict[str, set[str]] = {}
    for f in market.features:
        words.setdefault(f.log_column, set()).update(f.missing_values)
    for name in (*(t.log_column for t in market.tasks), *time_columns(market)):
        words.setdefault(name, set()).update(market.missing_values)
    for name, silent in words.items():
        at = raw.schema.get_field_index(name)
        if at >= 0 and silent and pa.types.is_string(raw.schema.field(at).type):
            column = raw.column(at)
            said = pc.is_in(column, value_set=pa.array(sorted(silent)))
            raw = _with(raw, name, pc.replace_with_mask(column, said, pa.scalar(None, pa.string())))
    return raw


def with_only_values(market: Market, raw: pa.RecordBatch) -> pa.RecordBatch:
    """Rows with the columns that they lack because there is only one value to have."""
    for f in market.features:
        if f.only_value is not None and f.log_column not in raw.schema.names:
            raw = _with(raw, f.log_column, pa.array([f.only_value]).take(pa.array(np.zeros(raw.num_rows, np.int64))))
    return raw


def time_columns(market: Market) -> tuple[str, ...]:
    """Columns that may hold the moment of a decision, where features are derived of it."""
    of_time = [f for f in market.features if f.derivation is not None and f.derivation.of_time]
    return (TIME, *dict.fromkeys(f.column for f in of_time if f.column)) if of_time else ()


def with_derived(market: Market, raw: pa.RecordBatch, where: Place) -> pa.RecordBatch:
    """Rows with the derived features, null where one is missing.

    Args:
      where: column and row -> what to call it in a message.
    Raises:
      InvalidTrainingData: a value that one is derived of cannot be used, or nothing tells the time.
    """
    for f in market.features:
        what = f.derivation
        if what is None:
            continue
        if what.of_time:
            of = [_moments(f, raw, where)]
        else:
            of = [_numbers(market.feature_by_name[name], raw, where) for name in what.of]
        values = derive(what, of)
        kind = pa.int64() if what.of_time else pa.float32()
        missing = np.isnan(values)
        held = np.where(missing, 0, values).astype(np.int64 if what.of_time else np.float32)
        raw = _with(raw, f.name, pa.array(held, kind, mask=missing))
    return raw


def _numbers(feature: FeatureSpec, raw: pa.RecordBatch, where: Place) -> NDArray[np.float64]:
    name = feature.log_column
    column = feature_column(feature, raw.column(raw.schema.get_field_index(name)), lambda row: where(name, row))
    return numbers(feature.dtype, column.to_numpy(zero_copy_only=False))


def _moments(feature: FeatureSpec, raw: pa.RecordBatch, where: Place) -> NDArray[np.float64]:
    """[R] ms since 1970, NaN where nothing is."""
    if TIME in raw.schema.names:
        said = decided_column(raw.column(raw.schema.get_field_index(TIME)), raw.num_rows).to_numpy().astype(np.float64)
        return np.where(said < 0, np.nan, said)
    name = feature.column
    if name is None or name not in raw.schema.names:
        other = f" or {name!r}" if name else " (or another one, named by the feature's `column`)"
        wanted = f"a column {TIME!r}{other}"
        raise InvalidTrainingData(where(TIME, 0), wanted, "none")
    column = plain(raw.column(raw.schema.get_field_index(name)))
    known = np.flatnonzero(~are_missing(column))
    moments = np.full(raw.num_rows, np.nan)
    moments[known] = unix_ms(column.take(pa.array(known)), lambda row: where(name, int(known[row]) if len(known) else 0))
    return moments


def _with(raw: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    columns = dict(zip(raw.schema.names, raw.columns, strict=True)) | {name: column}
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
