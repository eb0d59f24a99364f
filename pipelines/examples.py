"""Training rows from the archived logs: what was shown, as serving saw it, and what came of it.

A shown offer is a slot of a decision that has an impression event. A click does not stand in for one that was lost: rows would
then be lost only where nobody clicked, and every rate would rise. Where the market's pages report no impressions
(`policy.impressions = "unreported"`), every sold slot counts as shown, when it was decided on. Invalid traffic is left out
(features/valid_traffic.py). It becomes one row:
the features as used, its position and propensity, whether its page was drawn at random, and a 0/1 label per task,

    click       1 if the first click came at most `training.click_window_s` after the impression
    conversion  1 if that click counts and the first conversion came at most `training.conversion_window_s` after it

"Not yet" is not "no": beside each label stands `<label>_matured`, 1 once no event could change the label any more. The row's age,
`elapsed_ms`, alone decides, since rows that count as soon as they are positive would raise every rate:

    click_matured       elapsed >= click window
    conversion_matured  elapsed >= click window + conversion window

`conversion_value_micros` is what a row's conversions were worth, by the last word about each of their orders
(pipelines/order_values.py); null without a conversion, or where nobody said. It is final when conversions are, as known then:
a return or correction that comes later is learned by the next full training.

A training counts a row for a label once, when it has matured: `<label>_usable` says so, see `learnable_rows`.

The logs are joined hour by hour in bounded memory (pipelines/joining.py), and no Python loop sees a row.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from domain.errors import InvalidTrainingData, NothingToLearn
from features.log_archive import DECISIONS, EVENTS, archived
from features.log_schema import contiguous
from features.market import Market
from features.model_spec import TaskSpec
from features.spec import VALUE_MICROS
from models.log_used import LogUsed
from models.release import FinalLabels, LeftOut, Origin, left_out
from pipelines.joining import SHOWN_WITHIN_MS, Hour, LogJoin, Span
from pipelines.row_groups import written_in_order

_LABELS = ("click", "conversion")
_CLICK_MS, _CONVERSION_MS = "first.click", "first.conversion"  # no feature has a dot in its name


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
    """Slots that were sold, and no impression came back."""
    open_windows: int
    """Rows without a click whose click window was still open at `now_ms`: their label may yet change."""
    orphan_events: int
    """Impressions, clicks and conversions of no decision in the log."""
    newest_ms: int
    """Time of the newest decision that became a row."""
    clicked: int = 0
    """Slots with a click, rows or not."""
    clicks_without_impression: int = 0
    """Those of them that no impression was reported for, and that are no rows; none where the market's pages report none."""
    labels: FinalLabels | None = None
    """Of `learnable_rows`: which labels were final, for the release that learns from them; none where that is not asked."""

    @property
    def sentence(self) -> str:
        """For a terminal."""
        return f"{self.rows:,} impressions, {self.clicks:,} clicks and {self.conversions:,} conversions to learn from"

    @property
    def used(self) -> LogUsed:
        """For the report of the training."""
        return LogUsed(
            clicked=self.clicked,
            clicks_without_impression=self.clicks_without_impression,
            not_rendered=self.not_rendered,
            orphan_events=self.orphan_events,
        )


def training_rows(market: Market, log_dir: Path, now_ms: int) -> pa.Table:
    """One row per rendered impression; see `join_log`."""
    return join_log(market, log_dir, now_ms)[0]


def write_training_rows(
    market: Market,
    log_dir: Path,
    now_ms: int,
    path: Path,
    previous: Origin | None = None,
    through: Origin | None = None,
) -> JoinReport:
    """`learnable_rows` into a Parquet file that training reads, in bounded memory; on an error nothing is written.

    The file's metadata say what became of the log: `models.log_used`.
    """
    with written_in_order(path) as newest_first:
        report = take_learnable_rows(market, log_dir, now_ms, previous, through, newest_first.take)
        newest_first.metadata = report.used.metadata()
    return report


def learnable_rows(
    market: Market, log_dir: Path, now_ms: int, previous: Origin | None = None, through: Origin | None = None
) -> tuple[pa.Table, JoinReport]:
    """`take_learnable_rows`, all in memory and in order, and what became of the log."""
    hours: list[pa.Table] = []
    report = take_learnable_rows(market, log_dir, now_ms, previous, through, hours.append)
    return pa.concat_tables(reversed(hours)), report


def take_learnable_rows(
    market: Market,
    log_dir: Path,
    now_ms: int,
    previous: Origin | None,
    through: Origin | None,
    take: Callable[[pa.Table], None],
) -> JoinReport:
    """The rows that one training counts, so that a chain of trainings counts each label once; the newest hour is taken first.

    With `training.delayed_labels = "wait"` a column `<label>_usable` (int64 0/1) says for which labels a row counts:

        usable = matured as of now, and not yet matured when `previous` learned that label

    and neither `Origin.left_out`; rows that count for none are left out. "Now" is no later than the end of the archive, since a
    click may stand beyond it.
    With "importance" there is also `TaskSpec.delay_column` and, going on from `previous`, `TaskSpec.entry_column`. A click enters
    when it has come since, and another time when it converts: with the time from the click to the end of its hour, if all hours
    had been as long as this one.
    With "ignore" all rows count, as known now: those of decisions after the newest that `previous` has seen.

    Args:
      previous: what the release to go on from has learned; none for a full training.
      through: what another release has learned, in place of what can be learned now: the two calls with `previous` and with
        `through` of one release share all that there is between them.
    Returns:
      the report of the rows that count, its clicks and conversions of those whose label does; columns are those of `join_log`.
    Raises:
      InvalidTrainingData: as in `join_log`; too many clicks have no impression; or no row has matured, in a full training for one
        of the labels.
    """
    doubted = (previous or through or Origin(rows={})).left_out
    if market.training.delayed_labels == "ignore":
        since_ms = (previous.trained_through_ms or 0) + 1 if previous else 0
        join = _Rows(market, log_dir, now_ms, [(since_ms, (through and through.trained_through_ms) or now_ms)])
        for rows in join:
            kept = [pc.invert(_left_out(rows, label, doubted)) for label in _labels(market)]
            if len(rows := rows.filter(reduce(pc.and_, kept))):
                take(rows.drop([_CLICK_MS, _CONVERSION_MS]))
        join.report.used.expect_impressions(market, log_dir)
        return join.checked()
    as_of_ms = archive_end_ms(log_dir, now_ms)
    before_ms = _learned_ms(market, previous)
    if before_ms is not None and as_of_ms <= max(before_ms.values()):
        raise NothingToLearn(str(log_dir), "entries that were archived since the last training", "none")
    if through is not None and through.labels is not None:
        as_of_ms = min(as_of_ms, through.labels.as_of_ms)
    until_ms = _learned_ms(market, through) or dict.fromkeys(matures_s(market), as_of_ms)
    join = _Rows(market, log_dir, as_of_ms, _spans(market, before_ms, as_of_ms))
    counted = dict.fromkeys(matures_s(market), 0)
    positives, learned, newest_ms, oldest_ms = dict(counted), 0, 0, 0
    for rows in join:
        rows, counts = _usable(market, rows, before_ms, until_ms, as_of_ms, doubted)
        oldest_ms = max(oldest_ms, pc.max(rows["elapsed_ms"]).as_py())
        for label, counting in counts.items():
            counted[label] += _count(counting)
            positives[label] += _count(pc.and_(pc.equal(rows[label], 1), counting))
        if len(rows := rows.filter(reduce(pc.or_, counts.values())).drop([_CLICK_MS, _CONVERSION_MS])):
            learned, newest_ms = learned + len(rows), max(newest_ms, pc.max(rows["time_ms"]).as_py())
            take(rows)
    join.report.used.expect_impressions(market, log_dir)
    report = join.checked()
    if before_ms is None:
        _require_matured(market, log_dir, report.rows, oldest_ms, counted)
    if not learned:
        expected = "labels that have become final since the last training"
        raise NothingToLearn(str(log_dir), expected, f"none in {report.rows:,} impressions")
    of = {source: positives[label] for label, source in _labels(market).items()}
    return replace(
        report,
        rows=learned,
        clicks=of.get("click", 0),
        conversions=of.get("conversion", 0),
        newest_ms=newest_ms,
        labels=through.labels if through and through.labels else FinalLabels.of(market, as_of_ms),
    )


def recounted(market: Market, pieces: Iterable[pa.Table], report: JoinReport) -> JoinReport:
    """The report of some of the rows of `take_learnable_rows`."""
    counted = [_recounted(market, rows, report) for rows in pieces]
    sums = {name: sum(getattr(one, name) for one in counted) for name in ("rows", "clicks", "conversions")}
    return replace(report, **sums, newest_ms=max(one.newest_ms for one in counted))


def _recounted(market: Market, rows: pa.Table, report: JoinReport) -> JoinReport:
    of = {}
    for label, source in _labels(market).items():
        usable, entry = f"{label}_usable", f"{label}_entry_ms"
        counts = pc.equal(rows[usable], 1) if usable in rows.column_names else pc.is_valid(rows[label])
        if entry in rows.column_names:
            counts = pc.or_(counts, pc.greater_equal(rows[entry], 0))
        of[source] = _count(pc.and_(pc.equal(rows[label], 1), counts))
    clicks, conversions = of.get("click", 0), of.get("conversion", 0)
    return replace(report, rows=len(rows), clicks=clicks, conversions=conversions, newest_ms=pc.max(rows["time_ms"]).as_py() or 0)


def _learned_ms(market: Market, made: Origin | None) -> dict[str, int] | None:
    """Label -> as of when a release learned it."""
    labels = made.labels if made else None
    return None if labels is None else {label: labels.learned_ms(label) for label in matures_s(market)}


def _left_out(rows: pa.Table, label: str, spans: Sequence[LeftOut]) -> pa.Array:
    return pa.array(left_out(rows["time_ms"].to_numpy(), label, spans))


def _spans(market: Market, before_ms: Mapping[str, int] | None, as_of_ms: int) -> list[Span]:
    """When decisions were made whose rows may count now, and did not as of `before_ms`."""
    if before_ms is None:
        return [(0, as_of_ms)]
    matures_ms = {label: 1000 * s for label, s in matures_s(market).items()}
    spans = _merged([(before_ms[label] - ms - SHOWN_WITHIN_MS, as_of_ms - ms) for label, ms in matures_ms.items()])
    if market.importance_task is not None:
        return [(spans[0][0], as_of_ms)]  # clicks of now, and of whenever they convert now
    return spans


def _usable(
    market: Market,
    rows: pa.Table,
    before_ms: Mapping[str, int] | None,
    until_ms: Mapping[str, int],
    as_of_ms: int,
    doubted: Sequence[LeftOut],
) -> tuple[pa.Table, dict[str, pa.Array]]:
    """Rows with the columns of `learnable_rows`, and for each label which of them count."""
    usable: dict[str, pa.Array] = {}
    for label, s in matures_s(market).items():
        usable[label] = pc.greater_equal(rows["elapsed_ms"], as_of_ms - until_ms[label] + 1000 * s)
        if before_ms is not None:
            usable[label] = pc.and_(usable[label], pc.less(rows["elapsed_ms"], as_of_ms - before_ms[label] + 1000 * s))
        usable[label] = pc.and_not(usable[label], _left_out(rows, label, doubted))
        rows = rows.append_column(f"{label}_usable", pc.cast(usable[label], pa.int64()))
    if (entering := market.importance_task) is not None:
        rows = rows.append_column(entering.delay_column, _delay_ms(rows, entering))
        if before_ms is not None:
            entry_ms = _entry_ms(rows, entering, before_ms[entering.label], as_of_ms)
            rows = rows.append_column(entering.entry_column, entry_ms)
            usable[entering.label] = pc.or_(usable[entering.label], pc.greater_equal(entry_ms, 0))
    return rows, usable


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
      rows in the order of their decisions' hours, and within one in that of the log: a column per market feature (nulls replaced
      by the default, if it has one), `pipelines.joining.COLUMNS`, per label (int64 0/1) and its maturity (int64 0/1), the
      nullable `conversion_value_micros`, and `elapsed_ms`, from the impression to `now_ms`.
    Raises:
      InvalidTrainingData: no impression was rendered, or a label is none that the event log has.
    """
    join = _Rows(market, log_dir, now_ms, [(since_ms, now_ms)])
    hours = [rows.drop([_CLICK_MS, _CONVERSION_MS]) for rows in join]
    report = join.checked()
    return pa.concat_tables(reversed(hours)), report


def rendered_rows(market: Market, log_dir: Path, since_ms: int, until_ms: int) -> pa.Table:
    """The rows of `join_log` of decisions between two times, both ends included, however young their labels are."""
    join = _Rows(market, log_dir, until_ms + SHOWN_WITHIN_MS, [(since_ms, until_ms)])
    hours = list(join)
    join.checked()
    return pa.concat_tables(reversed(hours))


class _Rows:
    """The rows of `join_log`, the newest hour first, with the times of the first click and conversion, or null; then a report."""

    def __init__(self, market: Market, log_dir: Path, now_ms: int, spans: Sequence[Span]) -> None:
        self._market, self._log_dir, self._now_ms = market, log_dir, now_ms
        self._hours = LogJoin(market, log_dir, now_ms, spans)
        self._slots = 0
        self.report = JoinReport(0, 0, 0, 0, 0, 0, 0)

    def __iter__(self) -> Iterator[pa.Table]:
        for hour in self._hours:
            self._slots += len(hour.slots)
            if len(rows := self._rows(hour)):
                yield rows
        self.report = replace(self.report, orphan_events=self._hours.orphans)

    def checked(self) -> JoinReport:
        """The report, after all rows.

        Raises:
          NothingToLearn: there was none.
        """
        if not self._slots:
            raise NothingToLearn(str(self._log_dir), "a log with at least one decision", "no decisions")
        if not self.report.rows:
            expected = "a log with at least one rendered impression"
            raise NothingToLearn(str(self._log_dir), expected, f"{self._slots} slots, none rendered")
        return self.report

    def _rows(self, hour: Hour) -> pa.Table:
        slots, spec = hour.slots, self._market.training
        reported = self._market.policy.impressions == "reported"
        shown_ms = pc.coalesce(hour.impression_ms, contiguous(slots["time_ms"]))
        clicked = _within(hour.click_ms, shown_ms, spec.click_window_s)
        converted = pc.and_(clicked, _within(hour.conversion_ms, hour.click_ms, spec.conversion_window_s))
        outcome = {"click": clicked, "conversion": converted}
        for label, source in _labels(self._market).items():
            slots = slots.append_column(label, pc.cast(outcome[source], pa.int64()))
        elapsed_ms = pc.subtract(pa.scalar(self._now_ms, pa.int64()), shown_ms)
        for label, seconds in matures_s(self._market).items():
            matured = pc.greater_equal(elapsed_ms, seconds * 1000)
            slots = slots.append_column(f"{label}_matured", pc.cast(matured, pa.int64()))
        worth = pc.if_else(converted, hour.value_micros, pa.scalar(None, pa.int64()))
        slots = slots.append_column(VALUE_MICROS, worth)
        slots = slots.append_column("elapsed_ms", elapsed_ms)
        slots = slots.append_column(_CLICK_MS, hour.click_ms).append_column(_CONVERSION_MS, hour.conversion_ms)

        counts = pc.invert(hour.spoilt)
        rendered = pc.and_(pc.is_valid(hour.impression_ms), counts) if reported else counts
        of_clicks = pc.and_(pc.is_valid(hour.click_ms), counts)
        rows, before = slots.filter(rendered), self.report
        still_open = pc.greater(pc.add(shown_ms, spec.click_window_s * 1000), self._now_ms)
        self.report = JoinReport(
            rows=before.rows + len(rows),
            clicks=before.clicks + _count(pc.and_(clicked, rendered)),
            conversions=before.conversions + _count(pc.and_(converted, rendered)),
            not_rendered=before.not_rendered + len(slots) - len(rows),
            open_windows=before.open_windows + _count(pc.and_(pc.and_not(rendered, clicked), still_open)),
            orphan_events=0,
            newest_ms=max(before.newest_ms, pc.max(rows["time_ms"]).as_py() or 0),
            clicked=before.clicked + _count(of_clicks),
            clicks_without_impression=before.clicks_without_impression + _count(pc.and_not(of_clicks, rendered)),
        )
        return rows


def _merged(spans: Sequence[Span]) -> list[Span]:
    """The same times in spans that are apart and in order."""
    merged: list[Span] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _require_matured(market: Market, log_dir: Path, rows: int, oldest_ms: int, matured: Mapping[str, int]) -> None:
    """A task without a final label cannot be trained from nothing."""
    for label in (label for label, count in matured.items() if not count):
        task = next(t.name for t in market.tasks if t.label == label)
        spec = market.training
        windows = f"click_window_s = {spec.click_window_s}"
        if _labels(market)[label] == "conversion":
            windows += f" and conversion_window_s = {spec.conversion_window_s}"
        expected = f"rows whose label {label!r} of task {task!r} is final, once {windows} of [training] have passed"
        ways = 'later, with shorter windows, or with delayed_labels = "ignore" there will be some'
        raise NothingToLearn(str(log_dir), expected, f"{rows:,} impressions, the oldest {oldest_ms // 1000:,} s ago; {ways}")


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


def _within(event_ms: pa.Array, from_ms: pa.Array, window_s: int) -> pa.Array:
    """Whether the event came, and within the window; one reported as earlier than what it follows counts."""
    return pc.fill_null(pc.less_equal(pc.subtract(event_ms, from_ms), window_s * 1000), False)


def _count(mask: pa.Array) -> int:
    return int(pc.sum(mask).as_py() or 0)
