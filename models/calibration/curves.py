"""Monotone curves from the model's logit z to the calibrated one. Each is a record that JSON keeps exactly.

platt      slope z + intercept
beta       a ln p - b ln(1 - p) + c,   p = sigmoid(z)
spline     piecewise linear, a slope per segment between quantiles of z
isotonic   piecewise linear, through the observed rates of pooled neighbours
"""

from abc import ABC, abstractmethod
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from features.spec import Record
from models.calibration.logistic import EPSILON, Floats, Labels, Probabilities, fit_logistic, logit, sigmoid
from models.metrics import equal_mass_bins

# Pull towards the identity, as the precision of a normal prior: a model trained to low log loss is off by about a fifth of a
# logit on average, and its logits are rarely stretched by more than a half. Rules where there is little evidence.
SHIFT_PRECISION = 25.0
SLOPE_PRECISION = 4.0
MIN_SLOPE = 0.01  # calibration must keep the model's order
END = 17.0  # beyond every logit: they are cut to [-16.2, 16.2]
KNOTS = (0.05, 0.275, 0.5, 0.725, 0.95)  # Harrell (2001), Regression modeling strategies, table 2.3
ISOTONIC_BINS = 1000
ISOTONIC_LEAST = 10  # positives, and negatives, behind the lowest and the highest rate

Finite = Annotated[float, Field(allow_inf_nan=False)]
Slope = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Curve(Record, ABC):
    @abstractmethod
    def logits(self, z: Floats) -> Floats:
        """Calibrated logits of raw ones, [N] to [N], never reversing an order."""

    def apply(self, p: Probabilities) -> Floats:
        """Calibrated probabilities, [N] to [N], in [1e-7, 1 - 1e-7], never reversing an order."""
        return probability(self.logits(logit(p)))


def probability(z: Floats) -> Floats:
    """sigmoid(z), cut to [1e-7, 1 - 1e-7]."""
    return np.clip(sigmoid(z), EPSILON, 1 - EPSILON)


class Platt(_Curve):
    """logit(q) = slope logit(p) + intercept."""

    kind: Literal["platt"] = "platt"
    slope: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    intercept: Finite = 0.0

    @classmethod
    def fit(cls, labels: Labels, p: Probabilities) -> Self:
        """Finds slope and shift around the mean logit m.

            logit(q) = m + slope (logit(p) - m) + shift
            minimal: sum of log losses + 4/2 (slope - 1)^2 + 25/2 shift^2

        Args:
          labels: [R], 0 or 1; R = 0 gives the identity.
          p: [R], uncalibrated probabilities.
        Source: Platt (1999), on logits instead of margins.
        """
        z = logit(p)
        (slope,), shift, (mean,) = _fit_slopes(labels, z[:, None])
        return cls(slope=slope, intercept=mean + shift - slope * mean)

    def logits(self, z: Floats) -> Floats:
        """Calibrated logits, [N] to [N]."""
        return self.slope * z + self.intercept


class Beta(_Curve):
    """logit(q) = a ln p - b ln(1 - p) + c: low and high probabilities are stretched apart from each other; a = b is Platt."""

    kind: Literal["beta"] = "beta"
    a: Slope = 1.0
    b: Slope = 1.0
    c: Finite = 0.0

    @classmethod
    def fit(cls, labels: Labels, p: Probabilities) -> Self:
        """As `Platt.fit`, with half the pull on each of a and b.

        Source: Kull, Silva Filho and Flach (2017), Beta calibration.
        """
        z = logit(p)
        (a, b), shift, (mean_a, mean_b) = _fit_slopes(labels, np.stack([z - _softplus(z), _softplus(z)], axis=1))
        return cls(a=a, b=b, c=(1 - a) * mean_a + (1 - b) * mean_b + shift)

    def logits(self, z: Floats) -> Floats:
        """Calibrated logits, [N] to [N]."""
        return self.a * z + (self.b - self.a) * _softplus(z) + self.c


class _Piecewise(_Curve):
    """Linear between the points (x, y), both logits, that never fall."""

    x: tuple[Finite, ...] = Field(min_length=2)
    y: tuple[Finite, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.x) != len(self.y):
            raise ValueError(f"expected as many y as x, got {len(self.y)} and {len(self.x)}")
        if any(a > b for line in (self.x, self.y) for a, b in pairwise(line)):
            raise ValueError("x and y must not fall")
        return self

    @classmethod
    def through(cls, x: Floats, y: Floats) -> Self:
        """The line through points [K] that fall nowhere but by rounding."""
        return cls(x=tuple(np.maximum.accumulate(x).tolist()), y=tuple(np.maximum.accumulate(y).tolist()))

    @cached_property
    def line(self) -> Floats:
        """x and y, [2, points]."""
        return np.array([self.x, self.y])

    def logits(self, z: Floats) -> Floats:
        """Calibrated logits, [N] to [N]."""
        return np.interp(z, *self.line)


class Spline(_Piecewise):
    """A linear spline on the logit scale with knots where the rows are."""

    kind: Literal["spline"] = "spline"

    @classmethod
    def fit(cls, labels: Labels, p: Probabilities) -> Self:
        """As `Platt.fit`, with a slope of its own, and the pull on it, between any two knots.

        Args:
          labels: [R], 0 or 1, R > 0.
          p: [R], uncalibrated probabilities.
        """
        z = logit(p)
        x = np.unique([-END, *np.quantile(z, KNOTS), END])

        def segments(at: Floats) -> Floats:
            return np.clip(at[:, None], x[:-1], x[1:]) - [0.0, *x[1:-1]]

        slopes, shift, means = _fit_slopes(labels, segments(z), SLOPE_PRECISION)
        y = means.sum() + shift + (segments(x) - means) @ slopes
        return cls.through(x, y)


class Isotonic(_Piecewise):
    """The best curve of all that never fall, linear between the middles of its steps so that it makes no ties of its own."""

    kind: Literal["isotonic"] = "isotonic"

    @classmethod
    def fit(cls, labels: Labels, p: Probabilities) -> Self:
        """Pools neighbours until their rates rise, and at both ends until a rate has 10 positives and 10 negatives behind it.

        Beyond the middles of the first and the last step the logit moves on by as much as the model's. Nothing pulls it
        towards the identity: it wants thousands of rows.

        Args:
          labels: [R], 0 or 1, R > 0.
          p: [R], uncalibrated probabilities; gathered in 1000 bins of equal mass at first.
        Source: Zadrozny and Elkan (2002), by the pool-adjacent-violators algorithm of Ayer et al. (1955).
        """
        z = logit(p)
        bins = equal_mass_bins(z, ISOTONIC_BINS)
        sums = np.array([np.bincount(bins, column) for column in (np.ones(len(z)), labels, z)], np.float64).T
        rows, positives, logits = np.array(_pool(sums)).T
        x, y = logits / rows, logit(positives / rows)
        below, above = y[0] - x[0], y[-1] - x[-1]
        return cls.through(np.array([-END, *x, END]), np.array([-END + below, *y, END + above]))


Curve = Annotated[Platt | Beta | Spline | Isotonic, Field(discriminator="kind")]


def _softplus(z: Floats) -> Floats:
    """ln(1 + e^z), which is -ln(1 - sigmoid(z)); z less this is ln sigmoid(z)."""
    return np.logaddexp(0.0, z)


def _fit_slopes(labels: Labels, columns: Floats, precision: float | None = None) -> tuple[Floats, float, Floats]:
    """Fits slopes [K] of columns [R, K] that sum up to the logit, and a shift, all pulled towards the identity.

    Returns:
      slopes [K], shift, and the columns' means [K], around which they turn.
    """
    rows, width = columns.shape
    means = columns.mean(axis=0) if rows else np.zeros(width)
    theta = fit_logistic(
        x=np.column_stack([columns - means, np.ones(rows)]),
        y=np.asarray(labels, np.float64),
        offset=float(means.sum()),
        prior=np.array([*np.ones(width), 0.0]),
        precision=np.array([*np.full(width, precision or SLOPE_PRECISION / width), SHIFT_PRECISION]),
        lower=np.array([*np.full(width, MIN_SLOPE), -np.inf]),
    )
    return theta[:-1], float(theta[-1]), means


def _pool(bins: Floats) -> list[Floats]:
    """Merges neighbouring bins [B, (rows, positives, ...)] until rates rise strictly and neither end rests on too little."""
    steps: list[Floats] = []
    for one in bins:
        steps.append(one)
        while len(steps) > 1 and steps[-2][1] * steps[-1][0] >= steps[-1][1] * steps[-2][0]:
            steps.append(steps.pop() + steps.pop())
    for end, merged in ((0, slice(0, 2)), (-1, slice(-2, None))):
        while len(steps) > 1 and min(steps[end][1], steps[end][0] - steps[end][1]) < ISOTONIC_LEAST:
            steps[merged] = [steps[merged][0] + steps[merged][1]]
    return steps
