"""Rows that are not independent: slots of a page, pages of a shopper. What varies is their sums, cluster by cluster."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Clusters = NDArray[np.int64] | None
"""[R], equal for rows that belong together; `codes` makes them 0 to G - 1. None where every row stands for itself."""


def codes(clusters: Clusters) -> Clusters:
    """The same clusters as 0 to G - 1, none of them empty; what the other functions take."""
    return None if clusters is None else np.unique(clusters, return_inverse=True)[1].astype(np.int64)


def of_rows(clusters: Clusters, rows: NDArray[np.bool_]) -> Clusters:
    """The clusters of some rows."""
    return None if clusters is None else clusters[rows]


def count(clusters: Clusters, rows: int) -> int:
    """G; every row is one where there are none."""
    return rows if clusters is None else int(clusters.max(initial=-1)) + 1


def sums(values: NDArray[Any], clusters: Clusters) -> NDArray[np.float64]:
    """Values [R] summed by cluster, [G]."""
    return np.asarray(values, np.float64) if clusters is None else np.bincount(clusters, weights=values).astype(np.float64)


def ratio_error(residual: NDArray[Any], denominator: float, clusters: Clusters) -> float:
    """Standard error of a ratio of two sums over random clusters, by the delta method.

        r = sum a_i / sum b_i,   se(r) = sqrt(G / (G - 1) sum over clusters (sum of a_i - r b_i)^2) / sum b_i

    Args:
      residual: [R], a_i - r b_i; with b_i = 1 the ratio is a mean.
      denominator: sum b_i.
      clusters: codes of at least two.
    Source: Cochran (1977), Sampling techniques, sections 6.4 and 9A.
    """
    spread = sums(residual, clusters)
    return float(np.sqrt(len(spread) / (len(spread) - 1) * np.sum(spread**2)) / denominator)


def design_effect(residual: NDArray[Any], clusters: Clusters) -> float:
    """By how much the variance of a mean is larger than were the rows independent, at least 1.

    Args:
      residual: [R], differences from the mean.
    Source: Kish (1965), Survey sampling.
    """
    alone = float(np.sum(np.asarray(residual, np.float64) ** 2))
    return 1.0 if clusters is None or not alone else max(1.0, float(np.sum(sums(residual, clusters) ** 2)) / alone)
