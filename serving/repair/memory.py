"""What Redis remembers of an impression, from the log: the same fields that settle.lua and its siblings leave behind."""

from collections.abc import Mapping, MutableMapping
from enum import Enum
from typing import Any, NamedTuple

from domain.events import OF_AN_ORDER, EventStatus, EventType

Memory = MutableMapping[str, str | None]
"""Field of an impression's hash -> value, None where it is not there any more; docs/redis.md, imp."""


class Happened(NamedTuple):
    """An entry of the event stream, by the names of its fields; docs/redis.md describes them."""

    type: str
    status: str
    charged_micros: int
    price_micros: int
    day: int
    event_id: str
    order_id: str
    reason: str
    time_ms: int
    campaign_id: str
    advertiser: str
    impression_id: str
    decision_id: str
    offer_id: str
    shopper_key: str
    asked_by: str
    client: str
    position: int
    value_micros: int | None


_INTEGERS = ("charged_micros", "price_micros", "day", "time_ms", "position")


def happened(fields: Mapping[str, str]) -> Happened | None:
    """An entry as Redis has it; None for one that is malformed."""
    values: dict[str, Any] = {name: fields.get(name, "") for name in Happened._fields}
    try:
        values |= {name: int(values[name] or 0) for name in _INTEGERS}
        values["value_micros"] = int(values["value_micros"]) if values["value_micros"] else None
        EventType(values["type"])
        return Happened(**values)
    except ValueError:
        return None


class Wait(Enum):
    """What an entry means for the conversions that wait for a budget with room."""

    AS_BEFORE = 0
    BEGINS = 1
    ENDS = 2


def remember(memory: Memory, e: Happened, *, sale: bool) -> Wait:
    """Applies an entry; an impression's come in the stream's order. Applying all of them again changes nothing more.

    Args:
      sale: the campaign pays for conversions.
    """
    if e.status == EventStatus.INVALID:
        memory[f"x:{field_of(e.type, e.order_id)}"] = "0"
    elif e.type == EventType.ADJUSTMENT:
        memory[f"a:{e.event_id}"] = str(e.charged_micros)
        if sale:
            memory[field_of(EventType.RETURN, e.order_id)] = "0"
    elif e.type == EventType.CHARGE:
        field = field_of(e.reason, e.order_id)
        memory[f"w:{field}"] = None
        return _accept(memory, e, e.reason, field)
    elif e.status == EventStatus.PENDING and e.reason != "budget":
        field = field_of(e.type, e.order_id)
        memory[field], memory[f"w:{field}"] = "pending", f"{e.time_ms}|{e.event_id}"
    else:
        return _accept(memory, e, e.type, field_of(e.type, e.order_id))
    return Wait.AS_BEFORE


def field_of(kind: str, order_id: str) -> str:
    """Field of an event: its type, and the order where there may be several."""
    return f"{kind}:{order_id}" if order_id and kind in OF_AN_ORDER else kind


def _accept(memory: Memory, e: Happened, what: str, field: str) -> Wait:
    memory[field] = e.event_id if what == EventType.CORRECTION else str(e.charged_micros)
    if what == EventType.CLICK:
        memory["click_ms"] = str(e.time_ms)
    if what != EventType.CONVERSION:
        return Wait.AS_BEFORE
    if e.charged_micros > 0:
        memory[f"d:{field}"] = str(e.day)
    return Wait.BEGINS if e.status == EventStatus.PENDING else Wait.ENDS
