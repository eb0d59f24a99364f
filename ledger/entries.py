"""What the books need to know of an entry of an event stream."""

from typing import NamedTuple


class Key(NamedTuple):
    """What makes a posting idempotent: the entry's stream and its id there. `step` is 1 for what became of it by itself later."""

    partition: int
    ms: int
    seq: int
    step: int = 0


class Entry(NamedTuple):
    """An accepted event; docs/redis.md describes the fields.

    `charged_micros` is what moved in Redis, negative where money was given back. `price_micros` is what was at stake: the price
    of an event that is billed, else 0.
    """

    key: Key
    type: str
    status: str
    charged_micros: int
    price_micros: int
    campaign: str
    advertiser: str
    day: int
    subject: str
    """Names the event over its entries: the impression and the event's id. A pending one and its charge have it in common."""
    reason: str = ""
