"""Fits as the pipeline makes them, on logs in memory."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.studies.columns import Columns
from features.market import Market
from models.fit import fit_ranker
from models.progress import FitProgress, Histories
from models.ranker import Ensemble
from simulation.offline import Logged

VALID_FRACTION = 0.1
PREDICT_ROWS = 65_536


def silent(progress: FitProgress) -> None:
    """Reports nowhere."""


def fit(market: Market, columns: Columns, log: Logged) -> tuple[Ensemble, Histories]:
    """A new ranker and the course of its fit; the latest tenth of the rows stops its training."""
    cut = int(len(log) * (1 - VALID_FRACTION))
    train, valid = (columns.rows(log.take(part)) for part in (np.arange(cut), np.arange(cut, len(log))))
    return fit_ranker(market, columns.encoding, train, valid, silent)


def predict(ranker: Ensemble, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """[N, T]."""
    rows = len(inputs["offer_ids"])
    parts = [{k: x[i : i + PREDICT_ROWS] for k, x in inputs.items()} for i in range(0, rows, PREDICT_ROWS)]
    return np.concatenate([np.asarray(ranker.probabilities(part), np.float64) for part in parts])
