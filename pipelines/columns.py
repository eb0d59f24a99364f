"""One raw column of a training log -> a feature, a label or a count, checked value by value."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.spec import MAX_STRING, FeatureSpec
from pipelines.numbers import FITS, NUMERAL, real_numbers, whole_numbers
from pipelines.refusals import Where, refuse_first, refuse_type
from pipelines.text import blank_as_null, plain

MOST_MICROS = 2**53
"""Of a value: what JSON and doubles hold exactly."""
FLAG = "0 or 1 (or Y and N, yes and no, true and false)"
YES, NO = ("y", "yes", "t", "true"), ("n", "no", "f", "false")
"""Words for 1 and 0, in any case."""
VALUE_EXPECTED = "a whole number of micros, from 0 to 2^53"


def feature_column(feature: FeatureSpec, raw: pa.Array, where: Where) -> pa.Array:
    """A column as the feature's dtype, with its `fill` for null, NaN, and (from text) the empty string.

    Raises:
      InvalidTrainingData: a value of another kind, not finite, out of range, not exact, or a string that is too long.
    """
    raw = plain(raw)
    if feature.dtype == "string":
        return _strings(feature, raw, where)
    if feature.dtype == "int":
        return whole_numbers(raw, where).fill_null(feature.fill)
    values = real_numbers(raw, where)
    missing = np.isnan(values)
    refuse_first(~missing & ~(np.abs(values) < 3e38), raw, FITS, where)
    return pa.array(np.where(missing, feature.fill, values).astype(np.float32))


def label_column(raw: pa.Array, counts: NDArray[np.bool_], where: Where, positive: str | None = None) -> NDArray[np.int64]:
    """A column of 0 and 1, or of words that say so; where a row does not count for the task, a missing label is 0.

    Args:
      positive: of a column of text, the one that means 1, where all others mean 0.
    Raises:
      InvalidTrainingData: any other value.
    """
    raw = plain(raw)
    said_by_text = positive is not None and pa.types.is_string(raw.type)
    values = _is_that(raw, str(positive)) if said_by_text else _yes_or_no(raw, where)
    values = np.where(np.isnan(values) & ~counts, 0.0, values)
    refuse_first((values != 0) & (values != 1), raw, FLAG, where)
    return values.astype(np.int64)


def usable_column(raw: pa.Array, where: Where) -> NDArray[np.bool_]:
    """A column of 0 and 1 that says whether a label can be learned from; where nothing is said it can.

    Raises:
      InvalidTrainingData: any other value.
    """
    raw = plain(raw)
    values = np.nan_to_num(_yes_or_no(raw, where), nan=1.0)
    refuse_first((values != 0) & (values != 1), raw, FLAG, where)
    return values == 1


def integer_column(raw: pa.Array, where: Where) -> pa.Array:
    """A column of whole numbers; a missing one is -1.

    Raises:
      InvalidTrainingData: any other value.
    """
    return whole_numbers(plain(raw), where, "a whole number").fill_null(-1)


def value_column(raw: pa.Array, where: Where) -> pa.Array:
    """What conversions were worth in micros; null where nobody says.

    Raises:
      InvalidTrainingData: any other value than a whole number of micros from 0 to 2^53.
    """
    raw = plain(raw)
    known = whole_numbers(raw, where, VALUE_EXPECTED)
    micros = known.fill_null(0).to_numpy(zero_copy_only=False)
    refuse_first((micros < 0) | (micros > MOST_MICROS), raw, VALUE_EXPECTED, where)
    return known


def decided_column(raw: pa.Array | None, rows: int) -> pa.Array:
    """Time of decisions in ms, as rows that were joined from the log say it; -1 for whatever else a file means by the name."""
    raw = plain(pa.nulls(rows) if raw is None else raw)
    if pa.types.is_string(raw.type):
        whole = pc.fill_null(pc.match_substring_regex(raw, r"^\d{1,18}$"), False)
        raw = pc.replace_with_mask(raw, pc.invert(whole), pa.scalar("-1")).cast(pa.int64())
    if pa.types.is_floating(raw.type):  # as some writers leave whole numbers of which one is missing
        values = np.nan_to_num(raw.cast(pa.float64()).to_numpy(zero_copy_only=False), nan=-1.0, posinf=-1.0, neginf=-1.0)
        return pa.array(np.where((values == np.floor(values)) & (np.abs(values) < 2**53), values, -1).astype(np.int64))
    if not pa.types.is_integer(raw.type):
        return pa.array(np.full(rows, -1))
    return raw.cast(pa.int64(), safe=False).fill_null(-1)


def _yes_or_no(raw: pa.Array, where: Where) -> NDArray[np.float64]:
    """[R] numbers, NaN where nothing is."""
    if pa.types.is_string(raw.type):
        said = pc.utf8_lower(pc.utf8_trim_whitespace(raw))
        for words, number in ((YES, "1"), (NO, "0")):
            said = pc.replace_with_mask(said, pc.fill_null(pc.is_in(said, value_set=pa.array(words)), False), pa.scalar(number))
        wrong = ~_as_numbers(said)
        refuse_first(wrong, raw, FLAG, where)
        raw = said
    return real_numbers(raw, where, FLAG)


def _as_numbers(said: pa.Array) -> NDArray[np.bool_]:
    """[R], whether a text may be a number, or nothing."""
    form = pc.match_substring_regex(said, rf"{NUMERAL}|^[+-]?(nan|inf|infinity)$|^$")
    are: NDArray[np.bool_] = pc.fill_null(form, True).to_numpy(zero_copy_only=False)
    return are


def _is_that(raw: pa.Array, positive: str) -> NDArray[np.float64]:
    """[R], 1 where a value is the text, NaN where nothing is."""
    text = blank_as_null(pc.utf8_trim_whitespace(raw))
    same = pc.equal(text, positive.strip()).cast(pa.float64())
    values: NDArray[np.float64] = same.to_numpy(zero_copy_only=False)
    return values


def _strings(feature: FeatureSpec, raw: pa.Array, where: Where) -> pa.Array:
    kind = raw.type
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind):
        raw = raw.cast(pa.string())
    elif pa.types.is_decimal(kind) and kind.scale == 0:
        raw = pa.array([None if number is None else str(number) for number in raw.to_pylist()], pa.string())
    if not pa.types.is_string(raw.type):
        refuse_type(raw, "strings", where)
    filled = blank_as_null(raw).fill_null(feature.fill)
    too_long = pc.greater(pc.utf8_length(filled), MAX_STRING).to_numpy(zero_copy_only=False)
    refuse_first(too_long, raw, f"at most {MAX_STRING} characters", where)
    return filled
