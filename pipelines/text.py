"""Text of a training log: one Arrow type of it, and all of it UTF-8."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from domain.errors import InvalidTrainingData

_YEAR_1_S, _YEAR_9999_S = -62_135_596_800, 253_370_764_800
_TEXT = ("large_string", "binary", "large_binary")


def plain(raw: pa.Array) -> pa.Array:
    """Without dictionaries, and with one type of text."""
    if pa.types.is_dictionary(raw.type):
        raw = raw.dictionary_decode()
    return raw.cast(pa.string()) if str(raw.type) in _TEXT else raw


def plain_key(raw: pa.Array) -> pa.Array:
    """As `plain`, with null for ""; text that is not UTF-8 stays bytes, and times that Python has no object for are numbers."""
    raw = raw.dictionary_decode() if pa.types.is_dictionary(raw.type) else raw
    if pa.types.is_duration(raw.type) or pa.types.is_time(raw.type) or _leaves_calendar(raw):
        return raw.cast(pa.int32() if pa.types.is_time32(raw.type) else pa.int64())
    if not pa.types.is_string(raw.type) and str(raw.type) not in _TEXT:
        return raw
    if _not_utf8(raw) is None:
        return blank_as_null(plain(raw))
    raw = raw.cast(pa.large_binary() if str(raw.type).startswith("large") else pa.binary())
    return pc.replace_with_mask(raw, pc.fill_null(pc.equal(raw, pa.scalar(b"", raw.type)), False), pa.scalar(None, raw.type))


def holds_several(kind: pa.DataType) -> bool:
    """Whether a value of the type is made of others: a list, a struct, a map."""
    return bool(kind.num_fields > 0)


def blank_as_null(text: pa.Array) -> pa.Array:
    """Text, with null for "".

    Not by `if_else` with a null, which in Arrow 18 reads a slice's text from the wrong place.
    """
    return pc.replace_with_mask(text, pc.fill_null(pc.equal(text, ""), False), pa.scalar(None, pa.string()))


def are_missing(raw: pa.Array) -> NDArray[np.bool_]:
    """[R], whether a value stands for none."""
    raw = plain_key(raw)
    missing: NDArray[np.bool_] = pc.is_null(raw, nan_is_null=pa.types.is_floating(raw.type)).to_numpy(zero_copy_only=False)
    return missing


def readable(
    batch: pa.RecordBatch, where: Callable[[str, int], str], keys: frozenset[str] = frozenset(), hint: str = ""
) -> pa.RecordBatch:
    """A batch with plain columns.

    Args:
      where: column and row -> what to call it in a message.
      keys: columns that are left as they are.
      hint: what may help, for a message.
    Raises:
      InvalidTrainingData: text that is not UTF-8, alone or in a list: TensorFlow would find out minutes later, or never.
    """
    columns = []
    for name, raw in zip(batch.schema.names, batch.columns, strict=True):
        if name in keys:
            columns.append(raw)
            continue
        if (wrong := _not_utf8(raw)) is not None:
            row, got = wrong
            raise InvalidTrainingData(where(name, row), f"UTF-8 text{hint}", got)
        columns.append(plain(raw))
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _not_utf8(raw: Any) -> tuple[int, bytes] | None:
    """Row and value of the first text that is none."""
    if pa.types.is_dictionary(raw.type):
        return _not_utf8(raw.dictionary_decode()) if _not_utf8(raw.dictionary) else None
    if pa.types.is_list(raw.type) or pa.types.is_large_list(raw.type) or pa.types.is_fixed_size_list(raw.type):
        wrong = _not_utf8(raw.flatten())
        return wrong and (pc.list_parent_indices(raw)[wrong[0]].as_py(), wrong[1])
    if pa.types.is_struct(raw.type):
        return min(filter(None, map(_not_utf8, raw.flatten())), default=None)
    if not pa.types.is_string(raw.type) and str(raw.type) not in _TEXT:
        return None
    as_bytes = raw.cast(pa.large_binary() if str(raw.type).startswith("large") else pa.binary())
    try:
        as_bytes.cast(pa.large_string() if str(raw.type).startswith("large") else pa.string())
    except pa.ArrowInvalid:
        return next((row, got) for row, got in enumerate(as_bytes.to_pylist()) if got is not None and not _is_utf8(got))
    return None


def _leaves_calendar(raw: pa.Array) -> bool:
    if not pa.types.is_timestamp(raw.type):
        return False
    ends = pc.min_max(raw.cast(pa.int64())).as_py().values()
    seconds = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[raw.type.unit]
    return any(end is not None and not _YEAR_1_S <= end // seconds < _YEAR_9999_S for end in ends)


def _is_utf8(got: bytes) -> bool:
    try:
        got.decode()
    except UnicodeDecodeError:
        return False
    return True
