"""What came of the offers that were shown in one hour: decisions joined with their events, as pipelines/examples.py joins them.

An offer was seen if its impression was reported, or where pages report none (`policy.impressions`); it was clicked within
`training.click_window_s` of that, and converted within `training.conversion_window_s` of the click. Robots' pages, invalid
events, and what was charged back are left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from domain.campaign import BidKind
from domain.events import EventType
from features.log_schema import contiguous
from features.market import Market
from features.valid_traffic import valid_events
from monitoring.summaries import Calibration, Series
from monitoring.summaries.grouping import texts
from monitoring.watch.columns import Columns, Ints
from monitoring.watch.events import SLICES
from monitoring.watch.slicing import Rows, Tally
from monitoring.watch.traffic import Counts

_EVENTS = pa.schema([("type", pa.string()), ("status", pa.string()), ("impression_id", pa.string()), ("time_ms", pa.int64())])
_AT_ONCE = 500_000
EVENT_COLUMNS = tuple(_EVENTS.names)
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Shown:
    """The N sold slots of an hour's sampled pages."""

    rows: Rows
    impression_id: pa.Array
    time_ms: Ints
    """Of the decision."""
    position: Ints
    billed_on: NDArray[np.str_]
    """Event type that its bid pays for."""
    price_micros: Ints
    probability: dict[str, NDArray[np.float64]]

    @classmethod
    def concat(cls, all_of: Sequence[Self]) -> Self:
        """One after another; of at least one."""
        return cls(
            Rows.concat([s.rows for s in all_of]),
            pa.concat_arrays([s.impression_id for s in all_of]),
            np.concatenate([s.time_ms for s in all_of]),
            np.concatenate([s.position for s in all_of]),
            np.concatenate([s.billed_on for s in all_of]),
            np.concatenate([s.price_micros for s in all_of]),
            {task: np.concatenate([s.probability[task] for s in all_of]) for task in all_of[0].probability},
        )

    @classmethod
    def of(cls, market: Market, pages: Columns, rows: Rows, slots: Columns, page: Ints) -> Self:
        """Args:
        rows: of the slots.
        page: [N], whose they are.
        """
        billed = {kind.value: kind.billed_on for kind in BidKind}
        kinds, of = texts(slots.text("bid_kind"))
        return cls(
            rows,
            slots.text("impression_id"),
            pages.ints("time_ms")[page],
            slots.ints("position"),
            np.array([billed.get(kind, "") for kind in kinds], "U10")[of],
            slots.ints("price_micros"),
            {t.name: slots.floats(f"probability.{t.name}") for t in market.served_tasks},
        )

    def take(self, at: Ints | NDArray[np.bool_]) -> "Shown":
        """Some of them."""
        index = np.flatnonzero(at) if at.dtype == bool else at
        return Shown(
            self.rows.take(index),
            self.impression_id.take(pa.array(index)),
            self.time_ms[index],
            self.position[index],
            self.billed_on[index],
            self.price_micros[index],
            {task: p[index] for task, p in self.probability.items()},
        )


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What came of N shown offers, as known at some time: [N] ms of the first event of a kind, or `_NEVER`."""

    impression: Ints
    click: Ints
    conversion: Ints
    seen: NDArray[np.bool_]
    shown_ms: Ints
    """The impression's time, or the decision's."""

    @classmethod
    def of(cls, market: Market, shown: Shown, events: pa.Table) -> "Outcomes":
        """Args: events: `of_impressions` of these offers, as of the time that is asked for."""
        valid, doubtful = valid_events(events)
        first = {kind: _first_ms(shown, valid, kind) for kind in (EventType.IMPRESSION, EventType.CLICK, EventType.CONVERSION)}
        impression = first[EventType.IMPRESSION]
        spoilt = np.asarray(pc.is_in(shown.impression_id, value_set=doubtful).to_numpy(zero_copy_only=False), bool)
        return cls(
            impression,
            first[EventType.CLICK],
            first[EventType.CONVERSION],
            ((impression < _NEVER) | (market.policy.impressions == "unreported")) & ~spoilt,
            np.where(impression < _NEVER, impression, shown.time_ms),
        )


def of_impressions(shown: Shown, events: Iterable[pa.Table]) -> pa.Table:
    """`EVENT_COLUMNS` of those events that are of these offers, and in `slot` of which of them; many tables are one."""
    kept, waiting, rows = [_joined(shown, [])], [], 0
    for table in events:
        waiting.append(table)
        rows += len(table)
        if rows >= _AT_ONCE:
            kept.append(_joined(shown, waiting))
            waiting, rows = [], 0
    return pa.concat_tables([*kept, _joined(shown, waiting)])


def _joined(shown: Shown, tables: list[pa.Table]) -> pa.Table:
    """Of several tables at once: the offers are hashed each time."""
    table = pa.concat_tables([_EVENTS.empty_table(), *(t.select(_EVENTS.names).cast(_EVENTS) for t in tables)])
    ids = contiguous(table["impression_id"])
    slot = pc.index_in(ids, value_set=shown.impression_id) if len(ids) else pa.array([], pa.int32())
    return table.append_column("slot", slot).filter(pc.is_valid(slot))


def count_seen(shown: Shown, outcomes: Outcomes, rate: float, tally: Tally) -> None:
    """Flows of an hour that is over, by the slices that events do not say themselves, and what is wrong with its events.

    Args:
      rate: share of the hour's pages that these are; counts are of all of them, estimated.
    """
    impression, click, conversion = (times < _NEVER for times in (outcomes.impression, outcomes.click, outcomes.conversion))
    counts = Counts(1 / rate)
    counts.add("unseen", ~outcomes.seen)
    counts.add("clicks_without_impression", click & ~impression)
    counts.add("conversions_without_click", conversion & ~click)
    counts.tell(shown.rows, tally)
    counts = Counts(1 / rate)
    counts.add("impressions", impression)
    counts.add("clicks", click)
    counts.add("conversions", conversion)
    counts.tell(shown.rows, tally, [d.by for d in shown.rows.dimensions if d.by not in SLICES])


def calibrate_clicks(market: Market, shown: Shown, outcomes: Outcomes, as_of_ms: int, tally: Tally) -> None:
    """Of offers whose click window has passed."""
    final = outcomes.seen & (as_of_ms - outcomes.shown_ms >= 1000 * market.training.click_window_s)
    _calibrate(market, market.tasks[0].name, EventType.CLICK, shown, final, clicked(market, outcomes), tally)


def calibrate_conversions(market: Market, shown: Shown, outcomes: Outcomes, as_of_ms: int, tally: Tally) -> None:
    """Of clicks whose conversion window has passed."""
    task = market.conversion_task
    if task is None:
        return
    window_ms = 1000 * (market.training.click_window_s + market.training.conversion_window_s)
    final = outcomes.seen & (as_of_ms - outcomes.shown_ms >= window_ms) & clicked(market, outcomes)
    converted = _within(outcomes.conversion, outcomes.click, market.training.conversion_window_s)
    _calibrate(market, task.name, EventType.CONVERSION, shown, final, converted, tally)


def clicked(market: Market, outcomes: Outcomes) -> NDArray[np.bool_]:
    """[N], whether the first click counts."""
    return _within(outcomes.click, outcomes.shown_ms, market.training.click_window_s)


def _calibrate(
    market: Market,
    task: str,
    billed: EventType,
    shown: Shown,
    final: NDArray[np.bool_],
    label: NDArray[np.bool_],
    tally: Tally,
) -> None:
    if market.model.bias:
        final = final & (shown.position == 0)  # where p is P(click | seen), which is P(click) at the first position only
    p = shown.probability[task]
    at = np.flatnonzero(final & (p >= 0) & (p <= 1))
    price = np.where(shown.billed_on == billed.value, shown.price_micros, 0)
    for groups in shown.rows.take(at).groups():
        for g, one in Calibration.by_group(p[at], label[at], price[at], groups.group, groups.size):
            tally.add(*groups.place(g), Series("calibration", task), one)


def _first_ms(shown: Shown, events: pa.Table, kind: EventType) -> Ints:
    """[N] time of each offer's first event of a kind."""
    of_kind = events.filter(pc.equal(events["type"], kind.value))
    first = np.full(len(shown.time_ms), _NEVER, np.int64)
    np.minimum.at(first, of_kind["slot"].to_numpy(), of_kind["time_ms"].to_numpy())
    return first


def _within(event_ms: Ints, from_ms: Ints, window_s: int) -> NDArray[np.bool_]:
    """Whether the event came, and within the window; one reported as earlier than what it follows counts."""
    came = event_ms < _NEVER
    return np.asarray(came & (np.where(came, event_ms, 0) - np.where(came, from_ms, 0) <= 1000 * window_s))
