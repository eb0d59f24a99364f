"""Times of a training log, all in one unit: ISO 8601 text, timestamps of any unit and dates are microseconds, UTC, since 1970."""

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from domain.errors import InvalidTrainingData, shown
from pipelines.numbers import NUMERAL, real_numbers
from pipelines.refusals import Where, refuse_first, value_at
from pipelines.text import blank_as_null, plain

_DATE = r"(?P<date>\d{4}-\d{2}-\d{2})"
_CLOCK = r"(?P<clock>\d{2}:\d{2})(?::(?P<seconds>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
_ZONE = r"(?P<zone>[Zz]|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?"
ISO_8601 = rf"^{_DATE}(?:[Tt ]{_CLOCK}\s*{_ZONE})?$"
_MICROS = {"s": 1e6, "ms": 1e3, "us": 1.0}
NUMBERS = "numbers"
UNITS = ("s", "ms", "us", "ns")
_YEAR_2000_S, _YEAR_2100_S = 946_684_800, 4_102_444_800


@dataclass(frozen=True, slots=True)
class Times:
    """[R], to order rows by."""

    values: NDArray[np.float64]
    moments: bool
    """Whether they are microseconds since 1970; else numbers as the file has them, of a unit that it does not say."""


@dataclass(slots=True)
class Clock:
    """Brings the times of a whole log to one unit, so that none of a larger number counts as later than one of a smaller unit.

    Numbers do not say their unit. It shows where every one of a log lies in the years 2000 to 2100 as a Unix time of some unit:
    then files may differ in it, or have moments beside. Other numbers only order, and take no moments among them.
    """

    _first: dict[str, tuple[str, object]] = field(default_factory=dict)
    """Unit -> place and value of its first time."""

    def take(self, times: Times, raw: pa.Array, where: Where) -> None:
        """Sees a batch, before any is read off.

        Raises:
          InvalidTrainingData: there are moments, and numbers that are none.
        """
        if not len(times.values):
            return
        if times.moments:
            self._note("moments", 0, raw, where)
        else:
            units = _units(times.values)
            for unit in np.unique(units):
                self._note(UNITS[unit] if unit >= 0 else NUMBERS, int(np.argmax(units == unit)), raw, where)
        if {"moments", NUMBERS} <= self._first.keys():
            (_, example), (place, got) = sorted((self._first[unit] for unit in ("moments", NUMBERS)), key=self._order)
            raise InvalidTrainingData(place, f"a time like {shown(example)} of the rows before", got)

    def read_off(self, times: Times) -> NDArray[np.float64]:
        """[R], comparable over the whole log."""
        if times.moments or NUMBERS in self._first or len(self._first) < 2:
            return times.values
        return times.values * 1e6 / 1000.0 ** _units(times.values)

    def _note(self, unit: str, row: int, raw: pa.Array, where: Where) -> None:
        if unit not in self._first:
            self._first[unit] = where(row), value_at(raw, row)

    def _order(self, found: tuple[str, object]) -> int:
        return list(self._first.values()).index(found)


def time_column(raw: pa.Array, where: Where) -> Times:
    """A column to order rows by: numbers, dates, timestamps, or ISO 8601 text; without a zone it is UTC.

    Raises:
      InvalidTrainingData: a value is missing or neither of these.
    """
    raw = plain(raw)
    if pa.types.is_string(raw.type):
        return _of_text(raw, where)
    if pa.types.is_date(raw.type):
        raw = raw.cast(pa.timestamp("s" if pa.types.is_date32(raw.type) else "ms"))
    if pa.types.is_timestamp(raw.type):
        _refuse_missing(raw.is_valid().to_numpy(zero_copy_only=False), raw, where)
        ticks = raw.cast(pa.int64()).to_numpy()
        return Times(ticks // 1000 * 1.0 if raw.type.unit == "ns" else ticks * _MICROS[raw.type.unit], moments=True)
    return _numbers(raw, where)


def unix_ms(raw: pa.Array, where: Where) -> NDArray[np.float64]:
    """[R] times as ms since 1970, UTC; a number says its unit by lying between 2000 and 2100.

    Raises:
      InvalidTrainingData: a value is missing, or no time.
    """
    times = time_column(raw, where)
    if times.moments:
        return times.values / 1000
    units = _units(times.values)
    refuse_first(units < 0, raw, "a time between 2000 and 2100, in Unix s, ms, us or ns", where)
    return times.values * 1e3 / 1000.0**units


def as_logged(raw: pa.Array, row: int) -> str:
    """A time as the file has it."""
    return str(value_at(plain(raw), row))


def _numbers(raw: pa.Array, where: Where) -> Times:
    values = real_numbers(raw, where, "a number or a time")
    _refuse_missing(np.isfinite(values), raw, where)
    return Times(values, moments=False)


def _of_text(raw: pa.Array, where: Where) -> Times:
    text = blank_as_null(pc.utf8_trim_whitespace(raw))
    _refuse_missing(text.is_valid().to_numpy(zero_copy_only=False), raw, where)
    if not len(text) or pc.match_substring_regex(text, NUMERAL)[0].as_py():
        return _numbers(raw, where)
    parts = pc.extract_regex(text, ISO_8601)
    expected = "numbers or ISO 8601 times such as 2026-11-26T08:00:00Z"
    refuse_first(~parts.is_valid().to_numpy(zero_copy_only=False), raw, expected, where)
    date, clock, seconds, fraction, zone = (_part(parts, name) for name in ("date", "clock", "seconds", "fraction", "zone"))
    written = pc.binary_join_element_wise(date, _or(clock, "00:00"), "T")
    written = pc.binary_join_element_wise(written, _or(seconds, "00"), ":")
    try:
        whole = written.cast(pa.timestamp("s")).cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid:
        refuse_first(np.array([not _is_a_time(said) for said in written.to_pylist()]), raw, expected, where)
        raise
    micros = pc.utf8_slice_codeunits(pc.utf8_rpad(fraction, 6, "0"), 0, 6).cast(pa.int64()).to_numpy()
    zones = zone.dictionary_encode()
    offsets = np.array([_offset_s(said) for said in zones.dictionary.to_pylist()], np.int64)
    return Times(1e6 * (whole - offsets[zones.indices.to_numpy()]) + micros, moments=True)


def _part(parts: pa.StructArray, name: str) -> pa.Array:
    return parts.field(parts.type.get_field_index(name)).fill_null("")


def _or(text: pa.Array, instead: str) -> pa.Array:
    return pc.replace_with_mask(text, pc.equal(text, ""), pa.scalar(instead))


def _offset_s(zone: str) -> int:
    """East of Greenwich: `+02:00`, `+0200`, `+02`; anything else is UTC."""
    if not zone.startswith(("+", "-")):
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return (1 if zone[0] == "+" else -1) * (3600 * int(digits[:2]) + 60 * int(digits[2:]))


def _is_a_time(said: str) -> bool:
    try:
        datetime.fromisoformat(said)
    except ValueError:
        return False
    return True


def _units(values: NDArray[np.float64]) -> NDArray[np.int8]:
    """[R], index into `UNITS` of a number that lies between 2000 and 2100 as a Unix time of that unit, else -1."""
    units = np.full(len(values), -1, np.int8)
    for i in range(len(UNITS)):
        units[(values >= _YEAR_2000_S * 1000.0**i) & (values < _YEAR_2100_S * 1000.0**i)] = i
    return units


def _refuse_missing(present: NDArray[np.bool_], raw: pa.Array, where: Where) -> None:
    refuse_first(~present, raw, "a time in every row", where)
