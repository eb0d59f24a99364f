"""A part of events as flows: what was reported, what was none of a shopper's doing, what was charged."""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from domain.events import EventStatus, EventType
from features.market import Market
from features.monitoring_spec import PARTNER, POSITION
from features.spec import CAMPAIGN
from monitoring.watch.columns import Columns, Ints
from monitoring.watch.slicing import Dimension, Kept, Rows, Tally
from monitoring.watch.traffic import Counts, flags

COLUMNS = ("type", "status", "charged_micros", "campaign_id", "asked_by", "position", "time_ms", "reason", "impression_id")
SLICES: Final = {CAMPAIGN: "campaign_id", PARTNER: "asked_by", POSITION: "position"}
"""Slices that an event says itself, by column."""
_PLURAL: Final = {EventType.DISMISS.value: "dismissals"}
_LATE = (EventType.CONVERSION.value, EventType.ADJUSTMENT.value)


def count_events(market: Market, columns: Columns, hour: Ints, kept: Kept, tally: Tally) -> None:
    """Flows by the hour in which they happened, whichever release decided.

    Args:
      hour: [R]
    """
    different, cell = np.unique(hour, return_inverse=True)
    of_slices = (by for by in market.watched_slices if by in SLICES)
    dimensions = tuple(Dimension.of_texts(by, columns.text_of(SLICES[by]), kept) for by in of_slices)
    rows = Rows(tuple((int(h), "") for h in different), cell.astype(np.int64), dimensions)
    invalid = np.zeros(columns.rows, bool)
    counts = Counts()
    for status, there in flags(columns.text("status")):
        if status == EventStatus.INVALID:
            invalid = there
        elif status not in (EventStatus.LOGGED, EventStatus.SETTLED):
            counts.add(f"{status}_events", there)
    for kind, there in flags(columns.text("type")):
        counts.add(_PLURAL.get(kind, f"{kind}s"), there & ~invalid)
        if kind == EventType.CHARGE:
            counts.add("late_charged_micros", there * columns.ints("charged_micros"))
    for reason, there in flags(columns.text("reason")):
        counts.add(f"invalid:{reason}", there & invalid)
    counts.add("charged_micros", columns.ints("charged_micros"))
    counts.tell(rows, tally)


def late_events(columns: Columns) -> list[tuple[str, str, str, int]]:
    """Those that may come long after their clicks, for `MonitorStore.add_late`."""
    there = pc.is_in(columns.text("type"), value_set=pa.array(_LATE))
    rows = columns.table.filter(there).select(["impression_id", "type", "status", "time_ms"]).to_pydict()
    return list(zip(rows["impression_id"], rows["type"], rows["status"], rows["time_ms"], strict=True))
