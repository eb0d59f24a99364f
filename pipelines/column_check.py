"""What became of one column of a training log, and which of its rows cannot be used."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from domain.errors import InvalidTrainingData
from pipelines.outliers import Outlier, Spread
from pipelines.refusals import Where
from pipelines.text import are_missing

BAD_ROWS = 5
"""Named of a column at most; it is not looked at further."""
MOST_DISTINCT = 100_000

Convert = Callable[[pa.Array, Where], pa.Array]
"""A raw column -> its values as a training takes them."""


@dataclass(slots=True)
class ColumnCheck:
    """What became of a column."""

    column: str
    """Of the files."""
    became: str
    """Such as `int feature age`."""
    vocabulary: int | tuple[str | int, ...] | None = None
    """Of a feature that has one."""
    rows: int = 0
    missing: int = 0
    bad: list[str] = field(default_factory=list)
    """The first that cannot be used, by file, row and value."""
    spread: Spread = field(default_factory=Spread)
    """Of numbers."""
    _counts: Counter[Any] = field(default_factory=Counter)
    _many: bool = False

    def take(self, raw: pa.Array, convert: Convert, where: Where) -> None:
        """More rows; of those around a bad one the rest."""
        if len(self.bad) >= BAD_ROWS or not len(raw):
            return
        asked: list[int] = []

        def noted(row: int) -> str:
            asked.append(row)
            return where(row)

        try:
            values = convert(raw, noted)
        except InvalidTrainingData as e:
            row = asked[-1] if asked else 0
            self.take(raw.slice(0, row), convert, where)
            if len(self.bad) < BAD_ROWS:
                self.bad.append(str(e))
                self.rows += 1
            self.take(raw.slice(row + 1), convert, lambda later: where(row + 1 + later))
            return
        self.rows += len(raw)
        self.missing += int(are_missing(raw).sum())
        self._count(values)

    @property
    def distinct(self) -> int | None:
        """Values; None of more than are counted."""
        return None if self._many else len(self._counts)

    @property
    def out_of_vocabulary(self) -> int | None:
        """Values, over all rows, that a listed vocabulary lacks, or that are beyond the most frequent of a learned one; None
        without a vocabulary, or of too many distinct values to tell."""
        if self.vocabulary is None or self._many:
            return None
        if isinstance(self.vocabulary, tuple):
            listed = set(self.vocabulary)
            return sum(count for value, count in self._counts.items() if value not in listed)
        return self._counts.total() - sum(count for _, count in self._counts.most_common(self.vocabulary))

    @property
    def outlier(self) -> Outlier | None:
        """One value that would be all that a normalised feature tells."""
        return self.spread.outlier

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "column": self.column,
            "became": self.became,
            "rows": self.rows,
            "missing": self.missing,
            "distinct": self.distinct,
            "out_of_vocabulary": self.out_of_vocabulary,
            "least": self.spread.least,
            "greatest": self.spread.greatest,
            "outlier": None if self.outlier is None else self.outlier.value,
            "bad": self.bad,
        }

    def _count(self, values: pa.Array) -> None:
        values = values.drop_null()
        if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
            self.spread.take(values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
        if self._many:
            return
        found = pc.value_counts(values)
        self._counts.update(dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)))
        if len(self._counts) > MOST_DISTINCT:
            self._many = True
            self._counts.clear()
