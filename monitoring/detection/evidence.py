"""From p-values to e-values to alarms, with a promise of run length over all streams together.

An e-value is a bet on a p-value's being small that costs 1 and returns at most 1 on average if nothing happened. An e-detector
adds up what one would have by now if one had started to bet at any hour so far:

    M_t = (M_{t-1} + 1) E_t        E[M_t] <= t without a change, so E[first t with M_t >= c] >= c

The weighted sum over streams, weights summing to 1, is such a process, too, whatever the dependence between streams. An alarm
where w_k M_k >= 168 for any stream k therefore comes at most once in 168 hours on average. There is no other threshold.
Source: Shin, Ramdas and Rinaldo, "E-detectors" (2024); Vovk and Wang, "E-values" (2021).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from monitoring.detection.distances import Floats

RUN_LENGTH_HOURS: Final = 168
"""One false alarm a week, over everything."""
BETS: Final = np.array([0.5, 1.0, 2.0, 4.0, 7.0])
"""Shifts that are bet on, in standard deviations: a small one that stays, to one that is over within the hour."""
_MOST_Z: Final = 40.0


def log_e_values(z: Floats) -> Floats:
    """What each of the bets returns on an hour, as a logarithm, [..., len(BETS)].

        E = exp(b z - b^2 / 2),  z = Phi^{-1}(1 - p)

    It decreases in p and integrates to 1 over [0, 1]: a p-to-e calibrator for each b. Missing hours (NaN) return 1.
    """
    bounded = np.clip(z, -_MOST_Z, _MOST_Z)[..., None]
    return np.asarray(np.where(np.isnan(bounded), 0.0, bounded * BETS - BETS**2 / 2))


def advance(log_m: Floats, log_e: Floats) -> Floats:
    """log M_t of log M_{t-1} and log E_t. log_m: any shape, -inf before the first hour."""
    return np.asarray(np.logaddexp(log_m, 0.0) + log_e)


def combined(log_m: Floats) -> Floats:
    """Log of the average over the bets, the last axis: an e-detector again."""
    return np.asarray(logsumexp(log_m, axis=-1) - np.log(log_m.shape[-1]))


def threshold(weights: Floats) -> Floats:
    """Log M at which a stream of each weight alarms. weights: [K], sum to at most 1."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(RUN_LENGTH_HOURS) - np.log(weights))


def e_bh(log_e: Floats, rate: float) -> NDArray[np.bool_]:
    """Which hypotheses e-BH rejects at false discovery rate `rate`, [K], whatever their dependence.

    The k largest with e_(k) >= K / (k rate), for the largest such k. Source: Wang and Ramdas (2022).
    """
    order = np.argsort(-log_e)
    k = np.arange(1, len(log_e) + 1)
    passing = np.flatnonzero(log_e[order] >= np.log(len(log_e)) - np.log(k * rate))
    rejected = np.zeros(len(log_e), dtype=bool)
    if len(passing):
        rejected[order[: passing[-1] + 1]] = True
    return rejected
