"""Takes charges back that were found invalid later: in Redis, in the log and so in the books, once each."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import redis

from domain.errors import Unavailable
from domain.events import EventType
from domain.keys import Keys, partition_of
from features.log_archive import EVENTS, parts
from features.log_schema import conform, event_schema
from features.market import Market
from serving.ledger.archive import open_part, read_columns
from serving.repair.memory import field_of
from serving.repair.servers import whole

SCRIPT = (Path(__file__).parents[1] / "lua" / "adjust.lua").read_text("utf-8")
REMEMBER_MS = 86_400_000
"""Longer than any entry waits for the archive, which remembers for good."""
_SCHEMA = pa.schema([f for f in event_schema() if f.name not in ("beyond", "partition", "stream_id")])
_OURS = ("type", "event_id", "status", "charged_micros", "price_micros", "time_ms", "reason")
"""Fields of the adjustment that are not those of what was charged."""

Charge = Mapping[str, Any]
"""An archived event that was charged: a row of the log."""


def charges(log_dir: Path, since_ms: int, matches: Callable[[Charge], bool]) -> list[Charge]:
    """Archived charges that match, and of which nothing was given back: by a return, or taken back before.

    Args:
      since_ms: none that happened before is looked for.
    Raises:
      ContractError: a part of the archive is damaged.
    """
    found: dict[tuple[str, str], Charge] = {}
    for row in _moved(log_dir, since_ms):
        of = row["impression_id"]
        if row["charged_micros"] > 0:
            if row["time_ms"] >= since_ms and matches(row):
                found[of, row["event_id"]] = row
        elif row["type"] == EventType.ADJUSTMENT:
            found.pop((of, row["event_id"]), None)
        else:
            sold = [at for at, charge in found.items() if at[0] == of and charge["order_id"] == row["order_id"]]
            for at in sold:
                del found[at]
    return list(found.values())


def take_back(client: "redis.Redis", market: Market, what: Iterable[tuple[Charge, str]], now_ms: int) -> list[tuple[Charge, str]]:
    """Takes charges back, each for a reason; which were, without those that had been taken back or returned meanwhile.

    Repeating it changes nothing.

    Args:
      client: decodes responses.
    Raises:
      redis.RedisError: Redis is away; what was taken back stays so.
      Unavailable: Redis may have lost data, and has to be repaired first.
    """
    keys, taken = Keys(market.name), []
    if not whole(client, keys):
        raise Unavailable("redis", "it may have lost data: nothing is taken back before it is repaired")
    adjust = client.register_script(SCRIPT)
    for charge, reason in what:
        campaign, order, micros = charge["campaign_id"], charge["order_id"] or "", charge["charged_micros"]
        of_a_sale = (charge["reason"] if charge["type"] == EventType.CHARGE else charge["type"]) == EventType.CONVERSION
        sale = [field_of(kind, order) for kind in (EventType.CONVERSION, EventType.RETURN)] if of_a_sale else ["", ""]
        own = {"type": EventType.ADJUSTMENT, "price_micros": 0, "time_ms": now_ms, "reason": reason}
        passed_on = {name: "" if value is None else value for name, value in charge.items() if name not in _OURS}
        fields = [part for name, value in (own | passed_on).items() for part in (name, value)]
        done = adjust(
            keys=[
                keys.budget(campaign, charge["day"]),
                keys.impression(campaign, charge["impression_id"]),
                keys.events(partition_of(campaign)),
            ],
            args=[charge["event_id"], micros, *sale, REMEMBER_MS, *fields],
        )
        if done:
            taken.append((charge, reason))
    return taken


def _moved(log_dir: Path, since_ms: int) -> Iterator[Charge]:
    """Archived events that moved money, in the order of the log."""
    for part in parts(log_dir, EVENTS):
        if part.last_ms >= since_ms:
            with open_part(part) as file:
                table = conform(read_columns(file, _SCHEMA.names), _SCHEMA, str(part.path))
            yield from table.filter(pc.not_equal(table["charged_micros"], 0)).to_pylist()
