"""Which curve a task is calibrated by."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.calibration.curves import Beta, Curve, Isotonic, Platt, Spline
from models.calibration.logistic import Floats, Labels, Probabilities
from models.clusters import Clusters, codes, count, ratio_error
from models.metrics import row_log_loss

Mask = NDArray[np.bool_]

CANDIDATES = (Platt, Beta, Spline, Isotonic)  # simplest first
FOLDS = 5
LEAST = 50  # positives, and negatives, below which there is nothing to choose by
LEAST_ISOTONIC = 1000  # of both, below which its many steps follow chance, and five folds need not notice


def choose_curve(labels: Labels, p: Probabilities) -> tuple[Curve, dict[str, float]]:
    """Fits the simplest curve whose cross-validated log loss is within one standard error of the lowest.

    The error is that of the mean difference between the two over the same rows, so it is small where they hardly differ.

    Args:
      labels: [R], 0 or 1.
      p: [R], uncalibrated probabilities.
    Returns:
      The curve, fitted to all rows, and the log loss of each candidate by kind over five folds; none, and Platt, with fewer
      than 50 positives or 50 negatives. Isotonic is a candidate from 1,000 of both on.
    Source: Breiman et al. (1984), Classification and regression trees, section 3.4.3; on isotonic, Niculescu-Mizil and Caruana
      (2005), Predicting good probabilities with supervised learning.
    """
    if not enough(labels):
        return Platt.fit(labels, p), {}

    def judged(candidate: type[Curve]) -> Floats:
        return out_of_fold(labels, lambda fit, judge: candidate.fit(labels[fit], p[fit]).apply(p[judge]))

    candidates = CANDIDATES if enough(labels, LEAST_ISOTONIC) else CANDIDATES[:-1]
    losses = {candidate: judged(candidate) for candidate in candidates}
    best = min(losses.values(), key=np.mean)
    chosen = next(c for c, loss in losses.items() if not clearly_worse(loss, best))
    return chosen.fit(labels, p), {c.__name__.lower(): float(loss.mean()) for c, loss in losses.items()}


def enough(labels: Labels, least: int = LEAST) -> bool:
    """Whether rows [R] hold so many of both labels."""
    positives = int(labels.sum())
    return min(positives, len(labels) - positives) >= least


def out_of_fold(labels: Labels, predict: Callable[[Mask, Mask], Floats]) -> Floats:
    """The log loss of each row, [R], as predicted by what was fitted without it.

    Args:
      labels: [R], 0 or 1.
      predict: (rows to fit to [R], rows to judge [R]) -> probabilities of the latter.
    """
    fold, loss = _folds(labels), np.empty(len(labels))
    for judge in (fold == k for k in range(FOLDS)):
        loss[judge] = row_log_loss(labels[judge], predict(~judge, judge))
    return loss


def clearly_worse(loss: Floats, than: Floats, errors: float = 1.0, clusters: Clusters = None) -> bool:
    """Whether the first of two losses [R] of the same rows, R > 0, is higher by more than chance explains; never by one cluster.

    Args:
      errors: how many standard errors of the mean difference chance is given.
      clusters: [R], equal for rows that are not independent.
    """
    difference, coded = loss - than, codes(clusters)
    mean = float(difference.mean())
    return count(coded, len(loss)) > 1 and mean > errors * ratio_error(difference - mean, len(loss), coded)


def _folds(labels: Labels) -> Labels:
    """The fold of each row, [R], the same for the same labels; all folds have as many positives, give or take one."""
    order = np.lexsort((np.random.default_rng(0).permutation(len(labels)), labels))
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % FOLDS
    return fold
