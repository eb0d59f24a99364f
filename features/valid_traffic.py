"""What of the log a model may learn from: nothing that was marked as invalid traffic, then or later."""

import pyarrow as pa
import pyarrow.compute as pc

from domain.events import EventStatus, EventType
from features.log_schema import contiguous


def valid_decisions(decisions: pa.Table) -> pa.Table:
    """Without the pages that robots asked for; parts of before say nothing and are kept."""
    return decisions.filter(pc.equal(pc.fill_null(decisions["invalid"], ""), ""))


def valid_events(events: pa.Table) -> tuple[pa.Table, pa.Array]:
    """Events that count, and the impressions that are not learned from at all.

    Those are impressions whose clicks were all invalid, as such a page was hardly a shopper's, and those whose charge was taken
    back later.
    """
    invalid = _has(events, EventStatus.INVALID)
    click = pc.equal(events["type"], EventType.CLICK.value)
    valid = events.filter(pc.invert(invalid))
    clicked, marked = (contiguous(events.filter(pc.and_(click, kind))["impression_id"]) for kind in (pc.invert(invalid), invalid))
    only_marked = marked.filter(pc.invert(pc.is_in(marked, value_set=clicked)))
    adjusted = contiguous(valid.filter(pc.equal(valid["type"], EventType.ADJUSTMENT.value))["impression_id"])
    return valid, pa.concat_arrays([only_marked, adjusted])


def _has(events: pa.Table, status: EventStatus) -> pa.ChunkedArray:
    """[R]; an event that says nothing, in a part of before, has none."""
    return pc.fill_null(pc.equal(events["status"], status.value), False)
