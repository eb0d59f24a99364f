"""Features that follow from others, by one line of the market file; training and serving compute them here.

    hour(time_ms)                 of the moment of the decision, 0 to 23; hour(time_ms, Europe/Berlin) by the clocks there
    weekday(time_ms)              0 is Monday; the same
    log(x)                        sign(x) ln(1 + |x|)
    ratio(x, y)                   x / y; missing where y is 0 or the ratio beyond 3e38

Where one of its numbers is missing, so is what is derived from it. Numbers go in as the model would take them (int64, float32)
and are computed in float64, so that neither path rounds otherwise than the other.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from domain.clock import time_zone

TIME: Final = "time_ms"
"""Stands for the moment of the decision."""
OF_TIME = ("hour", "weekday")
OF_NUMBERS = {"log": 1, "ratio": 2}
"""How many numbers each takes."""
FORMS = "hour(time_ms), weekday(time_ms), either with a time zone such as Europe/Berlin, log(feature), ratio(feature, feature)"
VALUES = {"hour": tuple(range(24)), "weekday": tuple(range(7))}
_FORM = re.compile(r"\s*([a-z]+)\s*\(\s*([^()]*?)\s*\)\s*")
_HOUR_MS, _DAY_MS, _QUARTER_MS, _YEAR_2100_MS = 3_600_000, 86_400_000, 900_000, 4_102_444_800_000
MISSING: dict[str, int | float] = {"int": -(2**63), "float": np.nan}
"""Stands for a number that is missing, in tensors and training rows."""
MOST = 3e38
"""What a float feature holds."""
_MONDAY = 3
"""Of day 0, which was a Thursday."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Derivation:
    """What is computed of what."""

    function: str
    of: tuple[str, ...]
    """Features; none of a function of the time."""
    zone: str = "UTC"

    @property
    def of_time(self) -> bool:
        """Whether the moment of the decision is all it takes."""
        return self.function in OF_TIME

    @property
    def dtype(self) -> str:
        """Of what comes out."""
        return "int" if self.of_time else "float"


@lru_cache(maxsize=1000)
def derivation(written: str) -> Derivation:
    """Reads the line.

    Raises:
      ValueError: it is none of the forms, or there is no such time zone.
    """
    found = _FORM.fullmatch(written)
    function, given = (found[1], tuple(re.split(r"\s*,\s*", found[2]))) if found else ("", ())
    if function in OF_TIME and given[0] == TIME and len(given) <= 2:
        zone = given[1] if len(given) == 2 else "UTC"
        time_zone(zone)
        return Derivation(function, (), zone)
    if OF_NUMBERS.get(function) == len(given) and all(re.fullmatch("[a-z][a-z0-9_]*", name) for name in given):
        return Derivation(function, given)
    raise ValueError(f"expected one of {FORMS}, got {written!r}")


def numbers(dtype: str, values: Sequence[Any] | NDArray[Any]) -> Floats:
    """Values of an int or float feature -> float64, NaN where one is missing, as None or as what stands for it in tensors."""
    kind: Any = np.int64 if dtype == "int" else np.float32
    if not isinstance(values, np.ndarray):
        values = [MISSING[dtype] if v is None else v for v in values]
    held = np.asarray(values, kind)
    return np.where(held == MISSING[dtype], np.nan, held.astype(np.float64))


def derive(what: Derivation, of: Sequence[Floats]) -> Floats:
    """[N], NaN where it is missing.

    Args:
      of: [N] each: the numbers, or the ms since 1970, UTC.
    """
    values: Floats
    if what.function == "log":
        values = np.sign(of[0]) * np.log1p(np.abs(of[0]))
        return values
    if what.function == "ratio":
        x, y = of
        with np.errstate(over="ignore"):
            values = np.divide(x, y, out=np.full(len(x), np.nan), where=y != 0)
        return np.where(np.abs(values) < MOST, values, np.nan)
    known = (of[0] >= 0) & (of[0] < _YEAR_2100_MS)
    there_ms = _there(np.where(known, of[0], 0).astype(np.int64), what.zone)
    parts = there_ms // _HOUR_MS % 24 if what.function == "hour" else (there_ms // _DAY_MS + _MONDAY) % 7
    return np.where(known, parts.astype(np.float64), np.nan)


def written(what: Derivation, value: float) -> int | float | None:
    """One of what `derive` gave, as a feature's value in a decision and in the log."""
    if np.isnan(value):
        return None
    return int(value) if what.of_time else float(np.float32(value))


def _there(time_ms: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """Clocks of a zone as ms since 1970: they change on quarters of an hour at most."""
    if zone == "UTC":
        return time_ms
    quarters, of_row = np.unique(time_ms // _QUARTER_MS, return_inverse=True)
    offsets = np.array([_offset_ms(int(quarter), zone) for quarter in quarters], np.int64)
    there_ms: NDArray[np.int64] = time_ms + offsets[of_row.reshape(time_ms.shape)]
    return there_ms


@lru_cache(maxsize=100_000)
def _offset_ms(quarter: int, zone: str) -> int:
    offset = datetime.fromtimestamp(quarter * _QUARTER_MS // 1000, UTC).astimezone(ZoneInfo(zone)).utcoffset()
    assert offset is not None
    return round(offset.total_seconds() * 1000)
