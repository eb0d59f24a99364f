"""One raw column of a training log -> a feature, a label or a split key, checked value by value."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from domain.errors import InvalidTrainingData
from features.spec import MAX_STRING, FeatureSpec

Where = Callable[[int], str]
"""Row of a batch -> what to call it in a message."""


def feature_column(feature: FeatureSpec, raw: pa.Array, where: Where) -> pa.Array:
    """A column as the feature's dtype, with its `fill` for null, NaN, and (from text) the empty string.

    Raises:
      InvalidTrainingData: a value of another kind, not finite, out of range, or a string that is too long.
    """
    raw = plain(raw)
    if feature.dtype == "string":
        return _strings(feature, raw, where)
    numbers = _numbers(raw, where)
    exact = numbers if numbers.type == pa.int64() else None
    values = numbers.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    missing = np.isnan(values)
    limit = 2.0**63 if feature.dtype == "int" else 3e38
    wrong = ~missing & ~(np.abs(values) < limit)
    expected = "a finite number that fits"
    if feature.dtype == "int" and not wrong.any():
        wrong = ~missing & (values != np.floor(np.where(missing, 0, values)))
        expected = "a whole number"
    refuse_first(wrong, raw, expected, where)
    if feature.dtype == "int" and exact is not None:
        return exact.fill_null(feature.fill)
    filled = np.where(missing, feature.fill, values)
    return pa.array(filled.astype(np.int64 if feature.dtype == "int" else np.float32))


def label_column(raw: pa.Array, counts: NDArray[np.bool_], where: Where) -> NDArray[np.int64]:
    """A column of 0 and 1; where a row does not count for the task, a missing label is 0.

    Raises:
      InvalidTrainingData: any other value.
    """
    raw = plain(raw)
    values = _numbers(raw, where, "0 or 1").cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    values = np.where(np.isnan(values) & ~counts, 0.0, values)
    refuse_first((values != 0) & (values != 1), raw, "0 or 1", where)
    return values.astype(np.int64)


def usable_column(raw: pa.Array, where: Where) -> NDArray[np.bool_]:
    """A column of 0 and 1 that says whether a label can be learned from; where nothing is said it can.

    Raises:
      InvalidTrainingData: any other value.
    """
    raw = plain(raw)
    values = _numbers(raw, where, "0 or 1").cast(pa.float64(), safe=False).fill_null(1).to_numpy(zero_copy_only=False)
    refuse_first((values != 0) & (values != 1), raw, "0 or 1", where)
    return values == 1


def integer_column(raw: pa.Array, where: Where) -> pa.Array:
    """A column of whole numbers; a missing one is -1.

    Raises:
      InvalidTrainingData: any other value.
    """
    raw = plain(raw)
    values = _numbers(raw, where, "a whole number").cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    values = np.where(np.isnan(values), -1.0, values)
    refuse_first(values != np.floor(values), raw, "a whole number", where)
    return pa.array(values.astype(np.int64))


def time_column(raw: pa.Array, where: Where) -> NDArray[np.float64]:
    """A column to order rows by: numbers, timestamps, or ISO 8601 text.

    Raises:
      InvalidTrainingData: a value is missing or neither of these.
    """
    raw = plain(raw)
    if pa.types.is_string(raw.type):
        try:
            raw = pc.cast(raw, pa.float64())
        except pa.ArrowInvalid:
            try:
                raw = pc.cast(raw, pa.timestamp("us"))
            except pa.ArrowInvalid as e:
                raise InvalidTrainingData(where(0), "numbers or ISO 8601 times", str(e).split("\n")[0]) from None
    if pa.types.is_date(raw.type):
        raw = raw.cast(pa.timestamp("us"))
    if pa.types.is_timestamp(raw.type):
        raw = raw.cast(pa.int64())
    values = _numbers(raw, where).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    refuse_first(~np.isfinite(values), raw, "a time in every row", where)
    return values


def decided_column(raw: pa.Array | None, rows: int) -> pa.Array:
    """Time of decisions in ms, as rows that were joined from the log say it; -1 for whatever else a file means by the name."""
    raw = plain(pa.nulls(rows) if raw is None else raw)
    if pa.types.is_string(raw.type):
        whole = pc.fill_null(pc.match_substring_regex(raw, r"^\d{1,18}$"), False)
        raw = pc.replace_with_mask(raw, pc.invert(whole), pa.scalar("-1")).cast(pa.int64())
    if not pa.types.is_integer(raw.type):
        return pa.array(np.full(rows, -1))
    return raw.cast(pa.int64(), safe=False).fill_null(-1)


def plain(raw: pa.Array) -> pa.Array:
    """Without dictionaries, and with one type of text."""
    if pa.types.is_dictionary(raw.type):
        raw = raw.dictionary_decode()
    if pa.types.is_large_string(raw.type) or pa.types.is_binary(raw.type) or pa.types.is_large_binary(raw.type):
        raw = raw.cast(pa.string())
    return raw


def blank_as_null(text: pa.Array) -> pa.Array:
    """Text, with null for "".

    Not by `if_else` with a null, which in Arrow 18 reads a slice's text from the wrong place.
    """
    return pc.replace_with_mask(text, pc.fill_null(pc.equal(text, ""), False), pa.scalar(None, pa.string()))


def _strings(feature: FeatureSpec, raw: pa.Array, where: Where) -> pa.Array:
    if pa.types.is_boolean(raw.type) or pa.types.is_integer(raw.type) or pa.types.is_null(raw.type):
        raw = raw.cast(pa.string())
    if not pa.types.is_string(raw.type):
        raise InvalidTrainingData(where(0), "strings", str(raw.type))
    filled = blank_as_null(raw).fill_null(feature.fill)
    too_long = pc.greater(pc.utf8_length(filled), MAX_STRING).to_numpy(zero_copy_only=False)
    refuse_first(too_long, raw, f"at most {MAX_STRING} characters", where)
    return filled


def _numbers(raw: pa.Array, where: Where, expected: str = "a number") -> pa.Array:
    """Text, booleans or any numbers -> int64 where exact, else float64; "" and null -> null."""
    if pa.types.is_string(raw.type):
        text = blank_as_null(pc.utf8_trim_whitespace(raw))
        for dtype in (pa.int64(), pa.float64()):
            try:
                return text.cast(dtype)
            except pa.ArrowInvalid:
                continue
        wrong = np.array([not _is_number(v) for v in text.to_pylist()])
        refuse_first(wrong, raw, expected, where)
    if pa.types.is_boolean(raw.type):
        return raw.cast(pa.int64())
    if pa.types.is_integer(raw.type) and raw.type != pa.uint64():
        return raw.cast(pa.int64())
    if pa.types.is_integer(raw.type) or pa.types.is_floating(raw.type) or pa.types.is_decimal(raw.type):
        return raw.cast(pa.float64(), safe=False)
    if pa.types.is_null(raw.type):
        return raw.cast(pa.float64())
    raise InvalidTrainingData(where(0), expected, str(raw.type))


def _is_number(text: str | None) -> bool:
    if text is None:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def refuse_first(wrong: Any, raw: pa.Array, expected: str, where: Where) -> None:
    """Names the first wrong value and its row."""
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidTrainingData(where(row), expected, raw[row].as_py())
