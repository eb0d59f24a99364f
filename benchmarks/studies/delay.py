"""Delayed conversions: hourly training with importance weights (ES-DFM), against waiting and against not caring.

All start from one fit on the first day's clicks, whose windows have closed, and are judged on the next hour, each hour of a
drifting market. What enters in an hour is learned by the pass of `offerrank retrain`. They do not see the hour of the purchase:
rows of earlier hours enter only if they converted, so that a model which sees the hour learns that other hours always convert.
One is shown nevertheless.
"""

import numpy as np
from numpy.typing import NDArray

from benchmarks.studies.columns import CVR_OF_CLICKS, HOURLY_BATCH, Columns, study_market
from benchmarks.studies.drift import DRIFT
from benchmarks.studies.fits import fit, predict, silent
from benchmarks.studies.scores import Array, Score, beats, judged
from features.market import Market
from models.delay import DelayModel, Stream, stream
from models.fit import Rows
from models.progressive import ProgressivePass
from simulation.offline import HOUR_S, Logged, OfflineMarket, OfflineSpec

TITLE = "Delay: pCVR of the next hour against the truth"
ES_DFM, WAIT, IGNORE, TOLD = "ES-DFM", "wait for the window", "not yet = no", "told at once (bound)"
SEES_HOUR = "ES-DFM, sees the hour"
WINDOW_H = 24
HISTORY_H, STREAM_H = 24, 48
DELAY_S = 2 * HOUR_S
PAGES = 1200


def study(seed: int, pages: int = PAGES) -> list[Score]:
    """A day of matured clicks, a day that is still maturing when training goes hourly, a day to be judged on."""
    market = study_market(seed, (CVR_OF_CLICKS,), batch_size=HOURLY_BATCH)
    simulated = OfflineMarket(market, seed, OfflineSpec(delay_s=DELAY_S, window_s=WINDOW_H * HOUR_S, **DRIFT))
    hours = [simulated.hour(hour, pages) for hour in range(HISTORY_H + STREAM_H + 1)]
    clicks = Logged.join([hour.take(hour.click) for hour in hours])
    clicks = clicks.take(np.argsort(clicks.time_s, kind="stable"))
    began = clicks.time_s >= HISTORY_H * HOUR_S
    matured, clicks = clicks.take(~began), clicks.take(began)
    hour_of = (clicks.time_s // HOUR_S).astype(int)

    timeless = study_market(seed, (CVR_OF_CLICKS,), minus=("hour",), batch_size=HOURLY_BATCH)
    runs = {name: _Run(timeless, matured) for name in (ES_DFM, WAIT, IGNORE, TOLD)} | {SEES_HOUR: _Run(market, matured)}
    for name in (ES_DFM, SEES_HOUR):
        runs[name].learn_delays(matured)
    for hour in range(HISTORY_H, HISTORY_H + STREAM_H):
        entered = stream(clicks.time_s, clicks.delay_s, hour * HOUR_S, HOUR_S)
        fresh, closed = (clicks.take(hour_of == h) for h in (hour, hour - WINDOW_H))
        for name in (ES_DFM, SEES_HOUR):
            runs[name].fit_weighted(clicks, entered)
        runs[IGNORE].fit_on(fresh, entered.converted[: len(fresh)])
        runs[TOLD].fit_on(fresh, fresh.conversion)
        if hour < HISTORY_H + WINDOW_H:
            continue  # the day that was still maturing
        runs[WAIT].fit_on(closed, closed.conversion)
        for run in runs.values():
            run.judge(hours[hour + 1])
    truth = np.concatenate([hour.pcvr for hour in hours[HISTORY_H + WINDOW_H + 1 :]])
    return [Score(name, seed, judged("next hour", truth, np.concatenate(run.predicted))) for name, run in runs.items()]


def claims(scores: list[Score]) -> list[str]:
    """What the study was made to find out."""
    return [beats(scores, ES_DFM, other, "log loss, next hour") for other in (WAIT, IGNORE)]


class _Run:
    """A CVR model over time."""

    def __init__(self, market: Market, matured: Logged) -> None:
        self._market, self._columns = market, Columns(market, matured)
        self._ranker, _ = fit(market, self._columns, matured)
        self._learn = ProgressivePass(market, self._ranker)
        self.predicted: list[Array] = []

    def learn_delays(self, matured: Logged) -> None:
        rows = self._columns.rows(matured)
        self._delays = DelayModel.fit(self._market, self._columns.encoding, rows, matured.delay_s, HOUR_S, silent)

    def fit_weighted(self, clicks: Logged, entered: Stream) -> None:
        """One pass over what entered in an hour, with importance weights."""
        log = clicks.take(entered.rows)
        rows = self._columns.rows(log)
        rows.labels["conversion"] = entered.converted.astype(np.float32)
        rows.weights["cvr"] = self._delays.weights(rows.inputs, entered)
        self._pass(log, rows)

    def fit_on(self, clicks: Logged, converted: NDArray[np.bool_]) -> None:
        """One pass, with what is taken for the labels."""
        rows = self._columns.rows(clicks)
        rows.labels["conversion"] = converted.astype(np.float32)
        self._pass(clicks, rows)

    def _pass(self, log: Logged, rows: Rows) -> None:
        order = np.argsort(log.time_s, kind="stable")
        self._learn(rows.take(order), (1000 * log.time_s[order]).astype(np.int64), silent)

    def judge(self, log: Logged) -> None:
        self.predicted.append(predict(self._ranker, self._columns.inputs(log.features))[:, 0])
