"""Delayed conversions: hourly training with importance weights (ES-DFM), against waiting and against not caring.

All start from one fit on the first day's clicks, whose windows have closed, and are judged on the next hour, each hour of a
drifting market.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.studies.columns import CVR_OF_CLICKS, HOURLY_BATCH, Columns, study_market
from benchmarks.studies.drift import DRIFT
from benchmarks.studies.fits import fit, predict, silent
from benchmarks.studies.scores import Array, Score, beats, judged
from models.delay import DelayModel, stream
from models.fit import Rows, fit_on
from simulation.offline import HOUR_S, Logged, OfflineMarket, OfflineSpec

TITLE = "Delay: pCVR of the next hour against the truth"
ES_DFM, WAIT, IGNORE, TOLD = "ES-DFM", "wait for the window", "not yet = no", "told at once (bound)"
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
    columns = Columns(market, matured)
    delay_model = DelayModel(market, columns.encoding, columns.rows(matured), matured.delay_s, HOUR_S, silent)
    rankers = {name: fit(market, columns, matured)[0] for name in (ES_DFM, WAIT, IGNORE, TOLD)}
    truth: list[Array] = []
    predicted: dict[str, list[Array]] = {name: [] for name in rankers}
    for hour in range(HISTORY_H, HISTORY_H + STREAM_H):
        entered = stream(clicks.time_s, clicks.delay_s, hour * HOUR_S, HOUR_S)
        rows = columns.rows(clicks.take(entered.rows))
        fresh, closed = (columns.rows(clicks.take(hour_of == h)) for h in (hour, hour - WINDOW_H))
        fit_on(market, rankers[ES_DFM], _relabelled(rows, entered.converted, delay_model.weights(rows.inputs, entered)))
        fit_on(market, rankers[IGNORE], _relabelled(fresh, entered.converted[: len(fresh)]))
        fit_on(market, rankers[TOLD], fresh)
        if hour < HISTORY_H + WINDOW_H:
            continue  # the day that was still maturing
        fit_on(market, rankers[WAIT], closed)
        following = hours[hour + 1]
        truth.append(following.pcvr)
        for name, ranker in rankers.items():
            predicted[name].append(predict(ranker, columns.inputs(following.features))[:, 0])
    return [Score(name, seed, judged("next hour", np.concatenate(truth), np.concatenate(p))) for name, p in predicted.items()]


def claims(scores: list[Score]) -> list[str]:
    """What the study was made to find out."""
    return [beats(scores, ES_DFM, other, "log loss, next hour") for other in (WAIT, IGNORE)]


def _relabelled(rows: Rows, converted: NDArray[np.bool_], weights: NDArray[np.float32] | None = None) -> Rows:
    """With what is known of the conversions so far."""
    labels = {**rows.labels, "conversion": converted.astype(np.float32)}
    return replace(rows, labels=labels, weights={} if weights is None else {"cvr": weights})
