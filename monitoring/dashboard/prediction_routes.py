"""What the page asks about predictions: how right they were, by slice and over time, and what is predicted now."""

from collections import defaultdict
from math import log

import numpy as np
from fastapi import APIRouter, Response

from monitoring.dashboard.access import Looking
from monitoring.dashboard.answers import json_answer
from monitoring.dashboard.statistics import Floats, Json, Statistics, finite, joined
from monitoring.detection.betting import TILTS, log_bets_of, mispriced_micros, mixed, pcoc_interval
from monitoring.detection.evidence import advance
from monitoring.summaries import ALL, BINS, P_EDGES, Calibration, Numbers, Series, Slice
from monitoring.watch import MonitorStore

SHOWN_HOURS = 72
FEWEST = 100
"""Rows of a slice, below which nothing is said of it."""
MOST_SLICES = 200
NOTHING: Floats = np.full(TILTS.shape, -np.inf)
"""Log of the evidence before the first bet."""


def prediction_routes(statistics: Statistics) -> APIRouter:
    """The route /api/predictions."""
    router = APIRouter(prefix="/api/predictions")

    @router.get("")
    def listed(_: Looking) -> Response:
        return json_answer(_answer(statistics))

    return router


def judged_slices(statistics: Statistics) -> dict[str, list[Json]]:
    """Task -> the slices that the view has, those that cost most first."""
    return {task["task"]: task["slices"] for task in _answer(statistics).get("tasks", ())}


def _answer(statistics: Statistics) -> Json:
    return statistics.answer(("predictions",), lambda store, last: _listed(store, last, statistics))


def _listed(store: MonitorStore, last: int, statistics: Statistics) -> Json:
    since = last - (SHOWN_HOURS - 1) * statistics.hour_ms
    tasks: dict[str, _Task] = {}
    for hour in store.hours("hour_ms >= ?", since):
        for of_release in store.summaries(hour.hour_ms, kinds=("calibration",)):
            for (where, series), summary in of_release.by.items():
                if isinstance(summary, Calibration) and summary.rows:
                    task = tasks.setdefault(series.name, _Task(series.name))
                    task.add(hour.hour_ms, of_release.release, where, summary)
    for series in store.names()[0]:
        if series.kind == "probability":
            tasks.setdefault(series.name, _Task(series.name)).expected = _expected(store, series, since, last)
    return {"hours": SHOWN_HOURS, "tasks": [task.to_json() for _, task in sorted(tasks.items())]}


def _expected(store: MonitorStore, series: Series, since: int, last: int) -> list[Json]:
    """Mean of what was predicted, hour by hour: known before any label is final."""
    by_hour = defaultdict(list)
    for at, _, summary in store.history(series, ALL, since, last + 1):
        by_hour[at].append(summary)
    said = []
    for at, found in sorted(by_hour.items()):
        every = joined(found)
        if isinstance(every, Numbers) and every.present:
            said.append({"hour_ms": at, "rows": every.present, "mean": finite(every.mean())})
    return said


class _Task:
    """One task's calibration over the hours shown."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.expected: list[Json] = []
        self._hours: dict[int, Calibration] = {}
        self._slices: dict[Slice, Calibration] = {}
        self._wealth: dict[Slice, Floats] = {}

    def add(self, hour_ms: int, release: str, where: Slice, one: Calibration) -> None:
        """Of one hour, release and slice."""
        self._add(where, one)
        if where == ALL:
            self._hours[hour_ms] = self._hours[hour_ms].merge(one) if hour_ms in self._hours else one
            self._add(Slice("release", release or "(none)"), one)

    def _add(self, where: Slice, one: Calibration) -> None:
        self._slices[where] = self._slices[where].merge(one) if where in self._slices else one
        self._wealth[where] = advance(self._wealth.get(where, NOTHING), log_bets_of(one))

    def to_json(self) -> Json:
        """As the view draws it."""
        every = self._slices.get(ALL)
        rows = [self._slice(where) for where, one in self._slices.items() if where != ALL and one.rows >= FEWEST]
        rows.sort(key=lambda row: (-abs(row["micros_per_day"]), -row["evidence"]))
        return {
            "task": self.name,
            "all": self._slice(ALL) if every is not None else None,
            "hours": self._by_hour(),
            "bins": [] if every is None else _bins(every),
            "slices": rows[:MOST_SLICES],
            "more_slices": max(len(rows) - MOST_SLICES, 0),
            "expected": self.expected,
        }

    def _slice(self, where: Slice) -> Json:
        one = self._slices[where]
        days = max(len(self._hours), 1) / 24
        micros = round(mispriced_micros(one) / days)
        return {**where._asdict(), **_pcoc(one), "micros_per_day": micros, "evidence": _evidence(self._wealth[where])}

    def _by_hour(self) -> list[Json]:
        said, wealth = [], NOTHING
        for at, one in sorted(self._hours.items()):
            wealth = advance(wealth, log_bets_of(one))
            said.append({"hour_ms": at, **_pcoc(one), "evidence": _evidence(wealth)})
        return said


def _evidence(wealth: Floats) -> float:
    """What one would have made of 1 by starting to bet at any of the hours, in powers of ten; a loss is no evidence."""
    return max(float(mixed(wealth)) / log(10), 0.0)


def _pcoc(one: Calibration) -> Json:
    found = pcoc_interval(one.sum_p, one.sum_y, one.rows)
    interval = {"pcoc": finite(found.pcoc), "low": finite(found.low), "high": finite(found.high)}
    return {"rows": one.rows, "predicted": one.sum_p, "came": one.sum_y, **interval}


def _bins(one: Calibration) -> list[Json]:
    """Reliability: what was predicted in each bin of p, and what came of it, with its interval."""
    edges = [0.0, *P_EDGES, 1.0]
    said = []
    for i in range(BINS):
        rows, p, y = float(one.bin_rows[i]), float(one.bin_p[i]), float(one.bin_y[i])
        if rows:
            found = pcoc_interval(p, y, rows)
            low, high = (p / rows / bound if bound > 0 else None for bound in (found.high, found.low))
            shown: Json = {"from": edges[i], "to": edges[i + 1], "rows": rows, "p": p / rows, "y": y / rows}
            said.append(shown | {"low": low, "high": high})
    return said
