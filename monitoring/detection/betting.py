"""Calibration in service: a bet against E[y] = p, per task and slice, valid at every hour, whatever the market does.

Whoever believes that outcomes are t times as likely as predicted bets by tilting: with k of n rows come true whose probabilities
average p,

    E = t^k / (1 + p (t - 1))^n        E[E] <= 1 if each row's chance is its p

By Jensen that holds of averages as it does of rows, so that an hour's ten bins of p are enough. Of a slice that is off by less
than the tolerance nobody wants to hear; for t > 1 it is tested against p (1 + tolerance), for t < 1 against p / (1 + tolerance).
Source: Waudby-Smith and Ramdas (2024) for bets on bounded means; Arnold, Henzi and Ziegel (2023) for calibration.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import betaincinv, logsumexp

from monitoring.detection.distances import Floats
from monitoring.summaries import Calibration

_MORE: Final = np.array([1.15, 1.3, 1.6, 2.2, 4.0])
TILTS: Final = np.array([_MORE, 1 / _MORE])
"""How many times as likely as predicted outcomes are taken to be, [2, bets]: more likely, and less."""
TOLERANCE: Final = 0.1


def log_bets(rows: Floats, sum_p: Floats, sum_y: Floats, tolerance: float = TOLERANCE) -> Floats:
    """What each tilt returns, as logarithms, shaped as TILTS.

    Args:
      rows, sum_p, sum_y: [B] by bin; more outcomes than rows count as all of them.
    """
    n, k = rows, np.minimum(sum_y, rows)
    with np.errstate(invalid="ignore"):
        mean = np.where(n > 0, sum_p / np.maximum(n, 1.0), 0.0)
    tilt = TILTS[..., None]
    p = np.where(tilt > 1.0, np.minimum(mean * (1 + tolerance), 1.0), mean / (1 + tolerance))
    return np.asarray((k * np.log(tilt) - n * np.log1p(p * (tilt - 1.0))).sum(axis=-1))


def log_bets_of(matured: Calibration, tolerance: float = TOLERANCE) -> Floats:
    """`log_bets` of a summary."""
    rows, y = matured.bin_rows.astype(np.float64), matured.bin_y.astype(np.float64)
    return log_bets(rows, matured.bin_p, y, tolerance)


def mixed(log_wealth: Floats) -> Floats:
    """Log of what is had by who splits his stake evenly over all tilts, the last two axes: an e-process itself."""
    return np.asarray(logsumexp(log_wealth, axis=(-1, -2)) - np.log(TILTS.size))


@dataclass(frozen=True, slots=True)
class Pcoc:
    """Predicted over observed outcomes, and the interval that holds it with `level`; infinite where none came."""

    pcoc: float
    low: float
    high: float


def pcoc_interval(sum_p: float, sum_y: float, rows: float, level: float = 0.95) -> Pcoc:
    """With the exact (Clopper-Pearson) interval of the rate that came; more outcomes than rows count as all of them."""
    k, n = min(sum_y, rows), rows
    if n <= 0 or sum_p <= 0:
        return Pcoc(float("nan"), 0.0, float("inf"))
    tail = (1 - level) / 2
    least = float(betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    most = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return Pcoc(sum_p / k if k > 0 else float("inf"), sum_p / (n * most), sum_p / (n * least) if least > 0 else float("inf"))


def mispriced_micros(matured: Calibration) -> int:
    """Money by which these rows brought more (above 0) or less than their probabilities said."""
    return matured.charged_micros - matured.expected_micros
