"""The rows of a training log as a market reads them, batch by batch, each knowing where it stands."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from features.market import Market
from features.monitoring_spec import PLACEMENT, POSITION
from pipelines.clusters import SAID_BY
from pipelines.derived_columns import time_columns, with_derived, with_only_values, without_words
from pipelines.exploration import SAID_AS
from pipelines.refusals import Where, place
from pipelines.sources import read


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a file."""

    raw: pa.RecordBatch
    file: Path
    start: int
    """Rows of the file before them."""
    before: int
    """Rows of the whole log before them."""

    def __contains__(self, column: str) -> bool:
        return column in self.raw.schema.names

    def column(self, name: str) -> pa.Array:
        """[R], as it is in the file."""
        return self.raw.column(self.raw.schema.names.index(name))

    def where(self, column: str) -> Where:
        """For messages."""
        return partial(place, self.file, column, start=self.start)


def batches(market: Market, files: list[Path]) -> Iterator[Batch]:
    """Everything that a training reads, in the order of the files; derived features are columns like any other."""
    given = [f for f in market.features if f.derived is None]
    columns = {f.log_column: None for f in given if f.only_value is None} | {t.log_column: None for t in market.tasks}
    columns |= {name: None for name in (POSITION, PLACEMENT) if name in market.row_columns}
    if market.value is not None:
        columns |= {market.value.column: None}
    if market.training.split.by is not None:
        columns |= {split_column(market): None}
    beside = (*(f.log_column for f in given), *time_columns(market), *market.row_columns, *SAID_BY, *SAID_AS.values())
    optional = tuple(name for name in dict.fromkeys(beside) if name not in columns)
    for batch in read_batches(market, files, tuple(columns), optional):
        whole = with_only_values(market, batch.raw)
        yield replace(batch, raw=with_derived(market, whole, partial(place, batch.file, start=batch.start)))


def read_batches(market: Market, files: list[Path], columns: tuple[str, ...], optional: tuple[str, ...]) -> Iterator[Batch]:
    """Some columns, in the order of the files; errors as of `read`."""
    before = 0
    described = {f.log_column for f in market.features}
    lists = frozenset(f.log_column for f in market.features if f.multiple)
    keys = frozenset({*SAID_BY, *((split_column(market),) if market.training.split.kind == "hash" else ())} - described)
    for file in files:
        start = 0
        for raw in read(file, columns, optional, lists, keys, market.training.csv):
            yield Batch(without_words(market, raw), file, start, before)
            start += raw.num_rows
            before += raw.num_rows


def split_column(market: Market) -> str:
    """Column of the log to split by; a feature may be meant by its name."""
    by = str(market.training.split.by)
    return next((f.log_column for f in market.features if f.name == by), by)
