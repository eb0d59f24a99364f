"""The release's calibrator.json."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from features.spec import Record
from models.calibration.curves import Curve, Platt, probability
from models.calibration.logistic import Floats, Labels, Probabilities, logit
from models.calibration.selection import Mask, choose_curve, enough, out_of_fold
from models.calibration.slices import SliceShifts, fit_shifts

SLICED = "sliced"
Slices = Mapping[str, Iterable[str]]
"""Name -> values as text: one per row, or a single one that holds for all."""


class TaskCalibration(Record):
    """How one task is calibrated; by default not at all."""

    curve: Curve = Platt()
    """For all rows."""
    slices: dict[str, SliceShifts] = Field(default={})
    """On top of it, by slice; none where they did not lower the log loss."""
    cv_log_loss: dict[str, float] = Field(default={})
    """Why this curve, and why slices or none: the cross-validated log loss of each kind of curve, and of the chosen one with
    slices under `sliced`; none where the rows were too few to choose by."""
    rows: int = Field(default=0, ge=0)
    """Fitted on."""
    positives: int = Field(default=0, ge=0)
    """Of these rows."""

    @classmethod
    def fit(cls, labels: Labels, p: Probabilities, slices: Slices | None = None) -> "TaskCalibration":
        """Chooses and fits the curve, then the shifts of the slices over it, if these lower the cross-validated log loss.

        Args:
          labels: [R], 0 or 1, of rows that the model was not fitted on; R may be 0.
          p: [R], the model's probabilities.
          slices: values [R] each.
        """
        values = {name: np.array(list(of_rows), dtype=object) for name, of_rows in (slices or {}).items()}

        def of(rows: Mask) -> dict[str, NDArray[np.object_]]:
            return {name: of_rows[rows] for name, of_rows in values.items()}

        def sliced(curve: Curve, rows: Mask) -> TaskCalibration:
            return TaskCalibration(curve=curve, slices=fit_shifts(labels[rows], curve.logits(logit(p[rows])), of(rows)))

        curve, cv_log_loss = choose_curve(labels, p)
        fitted = TaskCalibration(curve=curve)
        if values and enough(labels):
            refit = type(curve).fit
            loss = out_of_fold(labels, lambda fit, judge: sliced(refit(labels[fit], p[fit]), fit).apply(p[judge], of(judge)))
            cv_log_loss[SLICED] = float(loss.mean())
            if cv_log_loss[SLICED] < cv_log_loss[curve.kind]:
                fitted = sliced(curve, np.ones(len(labels), bool))
        return fitted.model_copy(update={"cv_log_loss": cv_log_loss, "rows": len(labels), "positives": int(labels.sum())})

    def apply(self, p: Probabilities, slices: Slices | None = None) -> Floats:
        """Calibrated probabilities, [N] to [N], in [1e-7, 1 - 1e-7]; rows alike in their slices keep their order.

        Args:
          p: [N], the model's probabilities.
          slices: values [N] or [1] of all slices that were fitted.
        Raises:
          KeyError: a slice is missing.
        """
        z = self.curve.logits(logit(p))
        for name, shifts in self.slices.items():
            z = z + shifts.of((slices or {})[name])
        return probability(z)


class Calibrator(Record):
    """One calibration per task."""

    tasks: dict[str, TaskCalibration]

    @property
    def slices(self) -> tuple[str, ...]:
        """Names of the slices that `apply` wants."""
        return tuple(dict.fromkeys(name for task in self.tasks.values() for name in task.slices))

    def apply(self, task: str, p: Probabilities, slices: Slices | None = None) -> Floats:
        """`TaskCalibration.apply` of a task.

        Raises:
          KeyError: the release has no such task, or a slice is missing.
        """
        return self.tasks[task].apply(p, slices)
