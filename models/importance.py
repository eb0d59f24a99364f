"""What a model would lose without a feature: the AUC that goes when the feature's values come from other rows.

Rows are drawn by stratum, rare ones whole, and weighed by how many they stand for: few positives are all there, and a share of
the many others. What takes the place of a value comes from any row, or the values of the rare rows would give them away.

Source: Breiman (2001), Random forests.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.clusters import Clusters, codes, count, sums
from models.evaluation import Floats, LabelCount, Labels
from models.metrics import Z95, Interval


class Importance(LabelCount):
    """Of one task's features, measured on so many rows and positives."""

    lost: dict[str, float] = Field(default={})
    """Feature -> AUC lost, most important first."""
    intervals: dict[str, Interval] = Field(default={})


def draw(strata: NDArray[np.int64], most: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], Floats]:
    """Rows of every stratum, at most `most` in all: small strata whole, the others alike.

    Args:
      strata: [R], which each row is of.
    Returns:
      rows [n] in order, and the weight [n] of each: rows of its stratum per row drawn.
    """
    found, group, size = np.unique(strata, return_inverse=True, return_counts=True)
    chosen, left = np.zeros(len(strata), bool), most
    weight = np.ones(len(strata))
    for done, stratum in enumerate(np.argsort(size, kind="stable")):
        take = min(int(size[stratum]), left // (len(found) - done))
        chosen[rng.permutation(np.flatnonzero(group == stratum))[:take]] = True
        weight[group == stratum] = size[stratum] / max(take, 1)
        left -= take
    rows = np.flatnonzero(chosen)
    return rows, weight[rows]


def auc_lost(
    labels: Labels, before: Floats, after: Floats, weight: Floats, clusters: Clusters = None
) -> tuple[float, Interval | None] | None:
    """AUC of `before` less that of `after`, of the same weighted rows [n]; its interval by DeLong's paired variance.

    Returns:
      None without a positive or a negative; no interval with fewer than two clusters.
    Source: DeLong, DeLong and Clarke-Pearson (1988), by cluster as in `models.metrics.auc_interval`.
    """
    positive = labels == 1
    if positive.all() or not positive.any():
        return None
    lost = _won(positive, before, weight) - _won(positive, after, weight)
    mean = float(np.average(lost[positive], weights=weight[positive]))
    of_label = np.where(positive, weight[positive].sum(), weight[~positive].sum())
    coded = codes(clusters)
    groups = count(coded, len(labels))
    if groups < 2:
        return mean, None
    spread = sums(weight * (lost - mean) / of_label, coded)
    half = Z95 * float(np.sqrt(groups / (groups - 1) * np.sum(spread**2)))
    return mean, Interval(mean - half, mean + half)


def _won(positive: NDArray[np.bool_], p: Floats, weight: Floats) -> Floats:
    """[n], the share of rows of the other label, by weight, that each is on the right side of; ties count half."""
    won = np.empty(len(p))
    for side, sign in ((positive, 1), (~positive, -1)):
        order = np.argsort(sign * p[~side], kind="stable")
        others, cumulated = (sign * p[~side])[order], np.concatenate([[0.0], np.cumsum(weight[~side][order])])
        below, up_to = np.searchsorted(others, sign * p[side], "left"), np.searchsorted(others, sign * p[side], "right")
        won[side] = (cumulated[below] + cumulated[up_to]) / 2 / cumulated[-1]
    return won
