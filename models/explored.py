"""How far a model is from being right on what it does not choose, and what its choice is worth: by exploration.

What was shown is what a model chose: where it thinks too much of an offer, that is shown, and where it thinks too little of one,
nobody finds out. Pages that were drawn at random show both.
"""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from features.spec import Record
from models import metrics
from models.clusters import Clusters, codes, count, of_rows, ratio_error
from models.metrics import Interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CHOSEN = 0.2
"""Share of the offers that a release is taken to choose."""


class OnExplored(Record):
    """The calibrated probabilities of one task on rows of explored pages; None where undefined."""

    rows: int
    positives: int
    auc: float | None
    normalised_entropy: float | None
    pcoc: float | None
    auc_interval: Interval | None
    pcoc_interval: Interval | None

    @classmethod
    def of(cls, labels: Ints, p: Floats, explored: Ints, clusters: Clusters = None) -> Self | None:
        """None where nothing was explored.

        Args:
          labels, p: [N].
          explored: [N], 1 of a page that was drawn at random.
          clusters: [N], equal for rows that are not independent.
        """
        drawn = explored == 1
        labels, p, coded = labels[drawn], p[drawn], codes(of_rows(clusters, drawn))
        if not len(labels):
            return None
        return cls(
            rows=len(labels),
            positives=int(labels.sum()),
            auc=metrics.auc(labels, p),
            normalised_entropy=metrics.normalised_entropy(labels, p),
            pcoc=metrics.pcoc(labels, p),
            auc_interval=metrics.auc_interval(labels, p, coded),
            pcoc_interval=metrics.pcoc_interval(labels, p, coded),
        )


class Choice(Record):
    """What offers are worth that a release would choose, by self-normalised importance sampling over all that was shown.

    A release's choice is, of all offers for all requests and slots, the fifth that it thinks most likely; its value the rate of
    positives, were offers drawn evenly from that:

        value = sum_i w_i y_i / sum_i w_i,    w_i = 1 / propensity_i of the rows in the fifth

    What is always shown and what is hardly ever shown count alike, so the release that has filled the log has no advantage of it.
    """

    rows: int
    """Whose propensity is known."""
    effective: float
    """Rows of equal weight that would tell as much of this release's choice: (sum w)² / sum w²."""
    at_random: float
    """Value of all offers, drawn evenly."""
    ours: float
    theirs: float
    """Of the release in service."""
    gain: Interval
    """Of `ours` - `theirs`, paired by row, at 95 %."""


def compare_choices(labels: Ints, ours: Floats, theirs: Floats, propensity: Floats, clusters: Clusters = None) -> Choice | None:
    """Two models on the same rows, the interval by the delta method (`ratio_error`) for a difference of ratios.

    Args:
      labels: [N], 0 or 1.
      ours, theirs: [N], the greater is chosen.
      propensity: [N], of the offer in its slot, at most 1; a row with 0 or less does not say and is left out.
      clusters: [N], equal for rows that are not independent.
    Returns:
      None with fewer than two clusters.
    Source: Swaminathan and Joachims (2015), The self-normalized estimator for counterfactual learning.
    """
    known = propensity > 0
    y, weight = labels[known], 1 / propensity[known]
    coded = codes(of_rows(clusters, known))
    if count(coded, len(y)) < 2:
        return None
    chosen = [np.where(_top(p[known], weight), weight, 0.0) for p in (ours, theirs)]
    values = [float(np.average(y, weights=w)) for w in chosen]
    effects = [w * (y - value) / w.mean() for w, value in zip(chosen, values, strict=True)]
    half = metrics.Z95 * ratio_error(effects[0] - effects[1], len(y), coded)
    gain = values[0] - values[1]
    return Choice(
        rows=len(y),
        effective=float(chosen[0].sum() ** 2 / (chosen[0] ** 2).sum()),
        at_random=float(np.average(y, weights=weight)),
        ours=values[0],
        theirs=values[1],
        gain=Interval(gain - half, gain + half),
    )


def _top(p: Floats, weight: Floats) -> NDArray[np.bool_]:
    """[N], the rows with the greatest p that make up a fifth of the weight; equal ones stay together."""
    order = np.argsort(-p, kind="stable")
    last = int(np.searchsorted(np.cumsum(weight[order]), CHOSEN * weight.sum()))
    return np.asarray(p >= p[order[min(last, len(p) - 1)]])
