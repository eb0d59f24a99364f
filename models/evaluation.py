"""What a trained model is worth on held-out rows: metrics per task and slice, and whether they pass the gates."""

import operator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from features.training_spec import Gate
from models import metrics

MOST_SLICES = 50

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


class _Artifact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Metrics(_Artifact):
    """None where undefined, such as AUC without a positive."""

    auc: float | None
    log_loss: float | None
    pcoc: float | None
    normalised_entropy: float | None

    @classmethod
    def of(cls, labels: Labels, p: Floats) -> "Metrics":
        """All metrics of predictions p [N]."""
        return cls(
            auc=metrics.auc(labels, p),
            log_loss=metrics.log_loss(labels, p),
            pcoc=metrics.pcoc(labels, p),
            normalised_entropy=metrics.normalised_entropy(labels, p),
        )


class Measured(_Artifact):
    """Metrics before and after calibration, over the rows that count."""

    rows: int
    positives: int
    raw: Metrics
    calibrated: Metrics

    @classmethod
    def of(cls, labels: Labels, raw: Floats, calibrated: Floats) -> "Measured":
        """Measures [N] rows."""
        return cls(
            rows=len(labels),
            positives=int(labels.sum()),
            raw=Metrics.of(labels, raw),
            calibrated=Metrics.of(labels, calibrated),
        )


class TaskEvaluation(Measured):
    """One task, whole and by slice: feature -> value -> measured."""

    slices: dict[str, dict[str, Measured]] = {}


class GateResult(_Artifact):
    """One bound of one gate."""

    task: str
    key: str
    """Of market.toml, such as `training.gates.ctr.min_auc`."""
    metric: str
    value: float | None
    bound: float
    verdict: Literal["passed", "failed", "skipped"]
    note: str = ""

    def __str__(self) -> str:
        value = "undefined" if self.value is None else f"{self.value:.4f}"
        return f"{self.metric} of {self.task} is {value}, {self.key} asks for {self.bound:g}"


class EvaluationReport(_Artifact):
    """evaluation.json."""

    tasks: dict[str, TaskEvaluation]
    gates: tuple[GateResult, ...]

    @property
    def failed(self) -> tuple[GateResult, ...]:
        """Bounds that were missed; a release has none."""
        return tuple(g for g in self.gates if g.verdict == "failed")


def evaluate_task(labels: Labels, raw: Floats, calibrated: Floats, slices: dict[str, NDArray[np.object_]]) -> TaskEvaluation:
    """Measures one task over the rows that count.

    Args:
      labels, raw, calibrated: [N].
      slices: feature -> value per row; only the 50 most frequent values are reported.
    """
    by_feature: dict[str, dict[str, Measured]] = {}
    for feature, values in slices.items():
        found, group, count = np.unique(values, return_inverse=True, return_counts=True)
        frequent = sorted(np.argsort(-count, kind="stable")[:MOST_SLICES])
        masks = {str(found[i]): group == i for i in frequent}
        by_feature[feature] = {value: Measured.of(labels[m], raw[m], calibrated[m]) for value, m in masks.items()}
    whole = Measured.of(labels, raw, calibrated)
    return TaskEvaluation(**dict(whole), slices=by_feature)


def has_enough(gate: Gate, measured: Measured) -> bool:
    """Whether there are enough positives and negatives to judge by."""
    return min(measured.positives, measured.rows - measured.positives) >= gate.min_positives


def check_gate(task: str, gate: Gate, measured: Measured) -> tuple[GateResult, ...]:
    """Every bound of a gate, on the calibrated probabilities; skipped where the rows are too few to tell."""
    got = measured.calibrated
    bounds = [
        ("min_auc", "AUC", got.auc, gate.min_auc, operator.ge),
        ("max_log_loss", "calibrated log loss", got.log_loss, gate.max_log_loss, operator.le),
        ("min_pcoc", "calibrated PCOC", got.pcoc, gate.min_pcoc, operator.ge),
        ("max_pcoc", "calibrated PCOC", got.pcoc, gate.max_pcoc, operator.le),
    ]
    results = []
    for name, metric, value, bound, holds in bounds:
        if bound is None:
            continue
        verdict: Literal["passed", "failed", "skipped"] = "passed" if value is not None and holds(value, bound) else "failed"
        note = ""
        if not has_enough(gate, measured):
            verdict = "skipped"
            few = f"{measured.positives} positives in {measured.rows} rows"
            note = f"{few}: too few to judge by (min_positives = {gate.min_positives})"
        results.append(
            GateResult(
                task=task,
                key=f"training.gates.{task}.{name}",
                metric=metric,
                value=value,
                bound=bound,
                verdict=verdict,
                note=note,
            )
        )
    return tuple(results)
