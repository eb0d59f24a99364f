"""Fits as the pipeline makes them, on logs in memory."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.studies.columns import Columns
from features.market import Market
from models.fit import Rows, fit_ranker
from models.legacy_keras import tf
from models.losses import task_weights
from models.progress import FitProgress
from models.ranker import Ranker
from simulation.offline import Logged

VALID_FRACTION = 0.1
PREDICT_ROWS = 65_536


def silent(progress: FitProgress) -> None:
    """Reports nowhere."""


def fit(market: Market, columns: Columns, log: Logged) -> Ranker:
    """A new ranker; the latest tenth of the rows stops its training."""
    cut = int(len(log) * (1 - VALID_FRACTION))
    train, valid = (columns.rows(log.take(part)) for part in (np.arange(cut), np.arange(cut, len(log))))
    return fit_ranker(market, columns.encoding, train, valid, silent)[0]


def fit_on(market: Market, ranker: Ranker, rows: Rows) -> None:
    """One more pass from the weights, and the optimizer's state, that the ranker has."""
    weights = task_weights(market.tasks, rows.labels)
    for i, t in enumerate(market.tasks):
        weights[:, i] *= rows.weights.get(t.name, 1.0)
    labels = np.stack([rows.labels[t.label] for t in market.tasks], axis=1)
    data = tf.data.Dataset.from_tensor_slices((rows.inputs, rows.positions, labels, weights))
    shuffled = data.shuffle(len(rows), seed=market.model.seed).batch(market.model.batch_size).prefetch(2)
    ranker.fit(shuffled, epochs=1, verbose=0)


def predict(ranker: Ranker, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """[N, T]."""
    rows = len(inputs["offer_ids"])
    parts = [{k: x[i : i + PREDICT_ROWS] for k, x in inputs.items()} for i in range(0, rows, PREDICT_ROWS)]
    return np.concatenate([np.asarray(ranker.probabilities(part), np.float64) for part in parts])
