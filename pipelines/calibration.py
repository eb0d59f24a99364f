"""Fits and applies a calibrator to columns of logged rows."""

from collections.abc import Mapping
from itertools import compress
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from features.market import Market
from features.model_spec import TaskSpec
from features.slices import parts_of, slice_values
from features.spec import CAMPAIGN, OFFER_ID
from models.calibration import Calibrator, TaskCalibration
from models.release import EXAMINATION, calibrated_column, raw_column
from pipelines.split_columns import SplitColumns

Columns = Mapping[str, NDArray[Any]]
"""Features, labels and `raw.<task>` by name, [R] each; text as str."""
Rows = TypeVar("Rows", dict[str, NDArray[Any]], SplitColumns)
"""The same, to which columns can be added with `|`."""


def usable(task: TaskSpec, columns: Columns) -> NDArray[np.bool_]:
    """[R], whether a task's label is one to learn from and judge by; every one where the rows do not say."""
    return columns[task.usable_column] == 1 if task.usable_column in columns else np.ones(len(columns[task.label]), bool)


def counting(task: TaskSpec, columns: Columns) -> NDArray[np.bool_]:
    """[R], whether a row counts for a task: its label is usable, and `given`, if any, holds."""
    return usable(task, columns) & (columns[task.given] == 1) if task.given else usable(task, columns)


def where_shown(market: Market, columns: Rows) -> Rows:
    """Rows with the raw probabilities of being clicked where they were shown: what their labels can be held against."""
    seen = columns[EXAMINATION]
    names = [raw_column(t.name) for t in market.tasks if t.given is None]
    return columns | {name: columns[name] * seen for name in names if name in columns}


def calibrating_columns(market: Market, columns: Columns, former: Calibrator | None) -> dict[str, NDArray[Any]]:
    """All but the features that no slice of a calibration needs."""
    features = {t.name for f in market.features for t in f.tensors}
    slices = [*market.training.calibration.slices, *(former.slices if former else ())]
    parts = {OFFER_ID if part == CAMPAIGN else part for name in slices for part in parts_of(name)}
    return {name: columns[name] for name in columns if name not in features or name in parts}


def fit_calibrator(market: Market, columns: Columns, former: Calibrator | None = None) -> Calibrator:
    """One calibration per task, on the rows that count for it; where there are none, the one of `former`."""
    counts = {t.name: counting(t, columns) for t in market.tasks}
    kept = {} if former is None else {name: former.tasks[name] for name, rows in counts.items() if not rows.any()}
    return Calibrator(tasks={t.name: fit_task(market, t, columns, counts[t.name]) for t in market.tasks} | kept)


def fit_task(market: Market, task: TaskSpec, columns: Columns, counts: NDArray[np.bool_]) -> TaskCalibration:
    """The calibration of one task, on the rows [R] that count."""
    slices = slice_values(market, market.training.calibration.slices, columns)
    of_rows = {name: list(compress(values, counts)) for name, values in slices.items()}
    return TaskCalibration.fit(columns[task.label][counts], columns[raw_column(task.name)][counts], of_rows)


def calibrated(market: Market, calibrator: Calibrator, columns: Columns) -> dict[str, NDArray[np.float64]]:
    """`calibrated.<task>` -> [R], for every task of the calibrator."""
    slices = slice_values(market, calibrator.slices, columns)
    return {calibrated_column(task): calibrator.apply(task, columns[raw_column(task)], slices) for task in calibrator.tasks}
