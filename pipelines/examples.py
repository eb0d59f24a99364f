"""Training rows from the archived logs: what was shown, as serving saw it, and what came of it.

A shown offer is a slot of a decision that has an impression event, or a click, which implies one. Invalid traffic is left out
(features/valid_traffic.py). It becomes one row:
the features as used, its position and propensity, and a 0/1 label per task,

    click       1 if the first click came at most `training.click_window_s` after the impression
    conversion  1 if that click counts and the first conversion came at most `training.conversion_window_s` after it

"Not yet" is not "no": beside each label stands `<label>_matured`, 1 once no event could change the label any more. The row's age,
`elapsed_ms`, alone decides, since rows that count as soon as they are positive would raise every rate:

    click_matured       elapsed >= click window
    conversion_matured  elapsed >= click window + conversion window

A training counts a row for a label once, when it has matured: `<label>_usable` says so, see `learnable_rows`.

Each log is read once and joined by position with `index_in`: no Python loop sees a row.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from domain.errors import InvalidTrainingData, NothingToLearn
from domain.events import EventType
from features.log_archive import DECISIONS, EVENTS, archived, read_log
from features.log_schema import ARROW_TYPES, contiguous, decision_schema, event_schema
from features.market import Market
from features.model_spec import TaskSpec
from features.monitoring_spec import PLACEMENT
from features.valid_traffic import implies_impression, valid_decisions, valid_events
from models.release import FinalLabels, Origin

CLOCKS_DIFFER_MS = 3_600_000  # at most, between a gateway's time in an entry and Redis' time in the entry's id
SHOWN_WITHIN_MS = 3_600_000  # of the decision; gateways accept no later impression
_LABELS = ("click", "conversion")

_CLICK_MS, _CONVERSION_MS = "first.click", "first.conversion"  # no feature has a dot in its name

Span = tuple[int, int]
"""First and last ms."""


@dataclass(frozen=True, slots=True)
class JoinReport:
    """What became of the log entries of a join."""

    rows: int
    """Impressions that were rendered."""
    clicks: int
    """Rows whose click counts."""
    conversions: int
    """Rows whose conversion counts."""
    not_rendered: int
    """Slots that were sold, but neither an impression nor a click came back."""
    open_windows: int
    """Rows without a click whose click window was still open at `now_ms`: their label may yet change."""
    orphan_events: int
    """Impressions, clicks and conversions of no decision in the log."""
    newest_ms: int
    """Time of the newest decision that became a row."""
    labels: FinalLabels | None = None
    """Of `learnable_rows`: which labels were final, for the release that learns from them; none where that is not asked."""


def training_rows(market: Market, log_dir: Path, now_ms: int) -> pa.Table:
    """One row per rendered impression; see `join_log`."""
    return join_log(market, log_dir, now_ms)[0]


def write_training_rows(market: Market, log_dir: Path, now_ms: int, path: Path, previous: Origin | None = None) -> JoinReport:
    """`learnable_rows` into a Parquet file that training reads; on an error nothing is written."""
    rows, report = learnable_rows(market, log_dir, now_ms, previous)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        pq.write_table(rows, temporary, compression="zstd")
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    return report


def learnable_rows(market: Market, log_dir: Path, now_ms: int, previous: Origin | None = None) -> tuple[pa.Table, JoinReport]:
    """The rows that one training counts, so that a chain of trainings counts each label once.

    With `training.delayed_labels = "wait"` a column `<label>_usable` (int64 0/1) says for which labels a row counts:

        usable = matured as of now, and not yet matured as of the join for `previous`

    and rows that count for none are left out. "Now" is no later than the end of the archive, since a click may stand beyond it.
    With "importance" there is also `TaskSpec.delay_column` and, going on from `previous`, `TaskSpec.entry_column`. A click enters
    when it has come since, and another time when it converts: with the time from the click to the end of its hour, if all hours
    had been as long as this one.
    With "ignore" all rows count, as known now: those of decisions after the newest that `previous` has seen.

    Args:
      previous: what the release to go on from has learned; none for a full training.
    Returns:
      As `join_log`; the report is of the rows that count, and its clicks and conversions of those whose label does.
    Raises:
      InvalidTrainingData: as in `join_log`; or no row has matured, in a full training for one of the labels.
    """
    if market.training.delayed_labels == "ignore":
        return join_log(market, log_dir, now_ms, (previous.trained_through_ms or 0) + 1 if previous else 0)
    as_of_ms = archive_end_ms(log_dir, now_ms)
    before_ms = previous.labels.as_of_ms if previous and previous.labels else None
    matures_ms = {label: 1000 * s for label, s in matures_s(market).items()}
    spans = [(0, as_of_ms)]
    if before_ms is not None:
        if as_of_ms <= before_ms:
            raise NothingToLearn(str(log_dir), "entries that were archived since the last training", "none")
        spans = _merged([(before_ms - ms - SHOWN_WITHIN_MS, as_of_ms - ms) for ms in matures_ms.values()])
    if before_ms is not None and market.importance_task is not None:
        spans = [(spans[0][0], as_of_ms)]  # clicks of now, and of whenever they convert now
    rows, report = _join(market, log_dir, as_of_ms, spans)
    usable: dict[str, pa.Array] = {}
    for label, ms in matures_ms.items():
        usable[label] = pc.equal(rows[f"{label}_matured"], 1)
        if before_ms is None:
            _require_matured(market, log_dir, label, rows, usable[label])
        else:
            usable[label] = pc.and_(usable[label], pc.less(rows["elapsed_ms"], as_of_ms - before_ms + ms))
        rows = rows.append_column(f"{label}_usable", pc.cast(usable[label], pa.int64()))
    counts = dict(usable)
    if (entering := market.importance_task) is not None:
        rows = rows.append_column(entering.delay_column, _delay_ms(rows, entering))
        if before_ms is not None:
            entry_ms = _entry_ms(rows, entering, before_ms, as_of_ms)
            rows = rows.append_column(entering.entry_column, entry_ms)
            counts[entering.label] = pc.or_(counts[entering.label], pc.greater_equal(entry_ms, 0))
    learnable = reduce(pc.or_, counts.values())
    counted = {source: _count(pc.and_(pc.equal(rows[label], 1), counts[label])) for label, source in _labels(market).items()}
    rows = rows.filter(learnable).drop([_CLICK_MS, _CONVERSION_MS])
    if not len(rows):
        expected = "labels that have become final since the last training"
        raise NothingToLearn(str(log_dir), expected, f"none in {report.rows:,} impressions")
    return rows, replace(
        report,
        rows=len(rows),
        clicks=counted.get("click", 0),
        conversions=counted.get("conversion", 0),
        newest_ms=pc.max(rows["time_ms"]).as_py(),
        labels=FinalLabels.of(market, as_of_ms),
    )


def matures_s(market: Market, windows: FinalLabels | None = None) -> dict[str, int]:
    """Label -> seconds after an impression from which on no event can change it, by the market's windows or others."""
    by = windows or market.training
    window_s = {"click": by.click_window_s, "conversion": by.click_window_s + by.conversion_window_s}
    return {label: window_s[source] for label, source in _labels(market).items()}


def archive_end_ms(log_dir: Path, now_ms: int) -> int:
    """What "now" is for labels: no later than the end of the archive, since a click may stand beyond it."""
    ends = (archived(log_dir, log).complete_ms for log in (DECISIONS, EVENTS))
    return min([now_ms, *(end for end in ends if end)])


def join_log(market: Market, log_dir: Path, now_ms: int, since_ms: int = 0) -> tuple[pa.Table, JoinReport]:
    """Joins decisions with their impressions, clicks and conversions, as known at `now_ms`.

    Args:
      now_ms: what happened later is left out, so the same logs and times give the same rows.
      since_ms: decisions before it are left out, and parts logged well before it are not read.
    Returns:
      rows in the order of their decisions: a column per market feature (nulls replaced by the default, if it has one), per
      label (int64 0/1) and its maturity (int64 0/1), and `decision_id, impression_id, time_ms, position, propensity,
      elapsed_ms`, from the impression to `now_ms`.
    Raises:
      InvalidTrainingData: no impression was rendered, or a label is none that the event log has.
    """
    rows, report = _join(market, log_dir, now_ms, [(since_ms, now_ms)])
    return rows.drop([_CLICK_MS, _CONVERSION_MS]), report


def rendered_rows(market: Market, log_dir: Path, since_ms: int, until_ms: int) -> pa.Table:
    """The rows of `join_log` of decisions between two times, both ends included, however young their labels are."""
    rows, _ = _join(market, log_dir, until_ms + SHOWN_WITHIN_MS, [(since_ms, until_ms)])
    return rows


def _join(market: Market, log_dir: Path, now_ms: int, spans: Sequence[Span]) -> tuple[pa.Table, JoinReport]:
    """`join_log` of the decisions in some spans of time, with the times of the first click and conversion, or null."""
    slots = _slots(market, log_dir, spans)
    since_ms = min(begin for begin, _ in spans)
    wanted = _only(event_schema(), "type", "status", "impression_id", "time_ms")
    events = read_log(log_dir, EVENTS, wanted, since_ms - CLOCKS_DIFFER_MS)
    events, doubtful = valid_events(events.filter(pc.less_equal(events["time_ms"], now_ms)))
    impression_id = contiguous(slots["impression_id"])
    impression, click, conversion = (
        _first_time(events, kind, impression_id) for kind in (EventType.IMPRESSION, EventType.CLICK, EventType.CONVERSION)
    )

    seen = pc.is_valid(_first_time(implies_impression(events), EventType.CLICK, impression_id))
    rendered = pc.and_not(pc.or_(pc.is_valid(impression), seen), pc.is_in(impression_id, value_set=doubtful))
    shown_ms = pc.coalesce(impression, contiguous(slots["time_ms"]))
    clicked = _within(click, shown_ms, market.training.click_window_s)
    converted = pc.and_(clicked, _within(conversion, click, market.training.conversion_window_s))
    outcome = {"click": clicked, "conversion": converted}
    for label, source in _labels(market).items():
        slots = slots.append_column(label, pc.cast(outcome[source], pa.int64()))
    elapsed_ms = pc.subtract(pa.scalar(now_ms, pa.int64()), shown_ms)
    for label, seconds in matures_s(market).items():
        matured = pc.greater_equal(elapsed_ms, seconds * 1000)
        slots = slots.append_column(f"{label}_matured", pc.cast(matured, pa.int64()))
    slots = slots.append_column("elapsed_ms", elapsed_ms)
    slots = slots.append_column(_CLICK_MS, click).append_column(_CONVERSION_MS, conversion)
    rows = slots.filter(rendered)
    if not len(rows):
        raise NothingToLearn(str(log_dir), "a log with at least one rendered impression", f"{len(slots)} slots, none rendered")

    tracked = events.filter(pc.is_in(events["type"], value_set=pa.array([EventType.IMPRESSION.value, *_LABELS])))
    known = pc.is_in(tracked["impression_id"], value_set=contiguous(slots["impression_id"]))
    still_open = pc.greater(pc.add(shown_ms, market.training.click_window_s * 1000), now_ms)
    return rows, JoinReport(
        rows=len(rows),
        clicks=_count(pc.and_(clicked, rendered)),
        conversions=_count(pc.and_(converted, rendered)),
        not_rendered=len(slots) - len(rows),
        open_windows=_count(pc.and_(pc.and_(rendered, pc.invert(clicked)), still_open)),
        orphan_events=len(tracked) - _count(known),
        newest_ms=pc.max(rows["time_ms"]).as_py(),
    )


def _merged(spans: Sequence[Span]) -> list[Span]:
    """The same times in spans that are apart and in order."""
    merged: list[Span] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _require_matured(market: Market, log_dir: Path, label: str, rows: pa.Table, matured: pa.Array) -> None:
    """A task without a final label cannot be trained from nothing."""
    if _count(matured):
        return
    task = next(t.name for t in market.tasks if t.label == label)
    spec = market.training
    windows = f"click_window_s = {spec.click_window_s}"
    if _labels(market)[label] == "conversion":
        windows += f" and conversion_window_s = {spec.conversion_window_s}"
    expected = f"rows whose label {label!r} of task {task!r} is final, once {windows} of [training] have passed"
    oldest_s = pc.max(rows["elapsed_ms"]).as_py() // 1000
    ways = 'later, with shorter windows, or with delayed_labels = "ignore" there will be some'
    raise NothingToLearn(str(log_dir), expected, f"{len(rows):,} impressions, the oldest {oldest_s:,} s ago; {ways}")


def _delay_ms(rows: pa.Table, task: TaskSpec) -> pa.Array:
    """See `TaskSpec.delay_column`; a conversion that was reported as earlier than its click comes with it."""
    delay_ms = pc.max_element_wise(pc.subtract(rows[_CONVERSION_MS], rows[_CLICK_MS]), 0)
    return pc.if_else(pc.equal(rows[task.label], 1), delay_ms, -1)


def _entry_ms(rows: pa.Table, task: TaskSpec, before_ms: int, as_of_ms: int) -> pa.Array:
    """See `TaskSpec.entry_column`: of clicks since `before_ms`, and of earlier ones that have converted since."""
    click_ms, conversion_ms = (rows[name].to_numpy() for name in (_CLICK_MS, _CONVERSION_MS))  # NaN where there is none
    fresh = (rows[str(task.given)].to_numpy() == 1) & (click_ms > before_ms)
    late = (rows[task.label].to_numpy() == 1) & (click_ms <= before_ms) & (conversion_ms > before_ms)
    hour_ms = as_of_ms - before_ms
    to_the_end = hour_ms - (np.nan_to_num(click_ms, nan=before_ms) - before_ms) % hour_ms
    return pa.array(np.where(fresh | late, to_the_end, -1).astype(np.int64))


def _labels(market: Market) -> dict[str, str]:
    """Label column -> event type: by name, else the first task's is the click and the second's the conversion."""
    labels = [task.label for task in market.tasks]
    if len(labels) > len(_LABELS):
        raise InvalidTrainingData(
            f"tasks.{market.tasks[2].name}.label", f"at most the two labels {_LABELS} of the event log", labels
        )
    if set(labels) <= set(_LABELS):
        return {label: label for label in labels}
    return dict(zip(labels, _LABELS, strict=False))


def _slots(market: Market, log_dir: Path, spans: Sequence[Span]) -> pa.Table:
    """One row per sold slot with its features; a slot that was logged twice is taken once."""
    wanted = _only(decision_schema(market), "decision_id", "time_ms", "features", "slots", "invalid")
    read = []
    for begin, end in spans:
        # What was logged after the last span is little, and may be a decision that was logged late.
        until_ms = math.inf if end == spans[-1][1] else end + CLOCKS_DIFFER_MS
        part = valid_decisions(read_log(log_dir, DECISIONS, wanted, begin - CLOCKS_DIFFER_MS, until_ms))
        read.append(part.filter(pc.and_(pc.greater_equal(part["time_ms"], begin), pc.less_equal(part["time_ms"], end))))
    log = pa.concat_tables(read)
    if not len(log):
        raise NothingToLearn(str(log_dir), "a log with at least one decision", "no decisions")
    request = log.select(["decision_id", "time_ms", "features"]).flatten().take(pc.list_parent_indices(contiguous(log["slots"])))
    slot = pa.table({"slots": pc.list_flatten(log["slots"])}).flatten().flatten()
    logged = {f.name: request[f"features.{f.name}"] for f in market.request_features}
    logged |= {f.name: slot[f"slots.features.{f.name}"] for f in market.offer_features}
    table = pa.table(
        {
            **feature_columns(market, logged),
            "decision_id": request["decision_id"],
            "impression_id": slot["slots.impression_id"],
            "time_ms": request["time_ms"],
            "position": slot["slots.position"],
            "propensity": slot["slots.propensity"],
        }
        | ({} if PLACEMENT in logged else {PLACEMENT: slot["slots.placement"]})
    )
    first = contiguous(_first_by_impression(table["impression_id"], pa.array(np.arange(len(table))))["value_min"])
    return table if len(first) == len(table) else table.take(first.take(pc.array_sort_indices(first)))


def feature_columns(market: Market, logged: Mapping[str, pa.ChunkedArray]) -> dict[str, pa.ChunkedArray]:
    """Feature -> its column of training rows, from the values as logged: null is the default, where there is one."""
    columns = {f.name: _feature(logged[f.name], f.default) for f in market.features}
    return columns | {f.name: pc.cast(columns[f.name], ARROW_TYPES[f.dtype]) for f in market.features if not f.multiple}


def _first_time(events: pa.Table, kind: EventType, impression_id: pa.Array) -> pa.Array:
    """Time of each impression's first event of a kind, null where there is none."""
    of_kind = events.filter(pc.equal(events["type"], kind.value))
    first = _first_by_impression(of_kind["impression_id"], of_kind["time_ms"])
    return contiguous(first["value_min"]).take(
        pc.index_in(contiguous(impression_id), value_set=contiguous(first["impression_id"]))
    )


def _first_by_impression(impression_id: pa.ChunkedArray, value: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The least value of each impression: columns `value_min`, `impression_id`."""
    # In one chunk each: group_by of pyarrow 10 crashes on columns that are chunked differently.
    table = pa.table({"impression_id": contiguous(impression_id), "value": contiguous(value)})
    return table.group_by("impression_id").aggregate([("value", "min")])


def _within(event_ms: pa.Array, from_ms: pa.Array, window_s: int) -> pa.Array:
    """Whether the event came, and within the window; one reported as earlier than what it follows counts."""
    return pc.fill_null(pc.less_equal(pc.subtract(event_ms, from_ms), window_s * 1000), False)


def _feature(column: pa.ChunkedArray, default: object) -> pa.ChunkedArray:
    return column if default is None else pc.fill_null(column, pa.scalar(default, column.type))


def _only(schema: pa.Schema, *names: str) -> pa.Schema:
    return pa.schema([f for f in schema if f.name in names])


def _count(mask: pa.Array) -> int:
    return int(pc.sum(mask).as_py() or 0)
