"""How far two distributions are apart, from quantiles and shares; the last axis is that of quantiles or values."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVELS: Final[Floats] = (np.arange(64) + 0.5) / 64
"""Of the quantiles that a number's summary is read at: the middles of 64 equal parts of the rows, [64]. What is beyond them is
counted as tails: no distance sees a hundredth of the rows move far out."""


def wasserstein(quantiles: Floats, reference: Floats) -> Floats:
    """Mean distance that a row has to move, in the feature's own unit: integral of |Q(u) - R(u)| du. Both [..., 64] at LEVELS."""
    return np.asarray(np.abs(quantiles - reference).mean(axis=-1))


def total_variation(shares: Floats, reference: Floats) -> Floats:
    """Share of the rows that would have to have another value, in [0, 1]; both [..., V] sum to 1."""
    return np.asarray(0.5 * np.abs(shares - reference).sum(axis=-1))


def freeman_tukey(shares: Floats, reference: Floats) -> Floats:
    """Root of a chi-squared per row that stays good where a value has few rows; both [..., V] sum to 1.

        sqrt(4 sum_v (sqrt s_v - sqrt r_v)^2)

    With n and m rows of one distribution the square is about chi2_{V-1} (1/n + 1/m). It is used for significance; its size means
    nothing to a person, that of the total variation does.
    """
    return np.asarray(2.0 * np.sqrt(((np.sqrt(shares) - np.sqrt(reference)) ** 2).sum(axis=-1)))


def stable_rate(hits: Floats, rows: Floats) -> Floats:
    """A rate on the scale where its sampling variance is 1 / rows whatever it is: 2 asin sqrt((k + 3/8) / (n + 3/4)).

    hits above rows, which a broken counter can say, count as all of them.
    Source: Anscombe (1948).
    """
    k = np.clip(hits, 0.0, rows)
    return np.asarray(2.0 * np.arcsin(np.sqrt((k + 0.375) / (rows + 0.75))))
