"""An hour as arrays: what detection reads of its summaries, so that those of earlier days need not be kept whole.

`profile` is slow beside the rest; whoever steps hour by hour keeps the profiles of the last two weeks.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring.detection.distances import LEVELS, Floats
from monitoring.summaries import ALL, FLOW, Calibration, Flows, HourSummary, Numbers, Series, Slice, Values, merged

RELEASE: Final = "release"
"""Slice by which releases are told apart; every other slice is of all releases together."""
TAIL: Final = 0.005
"""Share of the rows beyond each end of the usual range."""
_AT: Final = np.concatenate([[TAIL], LEVELS, [1 - TAIL]])


@dataclass(frozen=True, slots=True)
class NumberBlock:
    """One series of numbers in S slices."""

    slices: tuple[Slice, ...]
    rows: Floats
    """[S]"""
    missing: Floats
    """[S]"""
    quantiles: Floats
    """[S, 64] at LEVELS; NaN where nothing is present."""
    range: Floats
    """[S, 2] quantiles that TAIL of the rows are below, and above."""
    numbers: tuple[Numbers, ...]


@dataclass(frozen=True, slots=True)
class ValueBlock:
    """One series of values in S slices."""

    slices: tuple[Slice, ...]
    rows: Floats
    missing: Floats
    unknown: Floats
    values: tuple[str, ...]
    """V of them, in any slice."""
    counts: Floats
    """[S, V + 1]; the last column is of all others."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One hour, of all releases together and each release in a slice of its own."""

    hour_ms: int
    releases: Mapping[str, int]
    """Name -> pages or, where they were not counted, rows."""
    numbers: Mapping[Series, NumberBlock]
    values: Mapping[Series, ValueBlock]
    flows: Mapping[Slice, Mapping[str, int]]
    calibrations: Mapping[tuple[Slice, Series], Calibration]

    @property
    def release(self) -> str:
        """The one with the most traffic; "" of an hour without any."""
        return max(self.releases, key=self.releases.__getitem__, default="")


def profile(hours: Iterable[HourSummary]) -> Profile:
    """Of the summaries of one hour, one per release, with the labels that became final in it: each is bet on once."""
    hours = list(hours)
    by = _joined(hours)
    series: dict[Series, dict[Slice, Numbers | Values]] = {}
    flows: dict[Slice, Mapping[str, int]] = {}
    calibrations: dict[tuple[Slice, Series], Calibration] = {}
    for (part, name), summary in by.items():
        if isinstance(summary, Flows):
            flows[part] = summary.counts
        elif isinstance(summary, Calibration):
            calibrations[part, name] = summary
        else:
            series.setdefault(name, {})[part] = summary
    return Profile(
        hour_ms=hours[0].hour_ms if hours else 0,
        releases={h.release: _size(h) for h in hours},
        numbers={s: _numbers(parts) for s, parts in series.items() if isinstance(next(iter(parts.values())), Numbers)},
        values={s: _values(parts) for s, parts in series.items() if isinstance(next(iter(parts.values())), Values)},
        flows=flows,
        calibrations=calibrations,
    )


def _joined(hours: list[HourSummary]) -> dict[tuple[Slice, Series], Numbers | Values | Calibration | Flows]:
    several = len({h.release for h in hours if h.release}) > 1
    by: dict[tuple[Slice, Series], Numbers | Values | Calibration | Flows] = {}
    for hour in hours:
        for key, summary in hour.by.items():
            by[key] = merged(by[key], summary) if key in by else summary
            if key[0] == ALL and several and hour.release:
                of_release = (Slice(RELEASE, hour.release), key[1])
                by[of_release] = merged(by[of_release], summary) if of_release in by else summary
    return by


def _size(hour: HourSummary) -> int:
    flow = hour.by.get((ALL, FLOW))
    if isinstance(flow, Flows) and flow["pages"]:
        return flow["pages"]
    return max((s.rows for (part, _), s in hour.by.items() if part == ALL and not isinstance(s, Flows)), default=0)


def _numbers(parts: Mapping[Slice, Numbers | Values]) -> NumberBlock:
    kept = {part: s for part, s in parts.items() if isinstance(s, Numbers)}
    at = np.array([s.quantile(_AT) for s in kept.values()])
    return NumberBlock(
        tuple(kept),
        _floats(s.rows for s in kept.values()),
        _floats(s.missing for s in kept.values()),
        at[:, 1:-1],
        at[:, [0, -1]],
        tuple(kept.values()),
    )


def _values(parts: Mapping[Slice, Numbers | Values]) -> ValueBlock:
    kept = {part: s for part, s in parts.items() if isinstance(s, Values)}
    values = tuple(dict.fromkeys(v for s in kept.values() for v in s.counts))
    column = {v: i for i, v in enumerate(values)}
    counts = np.zeros((len(kept), len(values) + 1))
    for row, s in zip(counts, kept.values(), strict=True):
        row[[column[v] for v in s.counts]] = list(s.counts.values())
        row[-1] = s.other
    return ValueBlock(
        tuple(kept),
        _floats(s.rows for s in kept.values()),
        _floats(s.missing for s in kept.values()),
        _floats(s.unknown for s in kept.values()),
        values,
        counts,
    )


def _floats(numbers: Iterable[int]) -> NDArray[np.float64]:
    return np.array(list(numbers), dtype=np.float64)
