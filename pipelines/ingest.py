"""A training log -> checked rows in Parquet, one folder per split, columns named as the market names them.

One pass in bounded memory (a split by time reads its times beforehand). TensorFlow-free for CSV and Parquet, so that a bad
file is refused within a second.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from domain.errors import InvalidTrainingData, NothingToLearn
from features.log_schema import ARROW_TYPES
from features.market import Market
from features.model_spec import TaskSpec
from features.monitoring_spec import PLACEMENT, POSITION
from features.spec import CLUSTER, LOG_ROW, VALUE_MICROS
from features.training_spec import SplitSpec
from models.evaluation import DataUsed, LabelCount, SplitData
from models.log_used import LogUsed
from pipelines.bags import tensor_columns
from pipelines.batches import Batch, batches, read_batches, split_column
from pipelines.clusters import PAGE, cluster_column
from pipelines.columns import decided_column, integer_column, label_column, usable_column, value_column
from pipelines.exploration import exploration_columns
from pipelines.keys import key_column
from pipelines.log_places import places
from pipelines.outliers import Spread
from pipelines.requirements import TaskRows, outliers, require_enough, require_label_rates, require_values
from pipelines.row_groups import log_used
from pipelines.sources import files_of
from pipelines.splits import EVAL, SPLITS, TRAIN, VALID, Codes, Cuts, RandomSplit, hash_split, time_cuts, time_split
from pipelines.text import are_missing, plain
from pipelines.times import Clock, Times, as_logged, time_column

PLACES = "places.parquet"
Span = tuple[tuple[float, str], tuple[float, str]]
"""First and last time of a split: to compare by, and as logged."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """Where the rows are, and how many of what: by split, then by task."""

    directory: Path
    rows: dict[str, int]
    tasks: dict[str, dict[str, TaskRows]]
    progressive: bool
    """Whether `eval` is judged, and then learned from."""
    times: dict[str, tuple[str, str]]
    """Least and greatest value, as logged, of the column that a split by time orders by."""
    log: LogUsed | None
    """What became of the event log that the rows were joined from."""
    keyless: int
    """Rows without a key in a split by hash: their places go by their number."""
    warnings: tuple[str, ...]
    """What a training goes on with, and somebody should look at."""

    def used(self) -> DataUsed:
        """For the report."""
        splits = {}
        for split, rows in self.rows.items():
            first, last = self.times.get(split, (None, None))
            tasks = {task: LabelCount(rows=n.rows, positives=n.positives) for task, n in self.tasks[split].items()}
            splits[split] = SplitData(rows=rows, tasks=tasks, first=first, last=last)
        return DataUsed(splits=splits, log=self.log, warnings=self.warnings, progressive=self.progressive)


@dataclass(frozen=True, slots=True)
class Checked:
    """One batch [R] under the market's names and types."""

    table: pa.Table
    labels: dict[str, NDArray[np.int64]]
    """Label -> [R]."""
    counts: dict[str, NDArray[np.bool_]]
    """Task -> [R], whether the row counts for it."""
    group: NDArray[np.int64]
    """[R], equal for rows with the same usable labels: one bit per task."""


def ingest(market: Market, data: Path | None, directory: Path, continuing: bool = False, new: Path | None = None) -> Ingested:
    """Writes `directory/<split>/rows.parquet`, and where those of `eval` stand in the log.

    Args:
      continuing: a training that goes on from a release does without rows for a task, as long as another task has some.
      new: rows that are judged before they are learned from: `eval` is all of them, and none of `data`, which may then be none.
    Raises:
      InvalidTrainingData: unreadable or empty, a column is missing, a value or label is wrong, a task has no positive or no
        negative, or there are too few rows.
    """
    news, files = (files_of(path) if path else [] for path in (new, data))
    spec = market.training.split if new is None else market.training.split.model_copy(update={"eval_fraction": 0.0})
    clock = Clock()
    cuts = _cuts(market, files, spec, clock)
    random = RandomSplit(spec, market.model.seed)
    rows = dict.fromkeys(SPLITS, 0)
    tasks = {split: {t.name: TaskRows() for t in market.tasks} for split in SPLITS}
    spans: dict[str, Span] = {}
    missing = dict.fromkeys((f.name for f in market.features), 0)
    spreads = {f.name: Spread() for f in market.features if f.normalize}
    keyless = values = 0
    schema = arrow_schema(market)
    with ExitStack() as stack:
        writers = {}
        for split in SPLITS:
            (directory / split).mkdir(parents=True)
            writers[split] = stack.enter_context(pq.ParquetWriter(directory / split / "rows.parquet", schema))
        judging = stack.enter_context(places(directory / PLACES))
        for batch in batches(market, [*files, *news]):
            checked = _checked(market, batch, schema)
            times = _times(market, batch, clock)
            if batch.file in news:
                codes = np.full(batch.raw.num_rows, EVAL, np.int8)
            else:
                codes = _split(market, batch, checked.group, random, cuts, times)
                codes[codes == EVAL] = EVAL if new is None else VALID  # the very last of a split by time
            key = batch.column(split_column(market)) if market.training.split.by is not None else None
            judging.note(codes == EVAL, batch.before, batch.file, batch.start, key)
            if market.training.split.kind == "hash":
                keyless += _keys(market, batch).null_count
            if market.value is not None:
                values += int(((codes == TRAIN) & (checked.table[VALUE_MICROS].to_numpy() > 0)).sum())
            for f in market.features:
                absent = are_missing(batch.column(f.log_column))
                missing[f.name] += int(absent.sum())
                if f.normalize:
                    spreads[f.name].take(checked.table[f.name].to_numpy()[~absent].astype(np.float64))
            for code, split in enumerate(SPLITS):
                mask = codes == code
                rows[split] += int(mask.sum())
                for t in market.tasks:
                    counted = checked.labels[t.label][mask & checked.counts[t.name]]
                    tasks[split][t.name] = tasks[split][t.name].plus(counted)
                if mask.any():
                    writers[split].write_table(checked.table.filter(pa.array(mask)))
                    if times is not None:
                        spans[split] = _span(batch.column(split_column(market)), times, mask, spans.get(split))
    where = data or new or directory
    require_enough(market, where, rows, tasks, continuing, learned=SPLITS if data else (SPLITS[EVAL],))
    if market.value is not None and data is not None and not continuing and not values:
        expected = f"a conversion among the rows that train whose {market.value.column} is known, and above 0 ([value])"
        raise NothingToLearn(str(where), expected, "none")
    require_values(market, where, sum(rows.values()), missing)
    require_label_rates(market, where, tasks[SPLITS[TRAIN if data else EVAL]])
    ends = {split: (first[1], last[1]) for split, (first, last) in spans.items()}
    warnings = tuple(outliers(market, spreads))
    return Ingested(directory, rows, tasks, new is not None, ends, log_used(new or where), keyless, warnings)


def arrow_schema(market: Market) -> pa.Schema:
    """Features by tensor, labels by label, and what else rows have."""
    fields = [
        (t.name, pa.list_(ARROW_TYPES[t.dtype]) if t.width else ARROW_TYPES[t.dtype]) for f in market.features for t in f.tensors
    ]
    return pa.schema(fields + [(name, pa.int64()) for name in (*(t.label for t in market.tasks), *market.row_columns)])


def _checked(market: Market, batch: Batch, schema: pa.Schema) -> Checked:
    count = batch.raw.num_rows
    arrays: list[pa.Array] = []
    for f in market.features:
        arrays += tensor_columns(f, batch.column(f.log_column), batch.where(f.log_column))
    usable = {t.usable_column: _usable(t, batch) for t in market.tasks}
    known = {t.label: usable[t.usable_column] for t in market.tasks}
    others = {"time_ms": decided_column(batch.column("time_ms") if "time_ms" in batch else None, count)}
    columns = dict(zip(batch.raw.schema.names, batch.raw.columns, strict=True))
    others[LOG_ROW] = pa.array(batch.before + np.arange(count))
    others[CLUSTER] = pa.array(cluster_column(columns, count))
    others |= exploration_columns(columns, count)
    if (entering := market.importance_task) is not None:
        entry = pa.array(usable[entering.usable_column].astype(np.int64) - 1)  # at once where final, else never
        unsaid = {entering.entry_column: entry, entering.delay_column: pa.array(np.full(count, -1))}
        for name, column in unsaid.items():
            said = name in batch and not pa.types.is_null(batch.column(name).type)
            others[name] = integer_column(batch.column(name), batch.where(name)) if said else column
        known[entering.label] = known[entering.label] | (others[entering.entry_column].to_numpy() >= 0)
    labels: dict[str, NDArray[np.int64]] = {}
    for t in sorted(market.tasks, key=lambda t: t.given is not None):
        needed = known[t.label] & (labels[t.given] == 1 if t.given in labels else True)
        labels[t.label] = label_column(batch.column(t.log_column), needed, batch.where(t.log_column), t.positive)
    counts = {t.name: usable[t.usable_column] & (labels[t.given] == 1 if t.given else True) for t in market.tasks}
    arrays += [pa.array(labels[t.label]) for t in market.tasks]
    flags = usable | {t.counts_column: counts[t.name] for t in market.tasks}
    others |= {name: pa.array(rows.astype(np.int64)) for name, rows in flags.items()}
    if POSITION in market.row_columns:
        others[POSITION] = integer_column(batch.column(POSITION), batch.where(POSITION))
    if PLACEMENT in market.row_columns:
        others[PLACEMENT] = _placement_codes(market, batch.column(PLACEMENT))
    if market.value is not None and (sale := market.conversion_task) is not None:
        sold = pa.array(counts[sale.name] & (labels[sale.label] == 1))
        micros = value_column(batch.column(market.value.column), batch.where(market.value.column))
        others[VALUE_MICROS] = pc.if_else(sold, micros, pa.scalar(None, pa.int64())).fill_null(-1)
    arrays += [others[name] for name in market.row_columns]
    table = pa.Table.from_arrays(arrays, schema=schema)
    return Checked(table, labels, counts, _group(list(usable.values())))


def _usable(task: TaskSpec, batch: Batch) -> NDArray[np.bool_]:
    """[R], whether a task's label can be learned from; all of them where the file does not say."""
    name = task.usable_column
    if name not in batch:
        return np.ones(batch.raw.num_rows, bool)
    return usable_column(batch.column(name), batch.where(name))


def _placement_codes(market: Market, raw: pa.Array) -> pa.Array:
    """Places of the placements in the market; -1 of one that it no longer has."""
    names = pa.array([p.name for p in market.placements])
    return pc.index_in(plain(raw).cast(pa.string()), value_set=names).cast(pa.int64()).fill_null(-1)


def _group(usable: list[NDArray[np.bool_]]) -> NDArray[np.int64]:
    """[R], see `Checked.group`."""
    return np.sum([column.astype(np.int64) << bit for bit, column in enumerate(usable)], axis=0, dtype=np.int64)


def _cuts(market: Market, files: list[Path], spec: SplitSpec, clock: Clock) -> dict[int, Cuts]:
    """Cuts of a split by time, for each group of rows with the same usable labels.

    The latest rows have no final conversions yet: cut together, all of these would train and none would judge.

    Args:
      clock: sees all times.
    """
    if spec.kind != "time" or not files:
        return {}
    column = split_column(market)
    seen: list[Times] = []
    groups: list[NDArray[np.int64]] = []
    for batch in read_batches(market, files, (column,), tuple(t.usable_column for t in market.tasks)):
        times = time_column(batch.column(column), batch.where(column))
        clock.take(times, batch.column(column), batch.where(column))
        seen.append(times)
        groups.append(_group([_usable(t, batch) for t in market.tasks]))
    if not sum(map(len, groups)):
        raise InvalidTrainingData(column, "rows", "none")
    time, group = np.concatenate([clock.read_off(times) for times in seen]), np.concatenate(groups)
    return {int(one): time_cuts(time[group == one], spec) for one in np.unique(group)}


def _times(market: Market, batch: Batch, clock: Clock) -> NDArray[np.float64] | None:
    """[R], what a split by time orders by; None of other splits."""
    if market.training.split.kind != "time":
        return None
    column = split_column(market)
    return clock.read_off(time_column(batch.column(column), batch.where(column)))


def _split(
    market: Market,
    batch: Batch,
    group: NDArray[np.int64],
    random: RandomSplit,
    cuts: dict[int, Cuts],
    times: NDArray[np.float64] | None,
) -> Codes:
    spec = random.spec
    if times is not None:
        codes = np.empty(len(times), np.int8)
        for one, cut in cuts.items():
            codes[group == one] = time_split(times[group == one], cut)
        return codes if spec.valid == "latest" else random.assign_before(codes == EVAL)
    if spec.kind == "random":
        return random.assign(batch.raw.num_rows)
    return hash_split(_keys(market, batch), spec, market.model.seed, batch.before)


def _keys(market: Market, batch: Batch) -> pa.Array:
    """[R], what a split by hash goes by; of a shopper who is not known the page, if the rows say it."""
    column = split_column(market)
    keys = key_column(batch.column(column), batch.where(column))
    if keys.null_count and PAGE in batch:
        pages = key_column(batch.column(PAGE), batch.where(PAGE))
        keys = pc.coalesce(keys, pages) if pages.type == keys.type else keys
    return keys


def _span(raw: pa.Array, times: NDArray[np.float64], mask: NDArray[np.bool_], seen: Span | None) -> Span:
    """The span of a split after more of its rows."""
    rows = np.flatnonzero(mask)
    of_rows = times[rows]
    first, last = ((float(of_rows[i]), as_logged(raw, int(rows[i]))) for i in (of_rows.argmin(), of_rows.argmax()))
    return (min(first, seen[0]), max(last, seen[1])) if seen else (first, last)
