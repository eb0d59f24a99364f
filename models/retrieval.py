"""How many of the offers that shoppers wanted the two towers retrieve, and how many those of another release."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.spec import Record
from models import metrics
from models.clusters import Clusters, codes, count, design_effect, ratio_error
from models.metrics import Interval

TOLERANCE = 1e-6
"""Likenesses that are as near as that are equal: one offer embedded in two batches."""

Ahead = NDArray[np.int64]
"""[P], of each positive row, how many offers of the catalogue are nearer to its request than its own."""


Embeddings = NDArray[np.float32]


class Catalogue(NamedTuple):
    """What is retrieved from what."""

    k: int
    """Offers that a request retrieves."""
    offers: int


class Recall(Record):
    """Share of a task's positives whose offer is among the `k` nearest to the request."""

    k: int
    offers: int
    """In the catalogue."""
    positives: int
    """Looked up; at most 10,000, at random."""
    recall: float
    interval: Interval


class RecallLoss(Record):
    """What is lost of the recall of the release in service, on the same rows: above 0 is worse."""

    k: int
    positives: int
    ours: float
    theirs: float
    loss: float
    """`theirs` - `ours`."""
    interval: Interval


def count_ahead(request: Embeddings, own: Embeddings, catalogue: Embeddings) -> Ahead:
    """Of the embeddings [P, D] of requests and of the offers that were wanted, and [N, D] of a catalogue."""
    likeness = np.sum(request * own, axis=1, keepdims=True)
    return np.count_nonzero(request @ catalogue.T > likeness + TOLERANCE, axis=1).astype(np.int64)


def recall(ahead: Ahead, catalogue: Catalogue, clusters: Clusters = None) -> Recall | None:
    """Recall@k of [P] positives; None without any.

    Args:
      clusters: [P], equal for rows that are not independent.
    """
    if not len(ahead):
        return None
    hit = (ahead < catalogue.k).astype(np.float64)
    effect = design_effect(hit - hit.mean(), codes(clusters))
    interval = metrics.rate_interval(float(hit.sum()) / effect, len(hit) / effect)
    k, offers = catalogue
    return Recall(k=k, offers=offers, positives=len(hit), recall=float(hit.mean()), interval=interval)


def recall_loss(ours: Ahead, theirs: Ahead, k: int, clusters: Clusters = None) -> RecallLoss | None:
    """The paired difference of two releases' recall@k of the same [P] positives; None with fewer than two clusters."""
    coded = codes(clusters)
    if count(coded, len(ours)) < 2:
        return None
    lost = (theirs < k).astype(np.float64) - (ours < k)
    loss = float(lost.mean())
    half = metrics.Z95 * ratio_error(lost - loss, len(lost), coded)
    return RecallLoss(
        k=k,
        positives=len(lost),
        ours=float(np.mean(ours < k)),
        theirs=float(np.mean(theirs < k)),
        loss=loss,
        interval=Interval(loss - half, loss + half),
    )
