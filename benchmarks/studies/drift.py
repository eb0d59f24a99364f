"""Freshness: hourly warm-started models against a daily full retrain, on a market whose tastes move and whose offers are new.

The hourly model goes on from a full fit and makes one pass over each new hour, as `offerrank retrain` does: judged, learned, and
calibrated by what was judged, but for the gates, so that each hour is released. The daily one is fitted anew on the last two days
when a day begins.
"""

import time

import numpy as np

from benchmarks.studies.columns import BIAS, CTR, HOURLY_BATCH, study_market
from benchmarks.studies.release import Model, fit_anew
from benchmarks.studies.scores import Array, Score, beats, judged
from features.market import Market
from simulation.offline import Logged, OfflineMarket, OfflineSpec

TITLE = "Drift: pCTR of the next hour against the truth, and the compute it took"
HOURLY, DAILY, NEVER = "hourly, warm start", "daily, full retrain", "never again"
HISTORY_H, STREAM_H, DAY_H = 48, 48, 24
DRIFT = {"forgotten_after_h": 96.0, "newcomers": 0.3, "arrived_after_h": 96.0}
PAGES = 500


def study(seed: int, pages: int = PAGES) -> list[Score]:
    """Both start from one fit on two days, and meet two more."""
    market = study_market(seed, (CTR,), bias=BIAS, batch_size=HOURLY_BATCH)
    simulated = OfflineMarket(market, seed, OfflineSpec(**DRIFT))
    hours = [simulated.hour(hour, pages) for hour in range(HISTORY_H + STREAM_H)]
    runs = {name: _Run(market) for name in (HOURLY, DAILY, NEVER)}
    for name in (HOURLY, DAILY):
        runs[name].fit_anew(hours[:HISTORY_H])
    runs[NEVER].model = runs[DAILY].model
    runs[HOURLY].seconds, runs[HOURLY].rows = 0.0, 0  # it goes on from a fit that is there
    for hour in range(HISTORY_H, HISTORY_H + STREAM_H):
        if hour > HISTORY_H and hour % DAY_H == 0:
            runs[DAILY].fit_anew(hours[hour - HISTORY_H : hour])
        for run in runs.values():
            run.judge(hours[hour])
        runs[HOURLY].fit_on(hours[hour])
    return [Score(name, seed, run.metrics()) for name, run in runs.items()]


def claims(scores: list[Score]) -> list[str]:
    """What the study was made to find out."""
    return [beats(scores, HOURLY, DAILY, "log loss, next hour"), beats(scores, HOURLY, DAILY, "fit s per day")]


class _Run:
    """A model over time, with what it cost and how it did."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self.model: Model
        self._truth: list[Array] = []
        self._p: list[Array] = []
        self.seconds, self.rows = 0.0, 0

    def fit_anew(self, hours: list[Logged]) -> None:
        began = time.perf_counter()
        self.model = fit_anew(self._market, hours)
        self.seconds += time.perf_counter() - began
        self.rows += sum(map(len, hours)) * sum(len(history.epochs) for history in self.model.fitted.fits)

    def fit_on(self, log: Logged) -> None:
        began = time.perf_counter()
        _, self.model = self.model.learned(self._market, log)
        self.seconds += time.perf_counter() - began
        self.rows += len(log)

    def judge(self, log: Logged) -> None:
        self._truth.append(log.pctr)
        self._p.append(self.model.served(self._market, log))

    def metrics(self) -> dict[str, float]:
        truth, p, days = np.concatenate(self._truth), np.concatenate(self._p), STREAM_H / DAY_H
        return {
            **judged("next hour", truth, p),
            "fit s per day": self.seconds / days,
            "1000 rows per day": self.rows / days / 1000,
        }
