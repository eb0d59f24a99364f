"""What a training would make of a log, column by column, without training: `offerrank data check`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from domain.errors import InvalidTrainingData
from features.market import Market
from features.model_spec import TaskSpec
from features.spec import FeatureSpec
from pipelines.bags import tensor_columns
from pipelines.batches import Batch, batches, split_column
from pipelines.column_check import ColumnCheck, Convert
from pipelines.columns import label_column, value_column
from pipelines.ingest import Ingested, ingest
from pipelines.keys import key_column
from pipelines.refusals import Where
from pipelines.scratch import scratch_folder
from pipelines.sources import files_of
from pipelines.text import are_missing
from pipelines.times import Clock, time_column


@dataclass(frozen=True, slots=True)
class DataCheck:
    """A whole log."""

    files: list[Path]
    columns: list[ColumnCheck]
    refused: list[str]
    """Files that cannot be read, and what else would end a training before it begins."""
    ingested: Ingested | None
    """The rows by split, where nothing is wrong."""

    @property
    def wrong(self) -> list[str]:
        """All that was found; empty of a log that can be trained on."""
        return [*self.refused, *(bad for column in self.columns for bad in column.bad)]

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "files": list(map(str, self.files)),
            "columns": [column.as_json() for column in self.columns],
            "rows": self.ingested and self.ingested.rows,
            "refused": self.refused,
        }


def check_data(market: Market, data: Path) -> DataCheck:
    """Reads everything, as a training would.

    Raises:
      InvalidTrainingData: there is nothing to read.
      OSError: there is no room for the rows in TMPDIR.
    """
    files = files_of(data)
    columns: dict[tuple[str, str], ColumnCheck] = {}
    refused: list[str] = []
    clock = Clock()
    for file in files:
        try:
            for batch in batches(market, [file]):
                for check, convert in _columns(market, batch, clock):
                    one = columns.setdefault((check.column, check.became), check)
                    one.take(batch.column(check.column), convert, batch.where(check.column))
        except InvalidTrainingData as e:
            refused.append(str(e))
    ingested = None
    if not refused and not any(column.bad for column in columns.values()):
        try:
            with scratch_folder("check") as folder:
                ingested = ingest(market, data, folder / "rows")
        except InvalidTrainingData as e:
            refused.append(str(e))
    return DataCheck(files, list(columns.values()), refused, ingested)


def _columns(market: Market, batch: Batch, clock: Clock) -> Iterator[tuple[ColumnCheck, Convert]]:
    """What a training reads of a batch, and how."""
    for f in market.features:
        yield ColumnCheck(f.log_column, f"{f.dtype} feature {f.name}", f.vocabulary), _feature(f)
    for t in market.tasks:
        yield ColumnCheck(t.log_column, f"label of {t.name}"), _label(t, batch)
    if market.value is not None:
        yield ColumnCheck(market.value.column, "value of conversions"), _value
    split = market.training.split
    if split.kind == "hash":
        yield ColumnCheck(split_column(market), "key of the split"), key_column
    elif split.kind == "time":
        yield ColumnCheck(split_column(market), "time of the split"), _time(clock)


def _feature(f: FeatureSpec) -> Convert:
    def convert(raw: pa.Array, where: Where) -> pa.Array:
        values = tensor_columns(f, raw, where)[0]
        if f.multiple:
            values = values.flatten()
            return values.filter(pc.not_equal(values, pa.scalar(f.fill, values.type)))
        return values.filter(pa.array(~are_missing(raw)))

    return convert


def _label(task: TaskSpec, batch: Batch) -> Convert:
    """A missing one is fine where the task cannot count: its label may be another task's condition, or not final yet."""
    optional = task.given is not None or task.usable_column in batch

    def convert(raw: pa.Array, where: Where) -> pa.Array:
        labels = label_column(raw, np.full(len(raw), not optional), where, task.positive)
        return pa.array(labels).filter(pa.array(~are_missing(raw)))

    return convert


def _value(raw: pa.Array, where: Where) -> pa.Array:
    return value_column(raw, where).drop_null()


def _time(clock: Clock) -> Convert:
    def convert(raw: pa.Array, where: Where) -> pa.Array:
        times = time_column(raw, where)
        clock.take(times, raw, where)
        return pa.array(times.values)

    return convert
