"""The release in service as the instrument that new labels are read with.

It has passed its gates, so of an hour of rows that it has not learned from as many are positive as it said, give or take a market
that moves. Where clicks are lost, counted twice or all 0, far fewer or more are: an hour is doubted where the whole interval of

    PCOC = sum p / y,   y ~ Poisson

lies beyond the bounds. A model that learned such an hour would be right about it, and wrong ever after; no comparison of the two
on the same rows could tell.

Source: Garwood (1936), Fiducial limits for the Poisson distribution.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainccinv, gammaincinv

HOUR_MS = 3_600_000
MISTAKEN = 0.001
"""Chance to doubt an hour that is as it should be, on either side, were each row on its own."""


class Bounds(NamedTuple):
    """PCOC of the release in service on an hour of new rows, beyond which that hour is doubted."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What the instrument says of some time, an hour or as many as it takes to say something."""

    from_ms: int
    until_ms: int
    rows: int
    positives: int
    expected: float
    """Sum of the probabilities."""
    telling: bool
    """Whether it would be doubted, were none positive: what is less says nothing."""
    doubted: bool

    def __str__(self) -> str:
        return f"{self.positives:,} positives in {self.rows:,} rows where {self.expected:,.0f} were expected"


def readings(time_ms: NDArray[np.int64], labels: NDArray[np.int64], p: NDArray[np.float64], bounds: Bounds) -> list[Reading]:
    """Of rows in any order, hour by hour; an hour with too little to tell is read together with those before it.

    Args:
      time_ms: [N], when each was decided.
      labels, p: [N], p the calibrated probabilities of the release in service where each was shown.
    """
    least = bounds.high * positives_interval(0)[1]  # of the expectation, for none at all to be doubted
    found: list[Reading] = []
    hours, number = np.unique(time_ms // HOUR_MS, return_inverse=True)
    sums = [np.bincount(number, column, minlength=len(hours)) for column in (np.ones(len(p)), labels, p)]
    open_ms, rows, positives, expected = -1, 0, 0, 0.0
    for i, hour in enumerate(hours.tolist()):
        open_ms = hour * HOUR_MS if open_ms < 0 else open_ms
        rows, positives, expected = rows + int(sums[0][i]), positives + int(sums[1][i]), expected + float(sums[2][i])
        if expected >= least or i == len(hours) - 1:
            until_ms, doubted = (hour + 1) * HOUR_MS, beyond(positives, expected, bounds)
            found.append(Reading(open_ms, until_ms, rows, positives, expected, expected >= least, doubted))
            open_ms, rows, positives, expected = -1, 0, 0, 0.0
    return found


def beyond(positives: int, expected: float, bounds: Bounds) -> bool:
    """Whether the whole interval of PCOC lies beyond a bound."""
    low, high = positives_interval(positives)
    return expected > bounds.high * high or expected < bounds.low * low


def positives_interval(positives: int) -> tuple[float, float]:
    """Exact limits of a Poisson mean, by what was counted."""
    low = gammaincinv(positives, MISTAKEN) if positives else 0.0
    return float(low), float(gammainccinv(positives + 1, MISTAKEN))


def split_doubts(found: list[Reading]) -> tuple[list[Reading], list[Reading]]:
    """Doubted readings that are over, since a later one is believed, and those that last until now.

    A fault that is over can be left out without a hand; while it lasts, it may as well be the market that has moved.
    """
    believed = max((reading.until_ms for reading in found if reading.telling and not reading.doubted), default=0)
    doubted = [reading for reading in found if reading.doubted]
    return [r for r in doubted if r.until_ms <= believed], [r for r in doubted if r.until_ms > believed]
