"""How good predicted probabilities are. NumPy only; every metric is None where it is undefined."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64] | NDArray[np.float32] | NDArray[np.int64]
EPSILON = 1e-7


def auc(labels: Array, p: Array) -> float | None:
    """Probability that a random positive outranks a random negative, ties counting half.

        AUC = (sum of the positives' ranks - P (P + 1) / 2) / (P N)

    Args:
      labels: [R], 0 or 1.
      p: [R], any score; only its order matters.
    Returns:
      In [0, 1], or None without a positive or without a negative.
    Source: Mann and Whitney (1947).
    """
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return None
    _, group, size = np.unique(p, return_inverse=True, return_counts=True)
    last_rank = np.cumsum(size)
    mean_rank = last_rank - (size - 1) / 2
    rank_sum = float(mean_rank[group][labels == 1].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def log_loss(labels: Array, p: Array) -> float | None:
    """Mean of -[y log p + (1 - y) log(1 - p)] in nats, p cut to [1e-7, 1 - 1e-7]; None without rows."""
    if not len(labels):
        return None
    q = np.clip(np.asarray(p, np.float64), EPSILON, 1 - EPSILON)
    return float(-np.mean(np.where(labels == 1, np.log(q), np.log1p(-q))))


def pcoc(labels: Array, p: Array) -> float | None:
    """Predicted over observed: sum p / sum y. 1 is unbiased, above 1 promises too much; None without a positive."""
    positives = float(labels.sum())
    return float(np.asarray(p, np.float64).sum()) / positives if positives else None


def normalised_entropy(labels: Array, p: Array) -> float | None:
    """Log loss over that of always predicting the base rate; below 1 beats it. None where the base rate is 0 or 1.

    Source: He et al. (2014), Practical lessons from predicting clicks on ads at Facebook.
    """
    if not len(labels) or not 0 < labels.mean() < 1:
        return None
    loss = log_loss(labels, p)
    base = log_loss(labels, np.full(len(labels), labels.mean(), np.float64))
    return None if loss is None or not base else loss / base
