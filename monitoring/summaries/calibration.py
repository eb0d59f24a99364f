"""Predictions against what came of them, for one task, on rows whose label is final. Sums are integers, so merging is exact."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.errors import ContractError
from monitoring.summaries.coding import packed, unpacked

P_EDGES = (0.003, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.4, 0.7)
"""Between the ten bins of p; a p on an edge belongs to the bin above."""
BINS = len(P_EDGES) + 1
_UNIT = 1e9  # sums of probabilities are kept in parts of 1e-9
_KIND = b"c"


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Rows by predicted probability.

    bins [4, BINS] int64: rows, sum p and sum p(1 - p) in 1e-9, sum y.
    """

    bins: NDArray[np.int64]
    charged_micros: int = 0
    """What these rows were charged for the outcome: sum of y price, of rows that are billed for it."""
    expected_micros: int = 0
    """What they would have been if p were right: sum of p price, of the same rows."""

    @classmethod
    def of(cls, p: ArrayLike, y: ArrayLike, price_micros: ArrayLike) -> Self:
        """Of rows.

        Args:
          p: [N] calibrated probability, in [0, 1].
          y: [N] 0 or 1.
          price_micros: [N] charged if y = 1; 0 where the row is not billed for this outcome.
        Raises:
          ContractError: a p is none.
        """
        found = dict(cls.by_group(p, y, price_micros, np.zeros(np.size(p), np.int64), 1))
        return found.get(0) or cls.nothing()

    @classmethod
    def by_group(
        cls, p: ArrayLike, y: ArrayLike, price_micros: ArrayLike, group: NDArray[np.int64], groups: int
    ) -> Iterator[tuple[int, Self]]:
        """`of` each group that has rows.

        Args:
          group: [N], from 0 to `groups` - 1.
        """
        p, y, price = np.asarray(p, np.float64), np.asarray(y, np.int64), np.asarray(price_micros, np.int64)
        if not np.all((p >= 0) & (p <= 1)):
            raise ContractError(f"calibration: expected probabilities in [0, 1], got {p[~((p >= 0) & (p <= 1))][:3]}")
        cell = group * BINS + np.searchsorted(P_EDGES, p, "right")
        amounts = [np.ones(len(p)), np.rint(p * _UNIT), np.rint(p * (1 - p) * _UNIT), y]
        # Sums of whole numbers: floats hold them exactly up to 2^53, nine million rows.
        bins = np.array([np.bincount(cell, amount, groups * BINS).reshape(groups, BINS) for amount in amounts])
        money = [np.bincount(group, amount, groups) for amount in (y * price, np.rint(p * price))]
        for g in np.flatnonzero(bins[0].sum(axis=1)).tolist():
            yield g, cls(bins[:, g].astype(np.int64), int(money[0][g]), int(money[1][g]))

    @classmethod
    def nothing(cls) -> Self:
        """Of no rows."""
        return cls(np.zeros((4, BINS), np.int64))

    def merge(self, other: Self) -> Self:
        """Of both together."""
        charged, expected = self.charged_micros + other.charged_micros, self.expected_micros + other.expected_micros
        return type(self)(self.bins + other.bins, charged, expected)

    @property
    def rows(self) -> int:
        """Of all bins."""
        return int(self.bins[0].sum())

    @property
    def sum_p(self) -> float:
        """Outcomes that were predicted."""
        return float(self.bins[1].sum() / _UNIT)

    @property
    def sum_variance(self) -> float:
        """Variance of the number of outcomes if every p is right: sum of p (1 - p)."""
        return float(self.bins[2].sum() / _UNIT)

    @property
    def sum_y(self) -> int:
        """Outcomes that came."""
        return int(self.bins[3].sum())

    @property
    def pcoc(self) -> float:
        """Predicted over observed outcomes; NaN where none came."""
        return self.sum_p / self.sum_y if self.sum_y else float("nan")

    @property
    def bin_rows(self) -> NDArray[np.int64]:
        """[BINS]."""
        return np.asarray(self.bins[0])

    @property
    def bin_p(self) -> NDArray[np.float64]:
        """[BINS] sums of p."""
        return np.asarray(self.bins[1] / _UNIT)

    @property
    def bin_y(self) -> NDArray[np.int64]:
        """[BINS] outcomes that came."""
        return np.asarray(self.bins[3])

    def to_bytes(self) -> bytes:
        """For `from_bytes`."""
        return packed(_KIND, [self.bins, self.charged_micros, self.expected_micros])

    @classmethod
    def from_bytes(cls, text: bytes) -> Self:
        """Raises ContractError for what `to_bytes` did not write."""
        bins, charged, expected = unpacked(_KIND, text)
        return cls(np.array(bins, np.int64), charged, expected)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Calibration) and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]
