"""What a turn of `offerrank retrain` takes of the rows that the release in service has not learned from.

Its own rows judge a turn, so a task takes part once these are enough to judge by, `min_positives`; until then they wait, and the
next turn has them, too. And what the release in service does not believe is not learned: `models.instrument`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from domain.doubted import Doubted
from domain.errors import LabelsDoubted, NothingToLearn
from features.market import Market
from features.training_spec import Gate
from models.evaluation import LabelCount
from models.gates import has_enough
from models.instrument import split_doubts
from models.release import FinalLabels, LeftOut, Release, left_out
from pipelines.calibration import Columns, calibrated, counting
from pipelines.doubts import doubted_labels, doubts
from pipelines.examples import JoinReport, recounted, take_learnable_rows
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
    """Writes the rows that may be learned, as `take_learnable_rows` has them; of all at once memory holds what judges them.

    Raises:
      NothingToLearn: they are too few, for each of the tasks.
      LabelsDoubted: the release in service does not believe the latest of them.
    """
    with written_in_order(path) as pieces:
        report = take_learnable_rows(market, log_dir, now_ms, service.manifest, None, pieces.take)
        if report.rows < market.training.min_rows:
            least = f"at least {market.training.min_rows} rows (training.min_rows)"
            raise NothingToLearn(str(log_dir), least, f"{report.rows} rows")
        judging = judging_columns(market, pieces, None if doubted == Doubted.LEARN else service)
        spans = _spans(market, judging, service, doubted)
        for name in dict.fromkeys(t.label for t in market.tasks):
            judging[_usable(name)] &= ~left_out(judging["time_ms"], name, spans)
        waiting = waiting_tasks(market, judging)
        few = ", ".join(f"{name}: {n.positives} positives in {n.rows:,} rows" for name, n in waiting.items())
        enough = f"enough rows to judge by (min_positives) that release {service.version} has not learned from"
        if len(waiting) == sum(t.role == "primary" for t in market.tasks):
            raise NothingToLearn(str(log_dir), enough, few)
        labels, later = report.labels, frozenset[str]()
        if labels is not None and not labels.importance and waiting:
            labels, later = _later(market, labels, service, waiting)
        if spans or later:
            pieces.edit = partial(_edited, market, spans, later)
        report = recounted(market, map(pieces.edit, pieces), replace(report, labels=labels))
        if not report.rows:
            raise NothingToLearn(str(log_dir), enough, few)
        pieces.metadata = report.used.metadata()
    return NewRows(report, spans, waiting)


def judging_columns(market: Market, pieces: Iterable[pa.Table], service: Release | None) -> dict[str, NDArray[Any]]:
    """What is asked of all rows at once: when they were decided, labels and whether these are usable, and, where a release is
    given, what it says of them where they were shown, calibrated."""
    labels = dict.fromkeys(t.label for t in market.tasks)
    flags = [*labels, *(f"{label}_matured" for label in labels)]
    found: list[dict[str, NDArray[Any]]] = []
    for rows in pieces:
        columns = {name: rows[name].to_numpy().astype(np.int8) for name in flags if name in rows.column_names}
        columns |= {_usable(name): _is_usable(rows, name) for name in labels}
        columns["time_ms"] = rows["time_ms"].to_numpy()
        if service is not None:
            columns |= calibrated(market, service.calibrator, predicted(market, service, rows))
        found.append(columns)
    return {name: np.concatenate([columns[name] for columns in found]) for name in found[0]}


def _spans(market: Market, judging: Columns, service: Release, doubted: Doubted) -> tuple[LeftOut, ...]:
    """Labels that are not learned; raises LabelsDoubted."""
    if doubted == Doubted.LEARN:
        return ()
    found = doubts(market, judging)
    over, lasting = ({task: split_doubts(of_task)[i] for task, of_task in found.items()} for i in (0, 1))
    if doubted == Doubted.REFUSE and any(lasting.values()):
        raise LabelsDoubted(tuple(f"{task}: {r} by release {service.version}" for task, rs in lasting.items() for r in rs))
    left = {task: over[task] + (lasting[task] if doubted == Doubted.LEAVE_OUT else []) for task in found}
    return doubted_labels(market, left)


def waiting_tasks(market: Market, columns: Columns) -> dict[str, LabelCount]:
    """Primary tasks that the rows are too few for to judge by, unless the market releases what is not judged."""
    waiting = {}
    for t in (t for t in market.tasks if t.role == "primary"):
        labels = columns[t.label][counting(t, columns)]
        gate, counted = market.training.gates.get(t.name, Gate()), LabelCount(rows=len(labels), positives=int(labels.sum()))
        if gate.unjudged == "refuse" and not has_enough(gate, counted):
            waiting[t.name] = counted
    return waiting


def _edited(market: Market, spans: tuple[LeftOut, ...], later: frozenset[str], rows: pa.Table) -> pa.Table:
    """Rows without the labels of the spans, and those that are for later; a row that counts for none is dropped."""
    for name in dict.fromkeys(t.label for t in market.tasks):
        out = left_out(rows["time_ms"].to_numpy(), name, spans) | (name in later)
        column = pa.array((_is_usable(rows, name) & ~out).astype(np.int64))
        at = rows.schema.get_field_index(_usable(name))
        rows = rows.append_column(_usable(name), column) if at < 0 else rows.set_column(at, _usable(name), column)
    return _that_count(market, rows)


def _usable(label: str) -> str:
    return f"{label}_usable"


def _is_usable(rows: pa.Table, label: str) -> NDArray[np.bool_]:
    """[R], every one where the rows do not say."""
    name = _usable(label)
    return rows[name].to_numpy() == 1 if name in rows.column_names else np.ones(len(rows), bool)


def _that_count(market: Market, rows: pa.Table) -> pa.Table:
    columns = [pc.equal(rows[t.usable_column], 1) for t in market.tasks]
    if (entering := market.importance_task) is not None and entering.entry_column in rows.column_names:
        columns.append(pc.greater_equal(rows[entering.entry_column], 0))
    return rows.filter(reduce(pc.or_, columns))


def _later(
    market: Market, labels: FinalLabels, service: Release, waiting: dict[str, LabelCount]
) -> tuple[FinalLabels, frozenset[str]]:
    """What was learned, and the labels that all their tasks wait for."""
    assert service.manifest.labels is not None
    taking_part = {t.label for t in market.tasks if t.role == "primary" and t.name not in waiting}
    later = frozenset(t.label for t in market.tasks if t.label not in taking_part and t.name in waiting)
    since = {label: service.manifest.labels.learned_ms(label) for label in later}
    return labels.model_copy(update={"waiting": since}), later
