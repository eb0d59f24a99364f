"""Which earlier hours an hour is compared with, and their numbers beside its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring.detection.distances import LEVELS, Floats
from monitoring.detection.profile import NumberBlock, Profile, ValueBlock
from monitoring.summaries import Series, Slice

DAYS: Final = 14
"""How far back."""
FEWEST_DAYS: Final = 1
DAY_MS: Final = 86_400_000
_WEEKEND: Final = (2, 3)  # 1 January 1970 was a Thursday
_ODD: Final = 3.0
_FEWEST_ROWS: Final = 25
"""Of an earlier hour, to be one of those compared with."""


def earlier_hours(hour_ms: int, day_ms: int = DAY_MS) -> list[int]:
    """The same hours of earlier days of the same kind, working day or weekend, the latest first.

    Where a day is not 24 hours, as in the demo, all are of one kind.
    """
    days = (hour_ms - day_ms * back for back in range(1, DAYS + 1))
    return [at for at in days if day_ms != DAY_MS or _is_weekend(at) == _is_weekend(hour_ms)]


def _is_weekend(hour_ms: int) -> bool:
    return hour_ms // DAY_MS % 7 in _WEEKEND


@dataclass(frozen=True, slots=True)
class NumberDays:
    """A series of numbers on D days, in the S slices of the hour that is judged."""

    rows: Floats
    """[D, S]; 0 where there is nothing, or too little."""
    missing: Floats
    quantiles: Floats
    """[D, S, 64], NaN where rows is 0."""
    range: Floats
    """[D, S, 2]"""


@dataclass(frozen=True, slots=True)
class ValueDays:
    """A series of values on D days, in the S slices and with all values of any of them."""

    rows: Floats
    missing: Floats
    unknown: Floats
    counts: Floats
    """[D, S, V + 1]; the last column is of all others."""


def number_days(series: Series, slices: Sequence[Slice], earlier: Sequence[Profile]) -> NumberDays:
    """Of the earlier hours that have the series."""
    blocks = [p.numbers[series] for p in earlier if series in p.numbers]
    shape = (len(blocks), len(slices))
    rows, missing = np.zeros(shape), np.zeros(shape)
    quantiles, ranges = np.full((*shape, len(LEVELS)), np.nan), np.full((*shape, 2), np.nan)
    for d, block in enumerate(blocks):
        to, at = _matching(slices, block)
        rows[d, to], missing[d, to] = block.rows[at], block.missing[at]
        quantiles[d, to], ranges[d, to] = block.quantiles[at], block.range[at]
    return NumberDays(np.where(rows < _FEWEST_ROWS, 0.0, rows), missing, quantiles, ranges)


def value_days(series: Series, block: ValueBlock, earlier: Sequence[Profile]) -> tuple[ValueDays, Floats, tuple[str, ...]]:
    """Of the earlier hours that have the series; and the judged hour's counts, [S, V + 1], and the values, [V], beside them."""
    blocks = [p.values[series] for p in earlier if series in p.values]
    values = tuple(dict.fromkeys(v for b in (block, *blocks) for v in b.values))
    column = {v: i for i, v in enumerate(values)}
    shape = (len(blocks), len(block.slices))
    rows, missing, unknown = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    counts = np.zeros((*shape, len(values) + 1))
    for d, b in enumerate(blocks):
        to, at = _matching(block.slices, b)
        rows[d, to], missing[d, to], unknown[d, to] = b.rows[at], b.missing[at], b.unknown[at]
        counts[d][np.ix_(to, _columns(b, column))] = b.counts[at]
    now = np.zeros((len(block.slices), len(values) + 1))
    now[:, _columns(block, column)] = block.counts
    rows = np.where(rows < _FEWEST_ROWS, 0.0, rows)
    return ValueDays(rows, missing, unknown, np.where(rows[..., None] > 0, counts, 0.0)), now, values


def _matching(slices: Sequence[Slice], block: NumberBlock | ValueBlock) -> tuple[list[int], list[int]]:
    where = {s: i for i, s in enumerate(block.slices)}
    pairs = [(i, where[s]) for i, s in enumerate(slices) if s in where]
    return [i for i, _ in pairs], [j for _, j in pairs]


def _columns(block: ValueBlock, column: dict[str, int]) -> list[int]:
    return [*(column[v] for v in block.values), len(column)]


def harmonic_rows(rows: Floats) -> Floats:
    """[S] rows with whose sampling variance the median over days of [D, S] rows varies; NaN for less than FEWEST_DAYS of them."""
    days = (rows > 0).sum(axis=0)
    inverse = np.where(rows > 0, 1.0 / np.maximum(rows, 1.0), 0.0).sum(axis=0)
    # The median of many varies by pi / 2 times as much as the mean.
    return np.where(days >= FEWEST_DAYS, days**2 / np.maximum(inverse, 1e-300) * (2 / np.pi), np.nan)


def over_days(numbers: Floats, there: Floats) -> Floats:
    """Median over the first axis, of what is there: [D, S] above 0; NaN where nothing is.

    A day of an incident, found or not, does not become what is usual.
    """
    shown = there.reshape(there.shape + (1,) * (numbers.ndim - there.ndim)) > 0
    days = shown.sum(axis=0)
    if not len(numbers):
        return np.full(numbers.shape[1:], np.nan)
    ranked = np.sort(np.where(shown & ~np.isnan(numbers), numbers, np.inf), axis=0)
    low, high = (np.take_along_axis(ranked, np.maximum(at, 0)[None], 0)[0] for at in _middles(days, numbers.shape[1:]))
    return np.where((days > 0) & np.isfinite(high), (low + np.where(np.isfinite(high), high, low)) / 2, np.nan)


def _middles(days: NDArray[np.int64], shape: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The two places that are in the middle of so many, the same one of an odd number."""
    return np.broadcast_to((days - 1) // 2, shape), np.broadcast_to(np.minimum(days // 2, np.maximum(days - 1, 0)), shape)


def usual_days(distance: Floats, there: Floats) -> NDArray[np.bool_]:
    """Which days of each slice are like the others, [D, S]: no further from them all than three times the median one.

    Args:
      distance: [D, S] of a day from all days together.
    """
    kept: NDArray[np.bool_] = (there > 0) & (distance <= _ODD * over_days(distance, there) + 1e-12)
    return kept
