"""Turns a model's probabilities into ones an auction can price with. NumPy only: the gateway applies it per request."""

from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

EPSILON = 1e-7
# Pull towards the identity, as the precision of a normal prior: a model trained to low log loss is off by about a fifth of a
# logit on average, and its logits are rarely stretched by more than a half. Rules where there is little evidence.
SHIFT_PRECISION = 25.0
SLOPE_PRECISION = 4.0
MIN_SLOPE = 0.01  # calibration must keep the model's order

Floats = NDArray[np.float64]


class Platt(BaseModel):
    """logit(q) = slope logit(p) + intercept, fitted on `rows` held-out rows of which `positives` were 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["platt"] = "platt"
    slope: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    intercept: float = Field(default=0.0, allow_inf_nan=False)
    rows: int = Field(default=0, ge=0)
    positives: int = Field(default=0, ge=0)

    @classmethod
    def fit(cls, labels: NDArray[np.int64], p: NDArray[np.float32] | Floats) -> Self:
        """Finds slope and shift around the mean logit m by damped Newton steps; the same input, the same output.

            logit(q) = m + slope (logit(p) - m) + shift
            minimal: sum of log losses + 4/2 (slope - 1)^2 + 25/2 shift^2

        Args:
          labels: [R], 0 or 1; R = 0 gives the identity.
          p: [R], uncalibrated probabilities.
        Source: Platt (1999), on logits instead of margins.
        """
        z, y = logit(p), np.asarray(labels, np.float64)
        mean = float(z.mean()) if len(z) else 0.0
        slope, shift = _newton(z - mean, mean, y, slope=1.0, free_slope=True)
        if slope < MIN_SLOPE:
            slope, shift = _newton(z - mean, mean, y, slope=MIN_SLOPE, free_slope=False)
        intercept = mean + shift - slope * mean
        return cls(slope=slope, intercept=intercept, rows=len(y), positives=int(y.sum()))

    def apply(self, p: NDArray[np.float32] | Floats) -> Floats:
        """Calibrated probabilities, [N] to [N], in [1e-7, 1 - 1e-7], never reversing an order."""
        return np.clip(sigmoid(self.slope * logit(p) + self.intercept), EPSILON, 1 - EPSILON)


class Calibrator(BaseModel):
    """One calibration per task: the release's calibrator.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: dict[str, Platt]

    def apply(self, task: str, p: NDArray[np.float32] | Floats) -> Floats:
        """Calibrates [N] raw probabilities of one task, in (0, 1) and in the same order.

        Raises:
          KeyError: the release has no such task.
        """
        return self.tasks[task].apply(p)


def logit(p: NDArray[np.float32] | Floats) -> Floats:
    """log(p / (1 - p)), p cut to [1e-7, 1 - 1e-7]."""
    cut = np.clip(np.asarray(p, np.float64), EPSILON, 1 - EPSILON)
    return np.log(cut) - np.log1p(-cut)


def sigmoid(z: Floats) -> Floats:
    """1 / (1 + e^-z), without overflow."""
    return np.exp(-np.logaddexp(0.0, -z))


def _objective(z: Floats, mean: float, y: Floats, slope: float, shift: float) -> float:
    margin = mean + slope * z + shift
    loss = float(np.sum(np.logaddexp(0.0, margin) - y * margin))
    return loss + SLOPE_PRECISION / 2 * (slope - 1) ** 2 + SHIFT_PRECISION / 2 * shift**2


def _newton(z: Floats, mean: float, y: Floats, *, slope: float, free_slope: bool) -> tuple[float, float]:
    """(slope, shift) of the optimum over centred logits z; strictly convex, so halving a step that overshoots suffices."""
    shift = 0.0
    best = _objective(z, mean, y, slope, shift)
    for _ in range(100):
        q = sigmoid(mean + slope * z + shift)
        curvature = q * (1 - q)
        gradient = np.array([np.dot(q - y, z) + SLOPE_PRECISION * (slope - 1), np.sum(q - y) + SHIFT_PRECISION * shift])
        mixed = np.dot(curvature, z)
        hessian = np.array([[np.dot(curvature, z * z) + SLOPE_PRECISION, mixed], [mixed, np.sum(curvature) + SHIFT_PRECISION]])
        if not free_slope:
            gradient[0], hessian[0, 1], hessian[1, 0] = 0.0, 0.0, 0.0
        step = np.linalg.solve(hessian, gradient)
        scale = 1.0
        while (tried := _objective(z, mean, y, slope - scale * step[0], shift - scale * step[1])) > best and scale > 1e-6:
            scale /= 2
        if tried > best:
            break
        slope, shift = float(slope - scale * step[0]), float(shift - scale * step[1])
        if best - tried <= 1e-12 * (1 + abs(best)):
            break
        best = tried
    return slope, shift
