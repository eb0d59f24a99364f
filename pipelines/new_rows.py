"""What a turn of `offerrank retrain` takes of the rows that the release in service has not learned from.

Its own rows judge a turn, so a task takes part once these are enough to judge by, `min_positives`; until then they wait, and the
next turn has them, too. And what the release in service does not believe is not learned: `models.instrument`.
"""

from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from domain.doubted import Doubted
from domain.errors import LabelsDoubted, NothingToLearn
from features.market import Market
from features.model_spec import TaskSpec
from features.training_spec import Gate
from models.evaluation import LabelCount
from models.gates import has_enough
from models.instrument import split_doubts
from models.release import FinalLabels, LeftOut, Release, left_out
from pipelines.calibration import Columns, calibrated, counting
from pipelines.doubts import doubted_labels, doubts
from pipelines.examples import JoinReport, learnable_rows, recounted
from pipelines.recalibration import predicted
from pipelines.row_groups import written_in_order


@dataclass(frozen=True, slots=True)
class NewRows:
    """What was written."""

    report: JoinReport
    left_out: tuple[LeftOut, ...]
    """In this turn."""
    waiting: dict[str, LabelCount]
    """Task that takes no part, since its rows are too few -> what there is of them."""


def write_new_rows(
    market: Market, log_dir: Path, now_ms: int, service: Release, path: Path, doubted: Doubted = Doubted.REFUSE
) -> NewRows:
    """Writes the rows that may be learned, as `learnable_rows` has them.

    Raises:
      NothingToLearn: they are too few, for each of the tasks.
      LabelsDoubted: the release in service does not believe the latest of them.
    """
    rows, report = learnable_rows(market, log_dir, now_ms, service.manifest)
    if len(rows) < market.training.min_rows:
        raise NothingToLearn(str(log_dir), f"at least {market.training.min_rows} rows (training.min_rows)", f"{len(rows)} rows")
    found = doubts(market, service_view(market, service, rows)) if doubted != Doubted.LEARN else {}
    over, lasting = ({task: split_doubts(of_task)[i] for task, of_task in found.items()} for i in (0, 1))
    if doubted == Doubted.REFUSE and any(lasting.values()):
        raise LabelsDoubted(tuple(f"{task}: {r} by release {service.version}" for task, rs in lasting.items() for r in rs))
    spans = doubted_labels(market, {task: over[task] + (lasting[task] if doubted == Doubted.LEAVE_OUT else []) for task in found})
    rows = _without(market, rows, spans)
    waiting = waiting_tasks(market, rows)
    if not len(rows) or len(waiting) == sum(t.role == "primary" for t in market.tasks):
        few = ", ".join(f"{name}: {n.positives} positives in {n.rows:,} rows" for name, n in waiting.items())
        expected = f"enough rows to judge by (min_positives) that release {service.version} has not learned from"
        raise NothingToLearn(str(log_dir), expected, few)
    labels = report.labels
    if labels is not None and not labels.importance and waiting:
        rows, labels = _later(market, rows, labels, service, waiting)
    with written_in_order(path) as written:
        written.take(rows)
        written.metadata = report.used.metadata()
    return NewRows(recounted(market, rows, replace(report, labels=labels)), spans, waiting)


def service_view(market: Market, service: Release, rows: pa.Table) -> Columns:
    """The rows with what the release in service says of them where they were shown, calibrated."""
    columns = predicted(market, service, rows)
    return {**columns, **calibrated(market, service.calibrator, columns)}


def waiting_tasks(market: Market, rows: pa.Table) -> dict[str, LabelCount]:
    """Primary tasks that the rows are too few for to judge by, unless the market releases what is not judged."""
    waiting = {}
    for t in (t for t in market.tasks if t.role == "primary"):
        gate, counted = market.training.gates.get(t.name, Gate()), _counted(t, rows)
        if gate.unjudged == "refuse" and not has_enough(gate, counted):
            waiting[t.name] = counted
    return waiting


def _counted(task: TaskSpec, rows: pa.Table) -> LabelCount:
    columns = _flags(rows)
    labels = columns[task.label][counting(task, columns)]
    return LabelCount(rows=len(labels), positives=int(labels.sum()))


def _flags(rows: pa.Table) -> Columns:
    return {f.name: rows[f.name].to_numpy() for f in rows.schema if f.type == pa.int64()}


def _without(market: Market, rows: pa.Table, spans: tuple[LeftOut, ...]) -> pa.Table:
    """The rows without those labels; a row that counts for none is dropped."""
    if not spans:
        return rows
    for name in dict.fromkeys(t.label for t in market.tasks):
        rows = _unusable(rows, name, left_out(rows["time_ms"].to_numpy(), name, spans))
    return _that_count(market, rows)


def _unusable(rows: pa.Table, label: str, where: NDArray[np.bool_]) -> pa.Table:
    name = f"{label}_usable"
    usable = rows[name].to_numpy() == 1 if name in rows.column_names else np.ones(len(rows), bool)
    column = pa.array((usable & ~where).astype(np.int64))
    return (
        rows.set_column(rows.column_names.index(name), name, column)
        if name in rows.column_names
        else rows.append_column(name, column)
    )


def _that_count(market: Market, rows: pa.Table) -> pa.Table:
    columns = [pc.equal(rows[t.usable_column], 1) for t in market.tasks]
    if (entering := market.importance_task) is not None and entering.entry_column in rows.column_names:
        columns.append(pc.greater_equal(rows[entering.entry_column], 0))
    return rows.filter(reduce(pc.or_, columns))


def _later(
    market: Market, rows: pa.Table, labels: FinalLabels, service: Release, waiting: dict[str, LabelCount]
) -> tuple[pa.Table, FinalLabels]:
    """The rows without labels that all their tasks wait for, and these noted as not learned."""
    assert service.manifest.labels is not None
    taking_part = {t.label for t in market.tasks if t.role == "primary" and t.name not in waiting}
    since = {}
    for t in market.tasks:
        if t.label not in taking_part and t.name in waiting:
            since[t.label] = service.manifest.labels.learned_ms(t.label)
            rows = _unusable(rows, t.label, np.ones(len(rows), bool))
    return _that_count(market, rows), labels.model_copy(update={"waiting": since})
