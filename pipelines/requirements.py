"""What a log as a whole must have to be trained on, and what is odd about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domain.errors import InvalidTrainingData, NothingToLearn
from features.market import Market
from features.training_spec import Gate
from models.gates import check_label_rate
from pipelines.outliers import Spread
from pipelines.splits import SPLITS, TRAIN


@dataclass(frozen=True, slots=True)
class TaskRows:
    """Rows that count for a task, and how many of them are positive."""

    rows: int = 0
    positives: int = 0

    def plus(self, labels: NDArray[np.int64]) -> "TaskRows":
        """With more rows."""
        return TaskRows(self.rows + len(labels), self.positives + int(labels.sum()))

    @property
    def negatives(self) -> int:
        """Rows that are not positive."""
        return self.rows - self.positives


def outliers(market: Market, spreads: dict[str, Spread]) -> Iterator[str]:
    """Features of which one value would be all that is left once they are normalised."""
    columns = {f.name: f.log_column for f in market.features}
    for name, spread in spreads.items():
        if spread.outlier is not None:
            yield f"column {columns[name]!r}: {spread.outlier}"


def require_values(market: Market, data: Path, rows: int, missing: dict[str, int]) -> None:
    """`training.max_missing` holds."""
    for f in market.features:
        limit = market.training.max_missing.get(f.name, 1.0)
        if missing[f.name] > limit * rows:
            where, bound = f"{data.name}: column {f.log_column!r}", f"training.max_missing.{f.name} = {limit:g}"
            raise InvalidTrainingData(where, f"values ({bound})", f"none in {missing[f.name]:,} of {rows:,} rows")


def require_label_rates(market: Market, data: Path, train: dict[str, TaskRows]) -> None:
    """The gates of label rates hold: known before a model is trained, so checked before."""
    for t in (t for t in market.tasks if t.role == "primary"):
        counted, gate = train[t.name], market.training.gates.get(t.name, Gate())
        for result in check_label_rate(t.name, gate, counted.rows, counted.positives):
            if result.verdict == "failed":
                where, bound = f"{data.name}: column {t.log_column!r}", f"{result.key} = {result.bound:g}"
                got = f"{counted.positives:,} positives in {counted.rows:,} training rows"
                raise InvalidTrainingData(where, f"a label rate that keeps {bound}", got)


def require_enough(
    market: Market,
    data: Path,
    rows: dict[str, int],
    tasks: dict[str, dict[str, TaskRows]],
    continuing: bool,
    learned: tuple[str, ...] = SPLITS,
) -> None:
    """There are rows in each split that there should be, and positives and negatives to learn from."""
    total = sum(rows.values())
    if total < market.training.min_rows:
        raise NothingToLearn(str(data), f"at least {market.training.min_rows} rows (training.min_rows)", f"{total} rows")
    for split in learned:
        if not rows[split]:
            raise NothingToLearn(str(data), f"rows for the {split} split ({market.training.split.kind})", f"{rows}")
    if SPLITS[TRAIN] not in learned:
        return  # a model that goes on learns from rows that are alike, too
    for t in market.tasks:
        seen = sum(tasks[s][t.name].rows for s in SPLITS)
        if continuing and not seen:
            continue
        for kind in ("positives", "negatives"):
            column = f"{data.name}: column {t.log_column!r}"
            if not sum(getattr(tasks[s][t.name], kind) for s in SPLITS):
                raise NothingToLearn(column, kind, f"none in {seen} rows that count for task {t.name!r}")
            if not getattr(tasks[SPLITS[TRAIN]][t.name], kind):
                raise NothingToLearn(column, f"{kind} in the train split", f"none for task {t.name!r}: more rows are needed")
