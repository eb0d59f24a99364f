"""A part of decisions as summaries: features as used, what was predicted of what was shown, losses, prices, times."""

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from domain.outcome import Reason
from features.market import Market
from features.monitoring_spec import PARTNER
from features.spec import FeatureSpec
from monitoring.summaries import FLOW, Flows, NumberColumn, Series, ValueColumn
from monitoring.watch.columns import Columns, Ints, numbers
from monitoring.watch.slicing import SLOT_COLUMNS, Groups, Kept, Rows, Tally, request_dimensions, slot_dimensions

_PAGE = ("time_ms", "release", "asked_by", "features", "explored", "degraded", "total_us", "stage_us", "invalid")
_SLOT = ("placement", "campaign_id", "position", "bid_micros", "price_micros", "hold_micros", "probability", "features")
_LOSSES = ("reason", "unlisted")
COLUMNS = (*_PAGE, *(f"slots.{name}" for name in _SLOT), *(f"candidates.{name}" for name in _LOSSES))
MOST_SERIES = 20_000
"""Features times slices; where there are more, features are summarised of all traffic only, the rest as ever."""
_REASONS: Mapping[int, str] = {r.value: r.name.lower() for r in Reason}


def pages_of(market: Market, columns: Columns, hour: Ints, kept: Kept) -> Rows:
    """The pages of a part that are not of robots' doing, by hour, release and slices; with their indices.

    Args:
      hour: [R], the hour of each row.
    """
    release = columns.text("release")
    text = pc.dictionary_encode(release)
    names = text.dictionary.to_pylist()
    key = hour * max(len(names), 1) + text.indices.to_numpy(zero_copy_only=False)
    different, cell = np.unique(key, return_inverse=True)
    cells = tuple((int(k) // max(len(names), 1), names[int(k) % max(len(names), 1)]) for k in different)
    return Rows(cells, cell.astype(np.int64), request_dimensions(market, columns, kept))


def count_pages(market: Market, columns: Columns, rows: Rows, tally: Tally) -> None:
    """Flows of all pages, and how long they took."""
    invalid = columns.text("invalid")
    valid = valid_pages(columns)
    counts = Counts()
    counts.add("pages", valid)
    counts.add("wanted", valid * sum(p.count for p in market.placements))
    counts.add("empty_pages", valid & (_lengths(columns.leaf("slots"), columns.rows) == 0))
    if (explored := columns.leaf("explored")) is not None:
        counts.add("explored", valid & explored.to_numpy(zero_copy_only=False).astype(bool))
    for reason, there in flags(invalid):
        counts.add(f"invalid_page:{reason}", there)
    if (degraded := columns.leaf("degraded")) is not None:
        page = pc.list_parent_indices(degraded).to_numpy(zero_copy_only=False)
        for what, there in flags(pc.list_flatten(degraded)):
            counts.add(f"degraded:{what}", valid & (np.bincount(page[there], minlength=columns.rows) > 0))
    for reason, lost in _losses(columns):
        counts.add(f"lost:{reason}", valid * lost)
    counts.tell(rows, tally)
    of_valid = np.flatnonzero(valid)
    shown = rows.take(of_valid)
    _summarise(Series("latency", "total"), NumberColumn.of_rows(columns.floats("total_us")[of_valid]), shown, tally)
    if (stages := columns.leaf("stage_us")) is not None:
        page = np.repeat(np.arange(columns.rows), _lengths(stages, columns.rows))
        us = numbers(stages.items)
        alone = rows.unsliced()
        for stage, there in flags(stages.keys):
            there &= valid[page]
            _summarise(Series("latency", stage), NumberColumn.of_rows(us[there]), alone.take(page[there]), tally)


def describe(market: Market, columns: Columns, rows: Rows, kept: Kept, sampled: Ints, tally: Tally) -> None:
    """Features and probabilities of the sampled pages, and what all slots were sold for.

    Args:
      sampled: indices of valid pages.
    """
    some = rows.take(sampled)
    described = some if _fits(market) else some.unsliced()
    for f in market.request_features:
        _summarise(Series("feature", f.name), feature_column(f, columns.leaf(f"features.{f.name}"), sampled), described, tally)
    _mix(some, {PARTNER: columns.text_of("asked_by")}, sampled, tally)
    slots, page = columns.unnested("slots")
    if not slots.rows:
        return
    of_slot = rows.take(page).sliced(slot_dimensions(market, slots, kept))
    valid = valid_pages(columns)[page]
    counts = Counts()
    counts.add("filled", valid)
    for name in ("bid_micros", "price_micros", "hold_micros"):
        counts.add(name, valid * slots.ints(name))
    counts.tell(of_slot, tally)
    is_sampled = np.zeros(columns.rows, bool)
    is_sampled[sampled] = True
    at = np.flatnonzero(is_sampled[page])
    shown = of_slot.take(at)
    described = shown if _fits(market) else shown.unsliced()
    for f in market.offer_features:
        _summarise(Series("feature", f.name), feature_column(f, slots.leaf(f"features.{f.name}"), at), described, tally)
    for task in market.served_tasks:
        p = NumberColumn.of_rows(slots.floats(f"probability.{task.name}")[at])
        _summarise(Series("probability", task.name), p, shown, tally)
    _mix(shown, {by: slots.text_of(column) for by, column in SLOT_COLUMNS.items()}, at, tally)


def valid_pages(columns: Columns) -> NDArray[np.bool_]:
    """[R], whether it was a shopper who asked."""
    return np.asarray(pc.equal(columns.text("invalid"), "").to_numpy(zero_copy_only=False), bool)


def promised(columns: Columns) -> pa.Table:
    """Of shoppers' pages what service levels are counted from: `time_ms`, `total_us`, `degraded`, `slots`."""
    names = [n for n in ("time_ms", "total_us", "degraded", "slots") if n in columns.table.column_names]
    return columns.table.select(names).filter(pa.array(valid_pages(columns)))


def feature_column(feature: FeatureSpec, leaf: pa.Array | None, rows: Ints | None = None) -> NumberColumn | ValueColumn:
    """A feature's values, of some of the rows of its column.

    The default says that nothing was known, as if it were missing, unless it is in the vocabulary or a count that starts there;
    so does a column that another market wrote, of a type that is none of the feature's.

    Args:
      leaf: None where the part does not have it; `rows` says how many there are.
    """
    if leaf is None:
        leaf = pa.nulls(0 if rows is None else int(rows.max(initial=-1)) + 1)
    if rows is not None:
        leaf = leaf.take(pa.array(rows))
    if is_number(feature):
        fits = pa.types.is_integer(leaf.type) or pa.types.is_floating(leaf.type)
        x = numbers(leaf) if fits else np.full(len(leaf), np.nan)
        if feature.default is not None and feature.source != "history":
            kept = np.float32 if feature.dtype == "float" else np.float64  # what training rows have
            x = np.where(x.astype(kept) == kept(feature.default), np.nan, x)
        return NumberColumn.of_rows(x)
    given = feature.vocabulary if isinstance(feature.vocabulary, tuple) else None
    vocabulary = None if given is None else {str(v) for v in given}
    default = {"", str(feature.default)} if feature.dtype == "string" and feature.default is not None else {""}
    if pa.types.is_list(leaf.type) != feature.multiple:
        leaf = pa.nulls(len(leaf), pa.string())
    return ValueColumn.of_rows(leaf, vocabulary, default - (vocabulary or set()))


def is_number(feature: FeatureSpec) -> bool:
    """Whether the size of its values means something; others only name something."""
    named = feature.vocabulary is not None or feature.hash_buckets is not None
    return feature.dtype != "string" and not named and not feature.multiple


class Counts:
    """Amounts of N rows by name, which become flows.

    Args:
      scale: what each row stands for, as where the rows are a sample.
    """

    def __init__(self, scale: float = 1.0) -> None:
        self._scale = scale
        self._amounts: dict[str, Ints] = {}

    def add(self, name: str, amount: NDArray[np.bool_] | Ints) -> None:
        """Args: amount: [N]."""
        self._amounts[name] = np.asarray(amount, np.int64)

    def tell(self, rows: Rows, tally: Tally, only: Collection[str] | None = None) -> None:
        """Adds up by hour, release and slice; or by some slices alone."""
        told = {name: amount for name, amount in self._amounts.items() if amount.any()}
        for groups in rows.groups(only):
            sums = {name: _sums(groups, amount, self._scale) for name, amount in told.items()}
            for g in np.flatnonzero(np.bincount(groups.group, minlength=groups.size)).tolist():
                flows = {name: int(of[g]) for name, of in sums.items() if of[g]}
                if flows:
                    tally.add(*groups.place(g), FLOW, Flows(flows))


def flags(column: pa.Array) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each text that is in a column, but "", and [N] where."""
    encoded = pc.dictionary_encode(column)
    index = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    for i, name in enumerate(encoded.dictionary.to_pylist()):
        if name:
            yield name, index == i


def _fits(market: Market) -> bool:
    """Whether there is room for each feature in each slice."""
    most = market.monitoring.slice_values
    given = {f.name: len(f.vocabulary) for f in market.features if isinstance(f.vocabulary, tuple)}
    values = sum(min(given.get(by, most), most) + 1 for by in market.watched_slices)
    return len(market.features) * values <= MOST_SERIES


def _summarise(series: Series, column: NumberColumn | ValueColumn, rows: Rows, tally: Tally) -> None:
    for groups in rows.groups():
        for g, summary in column.by_group(groups.group, groups.size):
            tally.add(*groups.place(g), series, summary)


def _mix(rows: Rows, columns: Mapping[str, pa.Array], at: Ints, tally: Tally) -> None:
    """What share of the traffic has which value of a slice that is no feature."""
    alone = rows.unsliced()
    for d in rows.dimensions:
        if d.by in columns:
            _summarise(Series("slice", d.by), ValueColumn.of_rows(columns[d.by].take(pa.array(at))), alone, tally)


def _sums(groups: Groups, amount: Ints, scale: float) -> Ints:
    sums = np.zeros(groups.size, np.int64)
    np.add.at(sums, groups.group, amount)
    return sums if scale == 1 else np.asarray(np.rint(sums * scale), np.int64)


def _lengths(lists: pa.Array | None, rows: int) -> Ints:
    if lists is None:
        return np.zeros(rows, np.int64)
    offsets: Ints = np.asarray(lists.offsets.to_numpy(), np.int64)
    return np.asarray(offsets[1:] - offsets[:-1], np.int64)


def _losses(columns: Columns) -> Iterator[tuple[str, Ints]]:
    """Each reason, and [R] how many candidates lost for it: those that are listed, and the number of those that are not."""
    lost: dict[str, Ints] = {}
    if (reasons := columns.leaf("candidates.reason")) is not None:
        page = pc.list_parent_indices(reasons).to_numpy(zero_copy_only=False)
        code = pc.list_flatten(reasons).to_numpy(zero_copy_only=False)
        for value in np.unique(code).tolist():
            if value != Reason.WON:
                name = _REASONS.get(value, str(value))
                lost[name] = np.bincount(page[code == value], minlength=columns.rows)
    if (unlisted := columns.leaf("candidates.unlisted")) is not None:
        page = np.repeat(np.arange(columns.rows), _lengths(unlisted, columns.rows))
        number = numbers(unlisted.items)
        for name, there in flags(unlisted.keys):
            here = np.bincount(page[there], number[there], columns.rows).astype(np.int64)
            lost[name] = lost.get(name, 0) + here
    yield from lost.items()
