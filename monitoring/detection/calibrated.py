"""The streams of matured labels: bets against E[y] = p, and how far outcomes are from what is usual for the slice."""

import numpy as np

from monitoring.detection.betting import TILTS, log_bets_of
from monitoring.detection.distances import Floats
from monitoring.detection.measures import Measured, Stream
from monitoring.detection.nulls import FEWEST_ROWS
from monitoring.detection.profile import Profile

BETTING = "betting"
"""Kind of the streams that bet; what they find is of the kind `calibration`."""
_FEWEST_OUTCOMES = 2.0


def measure_calibration(now: Profile) -> tuple[Measured, Floats]:
    """K streams, two for each calibration of the hour; and what the bets of all of them return, [K, 2, bets], as logarithms.

    Where a slice is always off by a little, as all are, its usual deviation is learned as that of any stream, so that a change
    is seen at once; the bets see what is off for long. The former do not bet, so that they return 0 here.
    """
    keys, matured = list(now.calibrations), list(now.calibrations.values())
    k = len(keys)
    n, p, y = (np.array([float(getattr(c, name)) for c in matured]) for name in ("rows", "sum_p", "sum_y"))
    y = np.minimum(y, n)
    variance = np.array([c.sum_variance for c in matured])
    judged = (n >= FEWEST_ROWS) & (p >= _FEWEST_OUTCOMES)
    with np.errstate(invalid="ignore", divide="ignore"):
        size = p / y
    deviation = np.where(judged, 2 * (np.sqrt(y + 0.375) - np.sqrt(p + 0.375)), np.nan)
    noise = np.sqrt(np.where(judged, variance / np.maximum(p, 1e-12), 1.0))
    nothing = np.full(k, np.nan)
    measured = Measured(
        [Stream("calibration", series, part) for part, series in keys] + [Stream(BETTING, series, part) for part, series in keys],
        np.concatenate([deviation, nothing]),
        np.concatenate([noise, np.ones(k)]),
        np.ones(2 * k),
        np.zeros(2 * k, dtype=bool),
        np.concatenate([size, size]),
        np.ones(2 * k),
        np.concatenate([n, n]),
    )
    bets = np.zeros((2 * k, *TILTS.shape))
    for i, c in enumerate(matured):
        bets[k + i] = log_bets_of(c)
    return measured, bets
