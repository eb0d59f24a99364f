"""Fits the calibrator on `valid`, which the weights have not seen."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.artifact import Artifact
from tfx.types.standard_artifacts import Examples, Model
from tfx.utils import path_utils

from features.market import Market, load_market
from features.model_spec import TaskSpec
from models.calibration import Calibrator as Calibration
from models.calibration import Platt
from models.legacy_keras import tf
from models.release import calibrated_column, raw_column
from pipelines.examples_io import read_split

CALIBRATOR_FILE = "calibrator.json"

Columns = dict[str, NDArray[Any]]


class FittedCalibration(Artifact):
    """calibrator.json."""

    TYPE_NAME = "FittedCalibration"


@component
def Calibrator(  # noqa: N802
    model: InputArtifact[Model],
    examples: InputArtifact[Examples],
    calibration: OutputArtifact[FittedCalibration],
    market_file: Parameter[str],
) -> None:
    """One calibration per task."""
    market = load_market(Path(market_file))
    rank = tf.saved_model.load(path_utils.serving_model_path(model.uri)).signatures["serving_default"]
    fitted = fit(market, predicted(market, rank, examples.uri, "valid"))
    (Path(calibration.uri) / CALIBRATOR_FILE).write_text(fitted.model_dump_json(indent=2) + "\n", encoding="utf-8")


def fit(market: Market, valid: Columns) -> Calibration:
    """One calibration per task, over the rows that count."""
    fitted = {}
    for t in market.tasks:
        counts = counting(t, valid)
        fitted[t.name] = Platt.fit(valid[t.label][counts], valid[raw_column(t.name)][counts])
    return Calibration(tasks=fitted)


def calibrate(market: Market, calibrator: Calibration, columns: Columns) -> None:
    """Adds the calibrated probabilities to columns that have the raw ones."""
    for t in market.tasks:
        columns[calibrated_column(t.name)] = calibrator.apply(t.name, columns[raw_column(t.name)])


def counting(task: TaskSpec, columns: Columns) -> NDArray[np.bool_]:
    """[N], whether a row counts for the task."""
    return columns[task.given] == 1 if task.given else np.ones(len(columns[task.label]), bool)


def predicted(market: Market, rank: Any, examples_uri: str, split: str) -> Columns:
    """All rows of a split: features, labels, raw probabilities; text as str."""
    batches: list[Columns] = []
    for features, labels in read_split(examples_uri, split, market):
        predicted = {raw_column(task): p for task, p in rank(**features).items()}
        batches.append({name: tensor.numpy() for name, tensor in {**features, **labels, **predicted}.items()})
    columns = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
    for f in market.features:
        if f.dtype == "string":
            columns[f.name] = np.array([v.decode() for v in columns[f.name]], dtype=object)
    return columns
