"""Raw values that say numbers -> exact int64, or float64; text and types that say the same number give the same.

A number in text is decimal, with a sign, a point and an exponent if need be, or `true` or `false` in any case, which are 1 and 0
as they are where a column is boolean. Spaces around it do not matter; "", `nan` and null are missing.
"""

import re
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.spec import INT64
from pipelines.refusals import Where, refuse_first, refuse_type
from pipelines.text import blank_as_null

NUMERAL = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
FITS = "a finite number that fits"
WHOLE = "a whole number"
_MISSING = re.compile("[+-]?nan", re.IGNORECASE)
_EXACT_BITS = {"halffloat": 11, "float": 24, "double": 53}
"""Type -> whole numbers up to 2 to this are all there; beyond, several become one."""


def whole_numbers(raw: pa.Array, where: Where, expected: str | None = None) -> pa.Array:
    """int64, null where nothing is; each number exactly as it is in the file.

    Args:
      expected: what a refusal says, in place of what is wrong.
    Raises:
      InvalidTrainingData: a value is no whole number, does not fit, or is of a float type that cannot tell it from its neighbour.
    """
    if pa.types.is_string(raw.type):
        return _whole_of_text(raw, where, expected)
    if pa.types.is_boolean(raw.type) or pa.types.is_null(raw.type):
        return raw.cast(pa.int64())
    if pa.types.is_integer(raw.type):
        try:
            whole = raw.cast(pa.int64())
        except pa.ArrowInvalid:
            values = raw.fill_null(0).to_numpy(zero_copy_only=False)
            refuse_first(values > np.uint64(INT64), raw, expected or FITS, where)
            raise
        return _without_least(whole, raw, where, expected)
    if pa.types.is_floating(raw.type):
        return _whole_of_floats(raw, where, expected)
    if pa.types.is_decimal(raw.type):
        return _whole_of_decimals(raw, where, expected)
    refuse_type(raw, expected or "a number", where)


def real_numbers(raw: pa.Array, where: Where, expected: str = "a number") -> NDArray[np.float64]:
    """float64, NaN where nothing is.

    Raises:
      InvalidTrainingData: a value is no number.
    """
    if pa.types.is_string(raw.type):
        text, raw = raw, _at_once(raw, pa.float64())
        if raw is None:
            cleared = numerals(text)
            refuse_first(~_are_numbers(cleared), text, expected, where)
            raw = cleared.cast(pa.float64())
    elif pa.types.is_boolean(raw.type):
        raw = raw.cast(pa.int64())
    elif not _is_numeric(raw.type) and not pa.types.is_null(raw.type):
        refuse_type(raw, expected, where)
    values: NDArray[np.float64] = raw.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values


def numerals(text: pa.Array) -> pa.Array:
    """Text without what numbers may be written with and Arrow does not read; null where nothing is."""
    text = blank_as_null(pc.utf8_trim_whitespace(text))
    text = pc.replace_substring_regex(text, r"^\+([\d.])", r"\1")
    text = pc.replace_substring_regex(text, "^(?i:true)$", "1")
    return pc.replace_substring_regex(text, "^(?i:false)$", "0")


def _at_once(text: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """Numbers that all are written as Arrow reads them, which is most of the time; else None."""
    text = blank_as_null(pc.utf8_trim_whitespace(text))
    try:
        numbers = text.cast(kind)
    except pa.ArrowInvalid:
        return None
    return None if pc.any(pc.match_substring(text, "x", ignore_case=True)).as_py() else numbers  # Arrow reads 0x1F, too


def _whole_of_text(raw: pa.Array, where: Where, expected: str | None) -> pa.Array:
    at_once = _at_once(raw, pa.int64())
    if at_once is not None:
        return _without_least(at_once, raw, where, expected)
    text = numerals(raw)
    plain = pc.fill_null(pc.match_substring_regex(text, r"^-?\d+$"), False)
    try:
        whole = pc.replace_with_mask(text, pc.invert(plain), pa.scalar(None, pa.string())).cast(pa.int64())
    except pa.ArrowInvalid:  # one of them needs more than 64 bits
        plain, whole = pc.and_(plain, False), pa.nulls(len(raw), pa.int64())
    others = np.flatnonzero(pc.and_(text.is_valid(), pc.invert(plain)).to_numpy(zero_copy_only=False))
    if not len(others):
        return _without_least(whole, raw, where, expected)
    values, missing = whole.fill_null(0).to_numpy().copy(), ~whole.is_valid().to_numpy(zero_copy_only=False)
    wrong: dict[str, NDArray[np.bool_]] = {}
    known: dict[str, int | str | None] = {}
    for row, said in zip(others.tolist(), text.take(pa.array(others)).to_pylist(), strict=True):
        if said not in known:
            known[said] = _whole(said)
        number = known[said]
        if isinstance(number, str):
            wrong.setdefault(number, np.zeros(len(raw), bool))[row] = True
        elif number is not None:
            values[row], missing[row] = number, False
    _refuse_earliest(wrong, raw, where, expected)
    return _without_least(pa.array(values, mask=missing), raw, where, expected)


def _whole(said: str) -> int | str | None:
    """The number, none, or what was expected in its place."""
    if _MISSING.fullmatch(said):
        return None
    if not re.fullmatch(NUMERAL, said):
        return FITS if re.fullmatch("[+-]?inf(inity)?", said, re.IGNORECASE) else "a number"
    number = Decimal(said)
    if number and number.adjusted() > 19:
        return FITS
    if number != number.to_integral_value():
        return WHOLE
    if abs(number) > INT64:
        return FITS
    if "e" in said.lower() and abs(number) > 1 << 53:
        return f"{WHOLE} with all its digits"
    return int(number)


def _whole_of_floats(raw: pa.Array, where: Where, expected: str | None) -> pa.Array:
    values = raw.cast(pa.float64()).to_numpy(zero_copy_only=False)
    missing, bits = np.isnan(values), _EXACT_BITS[str(raw.type)]
    inside = np.where(missing, 0.0, values)
    refuse_first(~(np.abs(inside) < 2.0**63), raw, expected or FITS, where)
    refuse_first(inside != np.floor(inside), raw, expected or WHOLE, where)
    exact = f"{WHOLE} up to 2^{bits}, beyond which {raw.type} holds several as one"
    refuse_first(np.abs(inside) > 2.0**bits, raw, expected or exact, where)
    return pa.array(inside.astype(np.int64), mask=missing)


def _whole_of_decimals(raw: pa.Array, where: Where, expected: str | None) -> pa.Array:
    try:
        return _without_least(raw.cast(pa.int64()), raw, where, expected)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        wrong: dict[str, NDArray[np.bool_]] = {}
        numbers = raw.to_pylist()
        for row, number in enumerate(numbers):
            if number is not None and (number != number.to_integral_value() or abs(number) > INT64):
                kind = WHOLE if number != number.to_integral_value() else FITS
                wrong.setdefault(kind, np.zeros(len(raw), bool))[row] = True
        _refuse_earliest(wrong, raw, where, expected)
        return pa.array([None if n is None else int(n) for n in numbers], pa.int64())


def _refuse_earliest(wrong: dict[str, NDArray[np.bool_]], raw: pa.Array, where: Where, expected: str | None) -> None:
    """Of several things that are wrong, the one of the first row."""
    if wrong:
        what = min(wrong, key=lambda kind: int(np.argmax(wrong[kind])))
        refuse_first(wrong[what], raw, expected or what, where)


def _without_least(whole: pa.Array, raw: pa.Array, where: Where, expected: str | None) -> pa.Array:
    """The least int64 stands for a missing value in training rows."""
    refuse_first(pc.fill_null(pc.equal(whole, -INT64 - 1), False).to_numpy(zero_copy_only=False), raw, expected or FITS, where)
    return whole


def _are_numbers(text: pa.Array) -> NDArray[np.bool_]:
    """[N], whether Arrow reads it as a float, or there is nothing to read."""
    form = pc.match_substring_regex(text, rf"{NUMERAL}|^[+-]?(?i:nan|inf|infinity)$")
    are: NDArray[np.bool_] = pc.fill_null(form, True).to_numpy(zero_copy_only=False)
    return are


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
