"""Training rows from the archived logs: what was shown, as serving saw it, and what came of it.

A shown offer is a slot of a decision that has an impression event, or a click, which implies one. It becomes one row:
the features as used, its position and propensity, and a 0/1 label per task,

    click       1 if the first click came at most `training.click_window_s` after the impression
    conversion  1 if that click counts and the first conversion came at most `training.conversion_window_s` after it

"Not yet" is not "no": beside each label stands `<label>_matured`, 1 once no event could change the label any more. The row's age,
`elapsed_ms`, alone decides, since rows that count as soon as they are positive would raise every rate:

    click_matured       elapsed >= click window
    conversion_matured  elapsed >= click window + conversion window

Each log is read once and joined by position with `index_in`: no Python loop sees a row.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from domain.errors import InvalidTrainingData
from domain.events import EventType
from features.log_archive import DECISIONS, EVENTS, read_log
from features.log_schema import ARROW_TYPES, contiguous, decision_schema, event_schema
from features.market import Market

CLOCKS_DIFFER_MS = 3_600_000  # at most, between a gateway's time in an entry and Redis' time in the entry's id
_LABELS = ("click", "conversion")


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


def training_rows(market: Market, log_dir: Path, now_ms: int) -> pa.Table:
    """One row per rendered impression; see `join_log`."""
    return join_log(market, log_dir, now_ms)[0]


def write_training_rows(market: Market, log_dir: Path, now_ms: int, path: Path, since_ms: int = 0) -> JoinReport:
    """`join_log` into a Parquet file that training reads; on an error nothing is written."""
    rows, report = join_log(market, log_dir, now_ms, since_ms)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        pq.write_table(rows, temporary, compression="zstd")
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    return report


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
    label_of = _labels(market)
    slots = _slots(market, log_dir, now_ms, since_ms)
    events = read_log(log_dir, EVENTS, _only(event_schema(), "type", "impression_id", "time_ms"), since_ms - CLOCKS_DIFFER_MS)
    events = events.filter(pc.less_equal(events["time_ms"], now_ms))
    impression, click, conversion = (
        _first_time(events, kind, contiguous(slots["impression_id"]))
        for kind in (EventType.IMPRESSION, EventType.CLICK, EventType.CONVERSION)
    )

    rendered = pc.or_(pc.is_valid(impression), pc.is_valid(click))
    shown_ms = pc.coalesce(impression, contiguous(slots["time_ms"]))
    clicked = _within(click, shown_ms, market.training.click_window_s)
    converted = pc.and_(clicked, _within(conversion, click, market.training.conversion_window_s))
    outcome = {"click": clicked, "conversion": converted}
    for label, source in label_of.items():
        slots = slots.append_column(label, pc.cast(outcome[source], pa.int64()))
    elapsed_ms = pc.subtract(pa.scalar(now_ms, pa.int64()), shown_ms)
    window_s = {"click": market.training.click_window_s}
    window_s["conversion"] = window_s["click"] + market.training.conversion_window_s
    for label, source in label_of.items():
        matured = pc.greater_equal(elapsed_ms, window_s[source] * 1000)
        slots = slots.append_column(f"{label}_matured", pc.cast(matured, pa.int64()))
    slots = slots.append_column("elapsed_ms", elapsed_ms)
    rows = slots.filter(rendered)
    if not len(rows):
        raise InvalidTrainingData(
            str(log_dir), "a log with at least one rendered impression", f"{len(slots)} slots, none rendered"
        )

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


def _slots(market: Market, log_dir: Path, now_ms: int, since_ms: int) -> pa.Table:
    """One row per sold slot with its features; a slot that was logged twice is taken once."""
    wanted = _only(decision_schema(market), "decision_id", "time_ms", "features", "slots")
    log = read_log(log_dir, DECISIONS, wanted, since_ms - CLOCKS_DIFFER_MS)
    log = log.filter(pc.and_(pc.greater_equal(log["time_ms"], since_ms), pc.less_equal(log["time_ms"], now_ms)))
    if not len(log):
        raise InvalidTrainingData(str(log_dir), "a log with at least one decision", "no decisions")
    request = log.select(["decision_id", "time_ms", "features"]).flatten().take(pc.list_parent_indices(contiguous(log["slots"])))
    slot = pa.table({"slots": pc.list_flatten(log["slots"])}).flatten().flatten()
    columns = {f.name: _feature(request[f"features.{f.name}"], f.default) for f in market.request_features}
    columns |= {f.name: _feature(slot[f"slots.features.{f.name}"], f.default) for f in market.offer_features}
    columns |= {f.name: pc.cast(columns[f.name], ARROW_TYPES[f.dtype]) for f in market.features if not f.multiple}
    columns = {f.name: columns[f.name] for f in market.features}
    table = pa.table(
        {
            **columns,
            "decision_id": request["decision_id"],
            "impression_id": slot["slots.impression_id"],
            "time_ms": request["time_ms"],
            "position": slot["slots.position"],
            "propensity": slot["slots.propensity"],
        }
    )
    first = contiguous(_first_by_impression(table["impression_id"], pa.array(np.arange(len(table))))["value_min"])
    return table if len(first) == len(table) else table.take(first.take(pc.array_sort_indices(first)))


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
