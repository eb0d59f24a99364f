"""One value so far out that a normalised feature says whether it is there, and nothing else."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHARE = 0.5
"""Of the sum of squared deviations: of as many values as a log has, one has that much only where it is not like the others."""
FEWEST = 20


@dataclass(frozen=True, slots=True)
class Outlier:
    """The value, and its share of the sum of squared deviations."""

    value: float
    share: float

    def __str__(self) -> str:
        return f"{self.value:g} is {self.share:.0%} of the variance: normalised, the column tells of nothing else"


@dataclass(slots=True)
class Spread:
    """Least, greatest, mean and squared deviations of numbers that come in parts.

    Source: Chan, Golub and LeVeque (1983), Algorithms for computing the sample variance.
    """

    count: int = 0
    least: float | None = None
    greatest: float | None = None
    mean: float = 0.0
    squares: float = 0.0
    """Sum of squared deviations from the mean."""

    def take(self, values: NDArray[np.float64]) -> None:
        """More numbers; NaN is none."""
        values = values[~np.isnan(values)]
        if not len(values):
            return
        mean = float(values.mean())
        between = mean - self.mean
        total = self.count + len(values)
        self.squares += float(((values - mean) ** 2).sum()) + between**2 * self.count * len(values) / total
        self.mean += between * len(values) / total
        self.count = total
        least, greatest = float(values.min()), float(values.max())
        self.least = least if self.least is None else min(self.least, least)
        self.greatest = greatest if self.greatest is None else max(self.greatest, greatest)

    @property
    def outlier(self) -> Outlier | None:
        """The end that has most of the squared deviations by itself, if one has."""
        if self.count < FEWEST or not self.squares or not math.isfinite(self.squares):
            return None
        far = max((self.least or 0.0, self.greatest or 0.0), key=lambda value: abs(value - self.mean))
        share = (far - self.mean) ** 2 / self.squares
        return Outlier(far, share) if share > SHARE else None
