"""Fits the calibrator on `valid`, measures raw and calibrated probabilities on `eval`."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.artifact import Artifact
from tfx.types.standard_artifacts import Examples, Model
from tfx.utils import path_utils

from features.market import Market, load_market
from features.model_spec import TaskSpec
from features.training_spec import Gate
from models.calibration import Calibrator as Calibration
from models.calibration import Platt
from models.evaluation import EvaluationReport, GateResult, TaskEvaluation, check_gate, evaluate_task
from models.legacy_keras import tf
from models.release import calibrated_column, raw_column
from pipelines.examples_io import read_split
from pipelines.ingest import arrow_schema

CALIBRATOR_FILE = "calibrator.json"
EVALUATION_FILE = "evaluation.json"
PREDICTIONS_FILE = "eval_predictions.parquet"

Columns = dict[str, NDArray[Any]]


class CalibratedEvaluation(Artifact):
    """calibrator.json, evaluation.json and eval_predictions.parquet."""

    TYPE_NAME = "CalibratedEvaluation"


@component
def Calibrator(  # noqa: N802
    model: InputArtifact[Model],
    examples: InputArtifact[Examples],
    evaluation: OutputArtifact[CalibratedEvaluation],
    market_file: Parameter[str],
) -> None:
    """The held-out half of training, which the weights have not seen."""
    market = load_market(Path(market_file))
    rank = tf.saved_model.load(path_utils.serving_model_path(model.uri)).signatures["serving_default"]
    valid = _predicted(market, rank, examples.uri, "valid")
    measured = _predicted(market, rank, examples.uri, "eval")
    calibrator = fit(market, valid)
    out = Path(evaluation.uri)
    for t in market.tasks:
        measured[calibrated_column(t.name)] = calibrator.apply(t.name, measured[raw_column(t.name)])
    (out / CALIBRATOR_FILE).write_text(calibrator.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (out / EVALUATION_FILE).write_text(evaluate(market, measured).model_dump_json(indent=2) + "\n", encoding="utf-8")
    schema = arrow_schema(market)
    for t in market.tasks:
        schema = schema.append(pa.field(raw_column(t.name), pa.float32()))
    for t in market.tasks:
        schema = schema.append(pa.field(calibrated_column(t.name), pa.float64()))
    columns = {name: list(x) if x.ndim > 1 else x for name, x in measured.items()}
    pq.write_table(pa.table({name: columns[name] for name in schema.names}, schema=schema), out / PREDICTIONS_FILE)


def fit(market: Market, valid: Columns) -> Calibration:
    """One calibration per task, over the rows that count."""
    fitted = {}
    for t in market.tasks:
        counts = _counting(t, valid)
        fitted[t.name] = Platt.fit(valid[t.label][counts], valid[raw_column(t.name)][counts])
    return Calibration(tasks=fitted)


def evaluate(market: Market, measured: Columns) -> EvaluationReport:
    """Metrics and gates of every task."""
    tasks: dict[str, TaskEvaluation] = {}
    gates: list[GateResult] = []
    for t in market.tasks:
        counts = _counting(t, measured)
        tasks[t.name] = evaluate_task(
            measured[t.label][counts],
            measured[raw_column(t.name)][counts].astype(np.float64),
            measured[calibrated_column(t.name)][counts],
            {name: measured[name][counts] for name in market.training.slices},
        )
        gates += check_gate(t.name, market.training.gates.get(t.name, Gate()), tasks[t.name])
    return EvaluationReport(tasks=tasks, gates=tuple(gates))


def _counting(task: TaskSpec, columns: Columns) -> NDArray[np.bool_]:
    return columns[task.given] == 1 if task.given else np.ones(len(columns[task.label]), bool)


def _predicted(market: Market, rank: Any, examples_uri: str, split: str) -> Columns:
    """All rows of a split: features, labels, raw probabilities; text as str."""
    batches: list[Columns] = []
    for features, labels in read_split(examples_uri, split, market):
        predicted = {raw_column(task): p for task, p in rank(**features).items()}
        batches.append({name: tensor.numpy() for name, tensor in {**features, **labels, **predicted}.items()})
    columns = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
    for f in market.features:
        if f.dtype == "string":
            columns[f.name] = np.vectorize(bytes.decode, otypes=[object])(columns[f.name])
    return columns
