"""Whether the two towers find what shoppers wanted: how many offers of the catalogue they put before the one of a row."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.assemble import OfferColumns
from features.market import Market
from features.model_spec import TaskSpec
from models.legacy_keras import tf
from models.release import AHEAD
from models.retrieval import count_ahead
from pipelines.calibration import Columns, counting

MOST_POSITIVES = 10_000
"""Looked up per task, at random: their recall has a standard error of half a per cent at most."""
_SCORES = 20_000_000
"""At once, 80 MB."""


def ahead(market: Market, signatures: Mapping[str, Any], rows: Columns) -> dict[str, NDArray[np.int64]]:
    """`AHEAD` of the positives of every served task; nothing where all offers are ranked, and towers of no use.

    An offer that the market no longer has, or has under other features, is looked up as it was shown, beside those of today.

    Args:
      signatures: `query` and `offers` of a release.
    """
    if len(market.offers) <= market.policy.max_candidates:
        return {}
    asked = np.any([positives(market, t, rows) for t in market.served_tasks], axis=0)
    found = np.full(len(asked), -1)
    catalogue = _embed(signatures["offers"], OfferColumns.of(market).columns, len(market.offers))
    at, step = np.flatnonzero(asked), max(_SCORES // len(market.offers), 1)
    shown = {t.name: rows[t.name][at] for f in market.features for t in f.tensors}
    for some in (slice(start, start + step) for start in range(0, len(at), step)):
        request, offer = (
            _embed(signatures[side], {t.name: shown[t.name][some] for f in features for t in f.tensors}, len(at[some]))
            for side, features in (("query", market.request_features), ("offers", market.offer_features))
        )
        found[at[some]] = count_ahead(request, offer, catalogue)
    return {AHEAD: found}


def positives(market: Market, task: TaskSpec, rows: Columns) -> NDArray[np.bool_]:
    """[R], rows that count for a task and have its label; at most `MOST_POSITIVES`, the same for the same rows."""
    found: NDArray[np.bool_] = counting(task, rows) & (rows[task.label] == 1)
    left_out = np.random.default_rng(market.model.seed).permutation(np.flatnonzero(found))[MOST_POSITIVES:]
    found[left_out] = False
    return found


def _embed(signature: Any, tensors: Mapping[str, Any], rows: int) -> NDArray[np.float32]:
    """[R, D]"""
    batches = [
        signature(**{name: tf.constant(column[start : start + 4096]) for name, column in tensors.items()})["embedding"].numpy()
        for start in range(0, rows, 4096)
    ]
    return np.concatenate(batches)
