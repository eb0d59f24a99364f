"""The archived decisions with what came of them, an hour at a time and the newest first: memory does not grow with the log.

Going back in time, an event meets its decision soon: an impression within the hour, most clicks, too. What stays in memory are
clicks and conversions whose decision is still to come, for as long as the windows of attribution say that it may, returns and
corrections of their value, for as long as gateways accept them, and charges that were taken back, which may be years late.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from domain.events import EventType
from features.log_archive import DECISIONS, EVENTS, Part, parts
from features.log_schema import ARROW_TYPES, contiguous, decision_schema, event_schema
from features.market import Market
from features.valid_traffic import valid_decisions, valid_events
from pipelines.newest_first import NewestFirst
from pipelines.order_values import order_values

CLOCKS_DIFFER_MS = 3_600_000  # at most, between a gateway's time in an entry and Redis' time in the entry's id
SHOWN_WITHIN_MS = 3_600_000  # of the decision; gateways accept no later impression
MOST_DECISIONS = 200_000  # that are joined at once

Span = tuple[int, int]
"""First and last ms."""
_TRACKED = (EventType.IMPRESSION, EventType.CLICK, EventType.CONVERSION)
_TAKEN_BACK = (EventType.ADJUSTMENT, EventType.RETURN, EventType.CORRECTION)
_OF_EVENTS = ("type", "status", "impression_id", "time_ms", "value_micros", "order_id")


@dataclass(frozen=True, slots=True)
class Hour:
    """The R sold slots of an hour, or a part of one, and when which of their events first happened."""

    slots: pa.Table
    """In the order of the log; one that was logged twice is taken once."""
    impression_ms: pa.Array
    """[R], null where none was reported."""
    click_ms: pa.Array
    conversion_ms: pa.Array
    value_micros: pa.Array
    """[R], see `order_values`."""
    spoilt: pa.Array
    """[R], whether it is not learned from: see `valid_events`."""


class LogJoin:
    """The hours of some spans of time; counts, as it goes, what belongs to none."""

    def __init__(self, market: Market, log_dir: Path, now_ms: int, spans: Sequence[Span]) -> None:
        """Args:
        now_ms: what happened later is left out.
        spans: apart and in order.
        """
        self._market, self._spans = market, spans
        wanted = _only(decision_schema(market), *_OF_DECISIONS, "features", "slots", "invalid")
        self._decisions = NewestFirst(_parts_in(log_dir, spans), wanted)
        self._events = _Events(market, log_dir, now_ms, spans[0][0])

    @property
    def orphans(self) -> int:
        """Valid impressions, clicks and conversions of no decision in the spans; all of them once the hours are through."""
        return self._events.orphans

    def __iter__(self) -> Iterator[Hour]:
        """Raises: InvalidTrainingData: a part cannot be read."""
        while (begin_ms := self._decisions.next_span_ms(MOST_DECISIONS)) is not None:
            through_ms = self._decisions.newest_ms()
            log = valid_decisions(self._decisions.since(begin_ms, self._in_spans))
            if len(log) and through_ms is not None:
                yield self._joined(_slots(self._market, log), begin_ms, through_ms)
        self._events.finish()

    def _in_spans(self, decisions: pa.Table) -> pa.Table:
        at = np.asarray(decisions["time_ms"].to_numpy())
        return decisions.filter(pa.array(np.any([(at >= begin) & (at <= end) for begin, end in self._spans], axis=0)))

    def _joined(self, slots: pa.Table, begin_ms: int, through_ms: int) -> Hour:
        impression_id = contiguous(slots["impression_id"])
        events, spoilt = valid_events(self._events.of(impression_id, begin_ms, through_ms))
        impression, click, conversion = (_first_time(events, kind, impression_id) for kind in _TRACKED)
        value_micros = order_values(events, impression_id, click, self._market.training.conversion_window_s)
        return Hour(slots, impression, click, conversion, value_micros, pc.is_in(impression_id, value_set=spoilt))


class _Events:
    """Those of decisions that are still to come, back in time."""

    def __init__(self, market: Market, log_dir: Path, now_ms: int, since_ms: int) -> None:
        spec = market.training
        shown_ms = SHOWN_WITHIN_MS + CLOCKS_DIFFER_MS
        attributed_ms = shown_ms + 1000 * (spec.click_window_s + spec.conversion_window_s)
        returned_ms = attributed_ms + 1000 * market.policy.return_window_s
        self._reach_ms = {
            **{EventType.IMPRESSION: shown_ms, EventType.CLICK: attributed_ms, EventType.CONVERSION: attributed_ms},
            **{EventType.RETURN: returned_ms, EventType.CORRECTION: returned_ms},
        }
        self._now_ms = now_ms
        logged = (part for part in parts(log_dir, EVENTS) if part.last_ms >= since_ms - CLOCKS_DIFFER_MS)
        self._log = NewestFirst(logged, _only(event_schema(), *_OF_EVENTS))
        self._waiting: list[pa.Table] = []
        self.orphans = 0

    def of(self, impression_id: pa.Array, begin_ms: int, through_ms: int) -> pa.Table:
        """Those of offers that were decided on between two times, both ends included; each is given once, so that an id that was
        used again hours later is that of the later offer."""

        def matter(events: pa.Table) -> pa.Table:
            return self._that_matter(events, through_ms)

        # Held between the decision and its acceptance by the gateway, so an event is no earlier than its decision by much.
        fresh = self._log.since(begin_ms - CLOCKS_DIFFER_MS, matter)
        events = pa.concat_tables([*map(matter, self._waiting), fresh])
        ours = pc.is_in(events["impression_id"], value_set=impression_id)
        self._waiting = [events.filter(pc.invert(ours)).combine_chunks()]
        return events.filter(ours)

    def finish(self) -> None:
        """What is left belongs to no decision."""
        for events in (*self._waiting, self._log.since(np.iinfo(np.int64).min, self._of_kinds)):
            self.orphans += _tracked(events)
        self._waiting = []

    def _of_kinds(self, events: pa.Table) -> pa.Table:
        kinds = pa.array([kind.value for kind in (*_TRACKED, *_TAKEN_BACK)])
        return events.filter(pc.and_(pc.is_in(events["type"], value_set=kinds), pc.less_equal(events["time_ms"], self._now_ms)))

    def _that_matter(self, events: pa.Table, through_ms: int) -> pa.Table:
        """Without what came too late for any decision up to a time."""
        events = self._of_kinds(events)
        too_late = (
            pc.and_(pc.equal(events["type"], kind.value), pc.greater(events["time_ms"], through_ms + reach_ms))
            for kind, reach_ms in self._reach_ms.items()
        )
        late = reduce(pc.or_, too_late)
        self.orphans += _tracked(events.filter(late))
        return events.filter(pc.invert(late))


def _tracked(events: pa.Table) -> int:
    """How many are valid impressions, clicks and conversions."""
    valid, _ = valid_events(events)
    kinds = pa.array([kind.value for kind in _TRACKED])
    return int(pc.sum(pc.is_in(valid["type"], value_set=kinds)).as_py() or 0)


def _parts_in(log_dir: Path, spans: Sequence[Span]) -> Iterable[Part]:
    """Parts that may hold decisions of the spans; after the last one also what was logged late, which is little."""
    last_ms = spans[-1][1]
    for part in parts(log_dir, DECISIONS):
        for begin, end in spans:
            if part.last_ms >= begin - CLOCKS_DIFFER_MS and (end == last_ms or part.first_ms <= end + CLOCKS_DIFFER_MS):
                yield part
                break


_OF_DECISIONS = ("decision_id", "shopper_key", "time_ms", "explored")
_OF_SLOTS = ("impression_id", "position", "placement", "propensity")
COLUMNS = ("decision_id", "impression_id", "shopper_key", "time_ms", "position", "placement", "propensity", "explored")
"""What rows say beside features and labels, but for a feature of such a name."""


def _slots(market: Market, log: pa.Table) -> pa.Table:
    """One row per sold slot with its features; a slot that was logged twice is taken once."""
    request = log.select([*_OF_DECISIONS, "features"]).flatten().take(pc.list_parent_indices(contiguous(log["slots"])))
    slot = pa.table({"slots": pc.list_flatten(log["slots"])}).flatten().flatten()
    logged = {f.name: request[f"features.{f.name}"] for f in market.request_features}
    logged |= {f.name: slot[f"slots.features.{f.name}"] for f in market.offer_features}
    told = {name: request[name] for name in _OF_DECISIONS} | {name: slot[f"slots.{name}"] for name in _OF_SLOTS}
    told["explored"] = pc.cast(told["explored"], pa.int64())
    features = feature_columns(market, logged)
    table = pa.table(features | {name: told[name] for name in COLUMNS if name not in features})
    first = contiguous(_first_by_impression(table["impression_id"], pa.array(np.arange(len(table))))["value_min"])
    return table if len(first) == len(table) else table.take(first.take(pc.array_sort_indices(first)))


def feature_columns(market: Market, logged: Mapping[str, pa.ChunkedArray]) -> dict[str, pa.ChunkedArray]:
    """Feature -> its column of training rows, from the values as logged: null is the default, where there is one."""
    columns = {f.name: _feature(logged[f.name], f.default) for f in market.features}
    return columns | {f.name: pc.cast(columns[f.name], ARROW_TYPES[f.dtype]) for f in market.features if not f.multiple}


def _feature(column: pa.ChunkedArray, default: object) -> pa.ChunkedArray:
    return column if default is None else pc.fill_null(column, pa.scalar(default, column.type))


def _first_time(events: pa.Table, kind: EventType, impression_id: pa.Array) -> pa.Array:
    """Time of each impression's first event of a kind, null where there is none."""
    of_kind = events.filter(pc.equal(events["type"], kind.value))
    first = _first_by_impression(of_kind["impression_id"], of_kind["time_ms"])
    return contiguous(first["value_min"]).take(pc.index_in(impression_id, value_set=contiguous(first["impression_id"])))


def _first_by_impression(impression_id: pa.ChunkedArray, value: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The least value of each impression: columns `value_min`, `impression_id`."""
    # In one chunk each: group_by of pyarrow 10 crashes on columns that are chunked differently.
    table = pa.table({"impression_id": contiguous(impression_id), "value": contiguous(value)})
    return table.group_by("impression_id").aggregate([("value", "min")])


def _only(schema: pa.Schema, *names: str) -> pa.Schema:
    return pa.schema([f for f in schema if f.name in names])
