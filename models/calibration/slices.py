"""What is added to the calibrated logit of a campaign, a format or a partner, where its rows say so."""

from collections.abc import Iterable, Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from features.spec import Record
from models.calibration.curves import SHIFT_PRECISION
from models.calibration.logistic import Floats, Labels, sigmoid

PRIOR_VALUES = 4  # as many imagined values hold the learned spread of the shifts near the assumed one
TOLERANCE = 1e-4  # in logits: a hundredth of a per cent of a small probability
MAX_SWEEPS = 100
MAX_STEPS = 50


class SliceShifts(Record):
    """Shifts of one slice's values."""

    precision: float = Field(gt=0, allow_inf_nan=False)
    """Of the normal prior around 0 that held them back: a value moves by half of what its rows ask for where their sum of
    q (1 - q) is this."""
    shift: dict[str, Annotated[float, Field(allow_inf_nan=False)]]
    """Value -> added to the logit."""

    def of(self, values: Iterable[str]) -> Floats:
        """The shift of each value, [N]; 0 for one that was not in the rows fitted on."""
        return np.array([self.shift.get(v, 0.0) for v in values])


def fit_shifts(labels: Labels, z: Floats, slices: Mapping[str, Iterable[str]]) -> dict[str, SliceShifts]:
    """The most probable shifts of all slices together, given normal priors whose precision is learned per slice.

        logit(q) = z + sum over slices of shift[value of the row]
        minimal: sum of log losses + sum over slices of precision / 2 sum over values of shift^2
        1 / precision = (4 / 25 + sum over the V values of E[shift^2]) / (4 + V)

    Values of one slice share no row, so given the other slices each is a problem of its own in one number: slices take turns
    until none moves any more, and nothing grows with the square of the number of values.

    Args:
      labels: [R], 0 or 1.
      z: [R], logits after the curve.
      slices: name -> value of each row, [R].
    Source: empirical Bayes by expectation-maximisation; Dempster, Laird and Rubin (1977), with Laplace's variance of a shift.
    """
    margin, y = z.copy(), np.asarray(labels, np.float64)
    fitted = {name: _Slice(values) for name, values in slices.items()}
    for _ in range(MAX_SWEEPS):
        moved = [one.update(margin, y) for one in fitted.values()]
        if max(moved, default=0.0) < TOLERANCE:
            break
    return {name: one.shifts() for name, one in fitted.items()}


class _Slice:
    """A slice while it is fitted."""

    def __init__(self, values: Iterable[str]) -> None:
        found, self._group = np.unique(np.array(list(values), dtype=object), return_inverse=True)
        self._values: list[str] = found.tolist()
        self._shift = np.zeros(len(found))
        self._precision = SHIFT_PRECISION

    def update(self, margin: Floats, y: Floats) -> float:
        """Moves the shifts to their optimum, `margin` [R] with them, then the precision; returns the largest move."""
        before = self._shift.copy()
        for _ in range(MAX_STEPS):
            q = sigmoid(margin)
            curvature = self._sum(q * (1 - q)) + self._precision
            # A logit changes the curvature e-fold at most, so a step this long may overshoot the optimum, but ends nearer to it.
            step = np.clip((self._sum(q - y) + self._precision * self._shift) / curvature, -1, 1)
            self._shift -= step
            margin -= step[self._group]
            if np.abs(step).max(initial=0.0) < TOLERANCE / 10:
                break
        variance = np.sum(self._shift**2 + 1 / curvature)
        self._precision = (PRIOR_VALUES + len(self._shift)) / (PRIOR_VALUES / SHIFT_PRECISION + float(variance))
        return float(np.abs(self._shift - before).max(initial=0.0))

    def shifts(self) -> SliceShifts:
        """The result."""
        return SliceShifts(precision=self._precision, shift=dict(zip(self._values, self._shift.tolist(), strict=True)))

    def _sum(self, rows: Floats) -> Floats:
        """Sums of [R] by value."""
        return np.bincount(self._group, rows, len(self._values)).astype(np.float64)
