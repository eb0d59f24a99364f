"""How good predicted probabilities are. NumPy only; every metric is None where it is undefined, every interval is at 95 %.

Intervals take the rows for independent, or, given `clusters`, only the clusters (`models.clusters.codes`).
"""

from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.clusters import Clusters, codes, count, design_effect, ratio_error, sums

Array = NDArray[np.float64] | NDArray[np.float32] | NDArray[np.int64]
EPSILON = 1e-7
BINS = 15
Z95 = NormalDist().inv_cdf(0.975)


class Interval(NamedTuple):
    """A confidence interval at 95 %."""

    low: float
    high: float


class ReliabilityBin(NamedTuple):
    """One point of a reliability diagram."""

    rows: int
    mean_p: float
    """Predicted."""
    rate: float
    """Observed."""
    rate_interval: Interval


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
    rank_sum = float(_midranks(p)[labels == 1].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def auc_interval(labels: Array, p: Array, clusters: Clusters = None) -> Interval | None:
    """Of the AUC, by DeLong's variance, symmetric on the logit scale so that it stays within (0, 1).

        variance = sum over c of (P_c^2 I_P / (I_P - 1) + N_c^2 I_N / (I_N - 1) + 2 P_c N_c I / (I - 1))

    P_c and N_c are what the positives and the negatives of cluster c add to the AUC beyond the average ones, I_P, I_N and I how
    many clusters have positives, negatives, and rows. Where every row is a cluster that is DeLong's own.

    Args:
      labels: [R], 0 or 1.
      p: [R], any score.
    Returns:
      None with fewer than two clusters with positives or two with negatives, and where one label wholly outranks the other.
    Source: DeLong, DeLong and Clarke-Pearson (1988), computed from ranks as in Sun and Xu (2014); for clusters,
      Obuchowski (1997), Nonparametric analysis of clustered ROC curve data.
    """
    positive = labels == 1
    positives, negatives = int(positive.sum()), int((~positive).sum())
    area = auc(labels, p)
    if area is None or min(positives, negatives) < 2 or not 0 < area < 1:
        return None
    rank = _midranks(p)
    # Share of the negatives that each positive outranks, and of the positives that outrank each negative.
    outranked = (rank[positive] - _midranks(p[positive])) / negatives
    outranking = 1 - (rank[~positive] - _midranks(p[~positive])) / positives
    beyond = np.zeros((2, len(p)))
    beyond[0, positive], beyond[1, ~positive] = (outranked - area) / positives, (outranking - area) / negatives
    of_positives, of_negatives = (sums(one, clusters) for one in beyond)
    with_positives, with_negatives = (np.count_nonzero(sums(one, clusters)) for one in (positive, ~positive))
    if min(with_positives, with_negatives) < 2:
        return None
    variance = _unbiased(with_positives) * np.sum(of_positives**2) + _unbiased(with_negatives) * np.sum(of_negatives**2)
    variance += 2 * _unbiased(len(of_positives)) * np.sum(of_positives * of_negatives)
    centre, half = np.log(area / (1 - area)), Z95 * float(np.sqrt(max(variance, 0.0))) / (area * (1 - area))
    return Interval(*(float(1 / (1 + np.exp(-end))) for end in (centre - half, centre + half)))


def log_loss(labels: Array, p: Array) -> float | None:
    """Mean of -[y log p + (1 - y) log(1 - p)] in nats, p cut to [1e-7, 1 - 1e-7]; None without rows."""
    return float(row_log_loss(labels, p).mean()) if len(labels) else None


def row_log_loss(labels: Array, p: Array) -> NDArray[np.float64]:
    """The log loss of each row, [R]."""
    q = np.clip(np.asarray(p, np.float64), EPSILON, 1 - EPSILON)
    return -np.where(labels == 1, np.log(q), np.log1p(-q))


def pcoc(labels: Array, p: Array) -> float | None:
    """Predicted over observed: sum p / sum y. 1 is unbiased, above 1 promises too much; None without a positive."""
    positives = float(labels.sum())
    return float(np.asarray(p, np.float64).sum()) / positives if positives else None


def pcoc_interval(labels: Array, p: Array, clusters: Clusters = None) -> Interval | None:
    """Of the PCOC, as of a ratio of two sums (`ratio_error`), symmetric on the log scale so that it stays above 0.

        log PCOC -+ 1.96 sqrt(G / (G - 1) sum over clusters (sum of y - p / PCOC)^2) / sum y

    Args:
      labels: [R], 0 or 1.
      p: [R], in [0, 1].
    Returns:
      None without a positive, where every p is 0, and with one cluster.
    """
    ratio = pcoc(labels, p)
    if not ratio or count(clusters, len(labels)) < 2:
        return None
    half = Z95 * ratio_error(labels - np.asarray(p, np.float64) / ratio, float(labels.sum()), clusters)
    return Interval(ratio * float(np.exp(-half)), ratio * float(np.exp(half)))


def log_loss_interval(labels: Array, p: Array, clusters: Clusters = None) -> Interval | None:
    """Of the log loss, as of a mean (`ratio_error`); None with one cluster, or without rows."""
    losses = row_log_loss(labels, p)
    if count(clusters, len(losses)) < 2:
        return None
    mean = float(losses.mean())
    half = Z95 * ratio_error(losses - mean, len(losses), clusters)
    return Interval(mean - half, mean + half)


def normalised_entropy(labels: Array, p: Array) -> float | None:
    """Log loss over that of always predicting the base rate; below 1 beats it. None where the base rate is 0 or 1.

    Source: He et al. (2014), Practical lessons from predicting clicks on ads at Facebook.
    """
    if not len(labels) or not 0 < labels.mean() < 1:
        return None
    loss = log_loss(labels, p)
    base = log_loss(labels, np.full(len(labels), labels.mean(), np.float64))
    return None if loss is None or not base else loss / base


def field_rce(labels: Array, p: Array, field: NDArray[Any]) -> float | None:
    """Field-level relative calibration error: how far off the mean prediction is for a typical value of a feature.

        sum over values z of |D_z| |mean_z(y) - mean_z(p)| / mean_z(y), over sum |D_z|

    Errors of different sign do not cancel between values, as they do in PCOC. Values without a positive have no relative error
    and are left out of both sums.

    Args:
      labels: [R], 0 or 1.
      p: [R], in [0, 1].
      field: [R], the feature's value per row: text or whole numbers.
    Returns:
      At least 0, 0.1 being 10 % off; None without a positive.
    Source: Pan et al. (2020), Field-aware calibration.
    """
    _, group = np.unique(field, return_inverse=True)
    rows = np.bincount(group)
    positives = np.bincount(group, weights=labels)
    predicted = np.bincount(group, weights=p)
    judged = positives > 0
    if not judged.any():
        return None
    relative = np.abs(positives[judged] - predicted[judged]) / positives[judged]
    return float(np.average(relative, weights=rows[judged]))


def ece(labels: Array, p: Array, bins: int = BINS) -> float | None:
    """Expected calibration error over bins of equal mass: sum over bins of (rows_b / R) |rate_b - mean_p_b|.

    It compares one model with itself before and after calibration; it is biased upwards on few rows and ignores how well the
    model tells rows apart, so judge models by log loss.

    Args:
      labels: [R], 0 or 1.
      p: [R], in [0, 1].
      bins: how many at most; see `equal_mass_bins`.
    Returns:
      In [0, 1]; None without rows.
    Source: Nixon et al. (2019), Measuring calibration in deep learning (there: adaptive calibration error).
    """
    if not len(labels):
        return None
    curve = reliability_curve(labels, p, bins)
    return sum(b.rows * abs(b.rate - b.mean_p) for b in curve) / len(labels)


def reliability_curve(labels: Array, p: Array, bins: int = BINS, clusters: Clusters = None) -> tuple[ReliabilityBin, ...]:
    """Observed rates against predicted ones, in bins of equal mass, lowest prediction first.

    Args:
      labels: [R], 0 or 1.
      p: [R], in [0, 1].
      bins: how many at most; see `equal_mass_bins`.
    Returns:
      None of its bins is empty; empty without rows. Each rate has its Wilson interval, of as many rows as its clusters are worth.
    """
    group = equal_mass_bins(p, bins)
    effect = [_effect(labels, clusters, group == b) for b in range(group.max(initial=-1) + 1)]
    rows = np.bincount(group)
    positives = np.bincount(group, weights=labels)
    predicted = np.bincount(group, weights=p)
    return tuple(
        ReliabilityBin(int(n), float(sum_p / n), float(k / n), rate_interval(k / worse, n / worse))
        for n, k, sum_p, worse in zip(rows, positives, predicted, effect, strict=True)
    )


def rate_interval(positives: float, rows: float) -> Interval:
    """Of a rate, by Wilson's score: within [0, 1], and honest about 0 of `rows`.

    Args:
      positives: at most `rows`.
      rows: above 0; of rows that are not independent, as many as they are worth.
    Source: Wilson (1927).
    """
    rate, z2 = positives / rows, Z95**2
    centre = (rate + z2 / (2 * rows)) / (1 + z2 / rows)
    half = Z95 * float(np.sqrt(rate * (1 - rate) / rows + z2 / (4 * rows**2))) / (1 + z2 / rows)
    return Interval(max(centre - half, 0.0), min(centre + half, 1.0))


def equal_mass_bins(p: Array, bins: int) -> NDArray[np.int64]:
    """Cuts rows at the quantiles of p, equal values staying together.

    Args:
      p: [R], any score.
      bins: how many at most; fewer where values repeat or rows are few.
    Returns:
      [R], bin of each row: 0 for the lowest p, up to the number of bins - 1, none of them empty. It does not depend on the
      order of the rows.
    """
    ordered = np.sort(p)
    at = np.arange(1, bins) * len(ordered) // bins
    cuts = np.unique(ordered[at]) if len(ordered) else ordered
    _, group = np.unique(np.searchsorted(cuts, p, side="right"), return_inverse=True)
    return group.astype(np.int64)


def _unbiased(n: int) -> float:
    return n / (n - 1)


def _effect(labels: Array, clusters: Clusters, rows: NDArray[np.bool_]) -> float:
    """The design effect of the rate in some of the rows."""
    return 1.0 if clusters is None else design_effect(labels[rows] - labels[rows].mean(), codes(clusters[rows]))


def _midranks(p: Array) -> NDArray[np.float64]:
    """Ranks from 1, [R]; equal values share the mean of theirs."""
    _, group, size = np.unique(p, return_inverse=True, return_counts=True)
    rank: NDArray[np.float64] = (np.cumsum(size) - (size - 1) / 2)[group]
    return rank
