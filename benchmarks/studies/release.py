"""A model as a release has it, and what a turn of `offerrank retrain` makes of it, by the same code, on rows in memory."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.studies.columns import CTR, Columns
from benchmarks.studies.fits import VALID_FRACTION, fit, silent
from features.market import Market
from models.calibration import Calibrator
from models.progress import Histories
from models.progressive import ProgressivePass, Scores, score
from models.ranker import Ensemble
from models.release import EXAMINATION, calibrated_column, raw_column
from pipelines.calibration import calibrated, fit_calibrator, where_shown
from pipelines.progressive import calibrate_in_time
from simulation.offline import Logged

CARRIED = 2000
"""Rows that a calibration goes on from."""
RAW, CALIBRATED = raw_column(CTR.name), calibrated_column(CTR.name)
Rows = dict[str, NDArray[Any]]


@dataclass(slots=True)
class Model:
    """A release: a network, what encodes for it, and its calibrator."""

    ranker: Ensemble
    columns: Columns
    calibrator: Calibrator
    learn: ProgressivePass
    fitted: Histories
    carried: Rows | None = None
    """The latest rows that it scored before it learned from them."""

    def raw(self, log: Logged) -> Rows:
        """Its scores of rows, and what was observed of them."""
        return observed(log) | columns_of(score(self.ranker, self.columns.rows(log)))

    def learned(self, market: Market, log: Logged) -> "tuple[Rows, Model]":
        """One pass: rows as they were scored and calibrated before they were learned from, and the model after all of them."""
        observations = observed(log)
        scores, _ = self.learn(self.columns.rows(log), observations["time_ms"], silent)
        shown = where_shown(market, observations | columns_of(scores))
        calibrator, in_time = calibrate_in_time(market, shown, self.carried, None)
        carried = {n: np.concatenate([self.carried[n], x])[-CARRIED:] if self.carried else x for n, x in shown.items()}
        return shown | in_time, replace(self, calibrator=calibrator, carried=carried)

    def served(self, market: Market, log: Logged) -> NDArray[np.float64]:
        """[R], its calibrated probabilities of rows at the first position."""
        return calibrated(market, self.calibrator, self.raw(log))[CALIBRATED]


def observed(log: Logged) -> Rows:
    """What the archive has of rows."""
    return {"click": log.click.astype(np.int64), "time_ms": (1000 * log.time_s).astype(np.int64)}


def columns_of(scores: Scores) -> Rows:
    """As the pipeline names them."""
    return {RAW: scores.p[:, 0], EXAMINATION: scores.examination}


def fit_anew(market: Market, hours: list[Logged]) -> Model:
    """Of rows in the order of time; the latest tenth stops the fit, and calibrates it."""
    log = Logged.join(hours)
    columns = Columns(market, log)
    ranker, histories = fit(market, columns, log)
    model = Model(ranker, columns, Calibrator(tasks={}), ProgressivePass(market, ranker), histories)
    valid = where_shown(market, model.raw(log.take(np.arange(int(len(log) * (1 - VALID_FRACTION)), len(log)))))
    return replace(model, calibrator=fit_calibrator(market, valid), carried=valid)
