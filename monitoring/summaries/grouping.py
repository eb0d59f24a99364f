"""Columns of rows as summaries by group: each column is sorted once, however many ways it is then divided."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from monitoring.summaries.numbers import Numbers, codes_of
from monitoring.summaries.values import MOST_VALUES, Values

Ints = NDArray[np.int64]
LONGEST_TEXT = 256
"""Characters of a value that are told apart, as many as a request may have: 128 values of a series have to stay small."""
_DENSE = 1 << 21
"""Most cells of a table of counts that is written out; beyond it only those that are not 0."""


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """Numbers of N rows.

    code [U], the different ones in order; of [N], which of them a row has, or -1.
    """

    code: Ints
    of: Ints

    @classmethod
    def of_rows(cls, values: ArrayLike) -> Self:
        """Args: values: [N], NaN or infinite where missing."""
        x = np.asarray(values, np.float64)
        present = np.isfinite(x)
        of = np.full(len(x), -1, np.int64)
        code, of[present] = np.unique(codes_of(x[present]), return_inverse=True)
        return cls(code, of)

    def by_group(self, group: Ints, groups: int) -> Iterator[tuple[int, Numbers]]:
        """Each group that has rows, and the summary of its rows.

        Args:
          group: [N], from 0 to `groups` - 1.
        """
        rows, missing = _rows_and_missing(self.of, group, groups)
        cells = _cells(group, self.of, groups, len(self.code))
        for g in np.flatnonzero(rows).tolist():
            at, count = cells.of(g)
            yield g, Numbers.bucketed(int(missing[g]), self.code[at], count)


@dataclass(frozen=True, slots=True)
class ValueColumn:
    """Values of N rows, one each or lists of them.

    text [U], the different ones in order; known [U], whether they are in the vocabulary; of [M], the values in the order of their
    rows; row [M], whose they are; missing [N].
    """

    text: tuple[str, ...]
    known: NDArray[np.bool_]
    of: Ints
    row: Ints
    missing: NDArray[np.bool_]

    @classmethod
    def of_rows(cls, values: pa.Array, vocabulary: Collection[str] | None = None, absent: Collection[str] = ("",)) -> Self:
        """Args:
        values: [N] text or whole numbers, or lists of them, with weights beside or not; null or empty where missing.
        vocabulary: what is known; None where everything is.
        absent: texts that stand for a missing value.
        """
        if pa.types.is_list(values.type):
            row = pc.list_parent_indices(values).to_numpy(zero_copy_only=False).astype(np.int64)
            flat = pc.list_flatten(values)
            if pa.types.is_struct(flat.type):  # values with weights
                flat = pc.struct_field(flat, [0])
        else:
            row, flat = np.arange(len(values)), values
        text, of = texts(flat)
        there = (of >= 0) & ~np.isin(of, [i for i, t in enumerate(text) if t in absent])
        missing = np.bincount(row[there], minlength=len(values)) == 0
        known = np.array([vocabulary is None or t in vocabulary for t in text], bool)
        return cls(text, known, of[there], row[there], missing)

    def by_group(self, group: Ints, groups: int) -> Iterator[tuple[int, Values]]:
        """As `NumberColumn.by_group`."""
        rows = np.bincount(group, minlength=groups)
        missing = np.bincount(group[self.missing], minlength=groups)
        cells = _cells(group[self.row], self.of, groups, len(self.text))
        for g in np.flatnonzero(rows).tolist():
            at, count = cells.of(g)
            unknown = int(count[~self.known[at]].sum())
            if len(at) > MOST_VALUES:  # in text order, as `Values` ranks equals
                most = np.argsort(-count, kind="stable")[:MOST_VALUES]
                other, at, count = int(count.sum() - count[most].sum()), at[most], count[most]
            else:
                other = 0
            counts = {self.text[i]: n for i, n in zip(at.tolist(), count.tolist(), strict=True)}
            yield g, Values(int(rows[g]), int(missing[g]), unknown, counts, other)


def texts(values: pa.Array) -> tuple[tuple[str, ...], Ints]:
    """The different values of a column as text, in order, and which of them each row has, -1 for null; text is cut."""
    if not len(values):
        return (), np.zeros(0, np.int64)
    encoded = pc.dictionary_encode(values)
    # NumPy drops NULs at the end of a text that it keeps: two slices would be one after a restart.
    names = np.array([str(v)[:LONGEST_TEXT].replace("\0", "\ufffd") for v in encoded.dictionary.to_pylist()], object)
    text, place = np.unique(names, return_inverse=True)
    index = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return tuple(text.tolist()), np.concatenate([place, [-1]])[index].astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Cells:
    """Counts above 0 of which value in which group, in the order of both."""

    begin: Ints
    value: Ints
    count: Ints

    def of(self, group: int) -> tuple[Ints, Ints]:
        """Values of a group, and how often each came."""
        here = slice(self.begin[group], self.begin[group + 1])
        return self.value[here], self.count[here]


def _cells(group: Ints, of: Ints, groups: int, different: int) -> _Cells:
    there = of >= 0
    key = group[there] * max(different, 1) + of[there]
    if groups * different <= min(_DENSE, 64 * len(key) + 1024):
        counts = np.bincount(key, minlength=groups * different)
        cell = np.flatnonzero(counts)
        count = counts[cell]
    else:
        cell, count = np.unique(key, return_counts=True)
    begin = np.searchsorted(cell, np.arange(groups + 1) * max(different, 1))
    return _Cells(begin.astype(np.int64), (cell % max(different, 1)).astype(np.int64), count.astype(np.int64))


def _rows_and_missing(of: Ints, group: Ints, groups: int) -> tuple[Ints, Ints]:
    return np.bincount(group, minlength=groups), np.bincount(group[of < 0], minlength=groups)
