"""A distribution of numbers on a grid that is as fine as 256 buckets allow. Merging is exact, in any order.

The grid are the floats themselves: their bits in numeric order, without the last `shift` of them. A bucket's width is relative to
its values, 2^-(52 - shift), and `shift` is the least with which all values fall into at most `BUCKETS` buckets: numbers of few
values (counts, ages) are kept exactly, prices over three decades to about 2 %, timestamps of one day to minutes.

Coarsening by one bit joins pairs of neighbours, so a part never needs a coarser grid than the whole, and

    merge(a, merge(b, c)) = merge(merge(a, b), c) = the summary of all rows at once

to the last count: what was restarted says the same as what was not. Quantile sketches (KLL, t-digest) draw random bits and have
no such promise, and two of them share no grid on which to compare counts.
Source: Masson, Rim and Lee, "DDSketch" (2019), for relative buckets; Epicoco et al., "UDDSketch" (2020), for coarsening them.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitoring.summaries.coding import packed, unpacked

BUCKETS = 256
_KIND = b"n"
_FLIP = np.int64(0x7FFF_FFFF_FFFF_FFFF)
_LEAST, _MOST = np.int64(-0x7FF0_0000_0000_0000), np.int64(0x7FEF_FFFF_FFFF_FFFF)  # codes of the finite floats
_COARSEST = 56  # 2^8 buckets hold all floats


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """How often which numbers came.

    code [K] int64, ascending and distinct: the buckets that are not empty; count [K] int64, above 0.
    """

    missing: int
    shift: int
    code: NDArray[np.int64]
    count: NDArray[np.int64]

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """Of numbers, NaN or infinite where missing."""
        x = np.asarray(values, np.float64)
        present = x[np.isfinite(x)]
        code, count = np.unique(codes_of(present), return_counts=True)
        return cls(len(x) - len(present), 0, code, count.astype(np.int64))._fitted()

    @classmethod
    def bucketed(cls, missing: int, code: NDArray[np.int64], count: NDArray[np.int64]) -> Self:
        """Of numbers by their `codes_of`, [K] in order and distinct, and how often each came."""
        return cls(missing, 0, code, count)._fitted()

    @classmethod
    def counted(cls, values: ArrayLike, counts: ArrayLike, missing: int = 0) -> Self:
        """Of numbers that came so many times each, such as a histogram's.

        Args:
          values, counts: [K], finite; of 0 or more.
        """
        kept = np.asarray(counts, np.int64) > 0
        code, of = np.unique(codes_of(np.asarray(values, np.float64)[kept]), return_inverse=True)
        count = np.bincount(of, np.asarray(counts, np.int64)[kept], len(code)).astype(np.int64)
        return cls(missing, 0, code, count)._fitted()

    def merge(self, other: Self) -> Self:
        """Of both together."""
        grid = self.on_grid_of(other)
        count = grid.count + grid.other
        return type(self)(self.missing + other.missing, grid.shift, grid.code, count)._fitted()

    @property
    def present(self) -> int:
        """Numbers."""
        return int(self.count.sum())

    @property
    def rows(self) -> int:
        """Numbers, and rows that have none."""
        return self.present + self.missing

    @property
    def zeros(self) -> int:
        """Rows whose number is 0."""
        return int(self.count[self.code == 0].sum()) if self.shift <= 52 else 0

    @property
    def low(self) -> NDArray[np.float64]:
        """[K] least number that belongs to each bucket."""
        return _floats(self.code << self.shift)

    @property
    def high(self) -> NDArray[np.float64]:
        """[K] greatest number that belongs to each bucket; the least one where the bucket is one number."""
        return _floats(((self.code + 1) << self.shift) - 1)

    def mean(self) -> float:
        """NaN where nothing is present."""
        present = self.present
        return float(self.count @ (self.low / 2 + self.high / 2) / present) if present else float("nan")

    def deviation(self) -> float:
        """Standard deviation, NaN where nothing is present."""
        if not (present := self.present):
            return float("nan")
        return float(np.sqrt(self.count @ (self.low / 2 + self.high / 2 - self.mean()) ** 2 / present))

    def cdf(self, x: ArrayLike) -> NDArray[np.float64]:
        """Share of the numbers that are at most x, taken as even within a bucket; NaN where nothing is present."""
        at = np.atleast_1d(np.asarray(x, np.float64))
        if not len(self.code):
            return np.full(len(at), np.nan)
        low, high, below = self.low, self.high, np.concatenate([[0], np.cumsum(self.count)])
        i = np.clip(np.searchsorted(low, at, "right") - 1, 0, None)
        width = np.maximum(high - low, np.finfo(np.float64).tiny)[i]
        within = np.where(at < low[i], 0.0, np.where(high[i] == low[i], 1.0, np.clip((at - low[i]) / width, 0, 1)))
        return np.asarray((below[i] + within * self.count[i]) / below[-1])

    def quantile(self, q: ArrayLike) -> NDArray[np.float64]:
        """Numbers that the shares q of [0, 1] lie below, even within a bucket; NaN where nothing is present."""
        share = np.atleast_1d(np.asarray(q, np.float64))
        if not len(self.code):
            return np.full(len(share), np.nan)
        above = np.cumsum(self.count)
        rank = share * above[-1]
        i = np.clip(np.searchsorted(above, rank, "left"), 0, len(above) - 1)
        within = np.clip((rank - (above - self.count)[i]) / self.count[i], 0, 1)
        return np.asarray(self.low[i] + within * (self.high - self.low)[i])

    def on_grid_of(self, other: Self) -> "Grid":
        """Both counted in the same buckets: those of the coarser one."""
        shift = max(self.shift, other.shift)
        a, b = self._at(shift), other._at(shift)
        code = np.union1d(a.code, b.code)
        counts = []
        for one in (a, b):
            count = np.zeros(len(code), np.int64)
            count[np.searchsorted(code, one.code)] = one.count
            counts.append(count)
        return Grid(shift, code, *counts)

    def to_bytes(self) -> bytes:
        """For `from_bytes`."""
        steps = np.diff(self.code, prepend=0)
        return packed(_KIND, [self.missing, self.shift, steps, self.count])

    @classmethod
    def from_bytes(cls, text: bytes) -> Self:
        """Raises ContractError for what `to_bytes` did not write."""
        missing, shift, steps, count = unpacked(_KIND, text)
        return cls(missing, shift, np.cumsum(np.array(steps, np.int64)), np.array(count, np.int64))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Numbers) and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]

    def _fitted(self) -> Self:
        """On the finest grid that has room."""
        if len(self.code) <= BUCKETS:
            return self
        fine, coarse = self.shift, _COARSEST  # too fine; coarse enough
        while coarse - fine > 1:
            middle = (fine + coarse) // 2
            distinct = 1 + np.count_nonzero(np.diff(self.code >> (middle - self.shift)))
            fine, coarse = (fine, middle) if distinct <= BUCKETS else (middle, coarse)
        return self._at(coarse)

    def _at(self, shift: int) -> Self:
        if shift == self.shift:
            return self
        code = self.code >> (shift - self.shift)
        first = np.flatnonzero(np.diff(code, prepend=code[:1] - 1))
        count = np.add.reduceat(self.count, first) if len(code) else self.count
        return type(self)(self.missing, shift, code[first], count)


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Two distributions in the same buckets, [K] each; together none is empty."""

    shift: int
    code: NDArray[np.int64]
    count: NDArray[np.int64]
    other: NDArray[np.int64]

    @property
    def low(self) -> NDArray[np.float64]:
        """[K] as `Numbers.low`."""
        return _floats(self.code << self.shift)

    @property
    def high(self) -> NDArray[np.float64]:
        """[K] as `Numbers.high`."""
        return _floats(((self.code + 1) << self.shift) - 1)


def codes_of(finite: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bits of floats as integers in the floats' order; -0 is 0."""
    bits = (finite + 0.0).view(np.int64)
    return np.asarray(bits ^ ((bits >> 63) & _FLIP))


def _floats(codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """The inverse of `codes_of`."""
    bits = np.clip(codes, _LEAST, _MOST)
    return (bits ^ ((bits >> 63) & _FLIP)).view(np.float64)
