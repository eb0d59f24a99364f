"""Everywhere or in one slice; and of all that moved, what comes first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from monitoring.detection.distances import Floats
from monitoring.summaries import ALL, Series, Slice

_SURE_Z: Final = 2.0
"""A slice that has moved by less standard deviations than this has no part in an excess."""
_LEAST_SHARE: Final = 0.6
_MIX_SHARE: Final = 0.35
"""What moved in all traffic by more than this has moved within slices, too, if it is not their mix that moved."""


@dataclass(frozen=True, slots=True)
class Where:
    """The slice that explains an excess, the share of the excess that is in it, and its share of the rows."""

    slice: Slice
    excess_share: float
    rows_share: float


def smallest_slice(slices: Sequence[Slice], rows: Floats, excess: Floats, z: Floats) -> Where:
    """The slice that holds most of an excess for its size.

    For every dimension, each slice's part of the excess is rows times excess, where it is sure, of that of all traffic or, where
    this shows less, of all of the dimension's slices. The slice with the highest

        share of the excess - share of the rows / 2

    is named, or all traffic, which has 1 - 1/2. A slice of 20 % of the rows is named if it holds more than 60 % of the excess,
    one that contains it only if the smaller one misses something.

    Args:
      rows, excess, z: [S] by slice; excess per row, in the direction of the alarm, NaN where it cannot be said.
    """
    best, value = Where(ALL, 1.0, 1.0), 0.5
    sure = np.where(np.isfinite(excess) & (np.nan_to_num(z) >= _SURE_Z), rows * np.maximum(np.nan_to_num(excess), 0.0), 0.0)
    everywhere = 0.0
    if ALL in slices and np.isfinite(of_all := rows[slices.index(ALL)] * excess[slices.index(ALL)]):
        everywhere = max(float(of_all), 0.0)
    for by in dict.fromkeys(s.by for s in slices if s.by):
        at = [i for i, s in enumerate(slices) if s.by == by]
        mass, total = sure[at], rows[at].sum()
        if mass.sum() <= 0.0 or len(at) < 2:
            continue
        top = int(mass.argmax())
        share, size = float(mass[top] / max(mass.sum(), everywhere)), float(rows[at[top]] / total)
        if share >= _LEAST_SHARE and share - size / 2 > value:
            best, value = Where(slices[at[top]], share, size), share - size / 2
    return best


def mix_that_explains(slices: Sequence[Slice], rows: Floats, excess: Floats, moved: Mapping[str, float]) -> str | None:
    """The dimension whose mix moved, so that a series seems to move in all traffic while it stays within each slice.

    Args:
      rows, excess: [S] by slice, of the series.
      moved: by dimension that moved itself, how sure that is.
    """
    if ALL not in slices or not (whole := float(np.nan_to_num(excess[slices.index(ALL)]))) > 0:
        return None
    for by in sorted(moved, key=lambda d: -moved[d]):
        at = [i for i, s in enumerate(slices) if s.by == by]
        if len(at) >= 2 and rows[at].sum() > 0:
            within = float((rows[at] * np.maximum(np.nan_to_num(excess[at]), 0.0)).sum() / rows[at].sum())
            if within < _MIX_SHARE * whole:
                return by
    return None


def causal_rank(kind: str, series: Series) -> int:
    """What feeds comes before what is fed: inputs, then predictions, then what came of them, then the flow of traffic.

    Robots come with the inputs: they bring their own shoppers, and what these click follows.
    """
    if kind == "skew":
        return 0
    if series.kind == "flow":
        return 1 if series.name.startswith("invalid") else 4
    return {"feature": 1, "probability": 2}.get(series.kind, 3)
