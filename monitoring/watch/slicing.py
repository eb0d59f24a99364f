"""Which part of the traffic each row belongs to, for every slice of the market at once."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.market import Market
from features.monitoring_spec import PARTNER, PLACEMENT, POSITION
from features.spec import CAMPAIGN
from monitoring.summaries import ALL, REST, Series, Slice, Summary, merged
from monitoring.summaries.grouping import texts
from monitoring.watch.columns import Columns, Ints

SLOT_COLUMNS = {PLACEMENT: "placement", CAMPAIGN: "campaign_id", POSITION: "position"}
"""Slices that are no feature, by their column of a slot."""

Kept = Callable[[str, Mapping[str, int]], Sequence[str]]
"""Slice and how often its values came now -> values that are watched each on its own."""
Cell = tuple[int, str]
"""Hour in ms, release."""


class Tally:
    """Summaries of what has been read, by hour and release."""

    def __init__(self) -> None:
        self.by: dict[Cell, dict[tuple[Slice, Series], Summary]] = {}

    def add(self, cell: Cell, where: Slice, series: Series, summary: Summary) -> None:
        """Beside, or merged with, what is there."""
        of_cell = self.by.setdefault(cell, {})
        key = (where, series)
        of_cell[key] = merged(of_cell[key], summary) if key in of_cell else summary


@dataclass(frozen=True, slots=True)
class Dimension:
    """A slice: which of its values each of N rows has."""

    by: str
    values: tuple[str, ...]
    of: Ints
    """[N], index into `values`."""

    @classmethod
    def of_texts(cls, by: str, column: pa.Array, kept: Kept) -> Self:
        """Values that are not kept are `REST`."""
        text, of = texts(column)
        counts = np.bincount(of[of >= 0], minlength=len(text))
        values = (*kept(by, dict(zip(text, counts.tolist(), strict=True))), REST)
        place = {value: i for i, value in enumerate(values)}
        to = np.array([place.get(t, len(values) - 1) for t in text] + [len(values) - 1], np.int64)
        return cls(by, values, to[of])

    def take(self, rows: Ints | NDArray[np.bool_]) -> "Dimension":
        """Some of the rows, perhaps more than once."""
        return Dimension(self.by, self.values, self.of[rows])


@dataclass(frozen=True, slots=True)
class Rows:
    """N rows: of which hour and release, and of which slices."""

    cells: tuple[Cell, ...]
    cell: Ints
    """[N], index into `cells`."""
    dimensions: tuple[Dimension, ...]

    def take(self, rows: Ints | NDArray[np.bool_]) -> "Rows":
        """Some of them, perhaps more than once."""
        return Rows(self.cells, self.cell[rows], tuple(d.take(rows) for d in self.dimensions))

    def unsliced(self) -> "Rows":
        """By hour and release alone."""
        return Rows(self.cells, self.cell, ())

    def sliced(self, dimensions: Iterable[Dimension]) -> "Rows":
        """By further slices."""
        return Rows(self.cells, self.cell, (*self.dimensions, *dimensions))

    @classmethod
    def concat(cls, all_of: Sequence[Self]) -> Self:
        """One after another; their slices have the same values."""
        cells = tuple(dict.fromkeys(cell for rows in all_of for cell in rows.cells))
        place = {cell: i for i, cell in enumerate(cells)}
        cell = [np.array([place[c] for c in rows.cells], np.int64)[rows.cell] for rows in all_of]
        dimensions = tuple(
            Dimension(d.by, d.values, np.concatenate([rows.dimensions[i].of for rows in all_of]))
            for i, d in enumerate(all_of[0].dimensions)
        )
        return cls(cells, np.concatenate(cell), dimensions)

    def groups(self, only: Collection[str] | None = None) -> "Iterator[Groups]":
        """All rows by hour and release, and by each slice beside; or by some slices alone."""
        if only is None:
            yield Groups(self.cells, "", ("",), self.cell)
        for d in self.dimensions:
            if only is not None and d.by not in only:
                continue
            yield Groups(self.cells, d.by, d.values, self.cell * len(d.values) + d.of)


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows by hour, release and one slice."""

    cells: tuple[Cell, ...]
    by: str
    values: tuple[str, ...]
    group: Ints
    """[N]"""

    @property
    def size(self) -> int:
        """How many groups there are."""
        return len(self.cells) * len(self.values)

    def place(self, group: int) -> tuple[Cell, Slice]:
        """What a group is."""
        cell, value = divmod(group, len(self.values))
        return self.cells[cell], Slice(self.by, self.values[value]) if self.by else ALL


def slice_columns(market: Market) -> tuple[str, ...]:
    """Columns of decisions that say which slices a page and its slots are of."""
    of_slices = [f for f in market.features if f.name in market.watched_slices]
    features = (f"slots.features.{f.name}" if f.source == "offer" else f"features.{f.name}" for f in of_slices)
    return ("asked_by", *(f"slots.{name}" for name in SLOT_COLUMNS.values()), *features)


def request_dimensions(market: Market, pages: Columns, kept: Kept) -> tuple[Dimension, ...]:
    """Slices by what is known of the page, [pages]."""
    columns = {f.name: f"features.{f.name}" for f in market.request_features} | {PARTNER: "asked_by"}
    return tuple(Dimension.of_texts(by, pages.text_of(columns[by]), kept) for by in market.watched_slices if by in columns)


def slot_dimensions(market: Market, slots: Columns, kept: Kept) -> tuple[Dimension, ...]:
    """Slices by what is known of the slot beside, [slots]."""
    columns = {f.name: f"features.{f.name}" for f in market.offer_features}
    columns |= SLOT_COLUMNS
    wanted = (by for by in market.watched_slices if by in columns)
    return tuple(Dimension.of_texts(by, slots.text_of(columns[by]), kept) for by in wanted)
