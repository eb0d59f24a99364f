"""Which curve a task is calibrated by."""

import numpy as np

from models.calibration.curves import Beta, Curve, Isotonic, Platt, Spline
from models.calibration.logistic import Floats, Labels, Probabilities
from models.metrics import row_log_loss

CANDIDATES = (Platt, Beta, Spline, Isotonic)  # simplest first
FOLDS = 5
LEAST = 50  # positives, and negatives, below which there is nothing to choose by


def choose_curve(labels: Labels, p: Probabilities) -> tuple[Curve, dict[str, float]]:
    """Fits the simplest curve whose cross-validated log loss is within one standard error of the lowest.

    The error is that of the mean difference between the two over the same rows, so it is small where they hardly differ.

    Args:
      labels: [R], 0 or 1.
      p: [R], uncalibrated probabilities.
    Returns:
      The curve, fitted to all rows, and the log loss of each candidate by kind over five folds; none, and Platt, with fewer
      than 50 positives or 50 negatives.
    Source: Breiman et al. (1984), Classification and regression trees, section 3.4.3.
    """
    positives = int(labels.sum())
    if min(positives, len(labels) - positives) < LEAST:
        return Platt.fit(labels, p), {}
    fold = _folds(labels)
    losses: dict[type[Platt | Beta | Spline | Isotonic], Floats] = {c: np.empty(len(labels)) for c in CANDIDATES}
    for held_out in (fold == k for k in range(FOLDS)):
        for candidate, loss in losses.items():
            curve = candidate.fit(labels[~held_out], p[~held_out])
            loss[held_out] = row_log_loss(labels[held_out], curve.apply(p[held_out]))
    best = min(losses.values(), key=np.mean)
    chosen = next(c for c, loss in losses.items() if not clearly_worse(loss, best))
    return chosen.fit(labels, p), {c.__name__.lower(): float(loss.mean()) for c, loss in losses.items()}


def clearly_worse(loss: Floats, than: Floats) -> bool:
    """Whether the first of two losses [R] of the same rows, R > 0, is higher by more than the difference's standard error."""
    difference = loss - than
    return bool(difference.mean() > difference.std() / np.sqrt(len(difference)))


def _folds(labels: Labels) -> Labels:
    """The fold of each row, [R], the same for the same labels; all folds have as many positives, give or take one."""
    order = np.lexsort((np.random.default_rng(0).permutation(len(labels)), labels))
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % FOLDS
    return fold
