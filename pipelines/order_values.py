"""What the conversions of an impression were worth, as it is known: the last word about each order counts.

An order's value is that of its conversion, until a correction says it anew; one that was returned is worth nothing.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from domain.events import OF_AN_ORDER, EventType
from features.log_schema import contiguous

OF_ORDERS = pa.array([kind.value for kind in OF_AN_ORDER])


def order_values(events: pa.Table, impression_id: pa.Array, click_ms: pa.Array, window_s: int) -> pa.Array:
    """Sum over the orders of each impression that came at most a window after its click.

    Args:
      events: valid ones, those of one time in the order of the log; columns `impression_id`, `type`, `order_id`, `time_ms`,
        `value_micros`.
      impression_id: [R], each once.
      click_ms: [R], of the click that they are counted for, or null.
    Returns:
      [R] int64, null where no order counts, or none is known of one that does.
    """
    events = events.filter(pc.is_in(events["type"], value_set=OF_ORDERS))
    row = pc.index_in(contiguous(events["impression_id"]), value_set=impression_id)
    events, row = events.filter(pc.is_valid(row)), row.drop_null().to_numpy()
    sale = pc.equal(events["type"], EventType.CONVERSION.value).to_numpy()
    at_ms = events["time_ms"].to_numpy()
    clicked_ms = click_ms.take(pa.array(row)).to_numpy(zero_copy_only=False)  # NaN where there is none
    attributed = sale & (at_ms - clicked_ms <= 1000 * window_s)

    order = _numbered(row, contiguous(pc.fill_null(events["order_id"], "")))
    known, micros = _values(events)
    # The last of each order: what is said of a conversion comes after it, whatever clocks say.
    spoken = np.lexsort((at_ms, ~sale, order))
    last = spoken[np.append(np.diff(order[spoken]) != 0, True)[: len(spoken)]]
    counted = np.isin(order[last], order[attributed])
    last = last[counted]
    total = np.zeros(len(impression_id), np.int64)
    np.add.at(total, row[last], np.where(known[last], micros[last], 0))
    of_unknown = np.zeros(len(total), bool)
    of_unknown[row[last[~known[last]]]] = True
    none = np.ones(len(total), bool)
    none[row[last]] = False
    return pa.array(total, mask=none | of_unknown)


def _numbered(row: NDArray[np.int32], order_id: pa.Array) -> NDArray[np.int64]:
    """[E], the number of each event's order: those of an impression with one `order_id` are one."""
    codes = pc.dictionary_encode(order_id).indices.to_numpy(zero_copy_only=False) if len(order_id) else np.zeros(0, np.int64)
    return np.asarray(row, np.int64) * (len(order_id) + 1) + codes


def _values(events: pa.Table) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether an event says a value, and which."""
    returned = pc.equal(events["type"], EventType.RETURN.value)
    value = contiguous(pc.if_else(returned, pa.scalar(0, pa.int64()), events["value_micros"]))
    return pc.is_valid(value).to_numpy(zero_copy_only=False), pc.fill_null(value, 0).to_numpy()
