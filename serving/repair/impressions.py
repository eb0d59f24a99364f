"""Gives Redis the memory of what happened to impressions, from the archive, so that no old token is charged twice."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import orjson
import redis

from domain.campaign import BidKind
from domain.events import EventStatus, EventType
from domain.keys import Keys, partition_of
from features.log_archive import Part, StreamId
from features.market import Market
from serving.budget_days import budget_ttl_ms
from serving.gateway.event_window import accepted_for_ms
from serving.repair.memory import Happened, Memory, Wait, field_of, happened, remember
from serving.repair.rows import Row, forgotten_after_ms, rows

AT_ONCE = 200
"""Impressions per script, a millisecond during which Redis serves nobody else."""
TOGETHER = 5000
"""Entries that are applied together, since a part alone may hold few of each partition."""
SCRIPT = (Path(__file__).parents[1] / "lua" / "restore_memory.lua").read_text("utf-8")
OF_THE_SCRIPT = ("type", "status", "charged_micros", "price_micros", "day", "event_id", "order_id", "reason", "time_ms")
"""Fields of an entry that settle.lua adds by itself; the others it passes on."""


@dataclass(slots=True)
class _Waiting:
    """What the entries read so far say of the conversions of a campaign that wait for a budget with room."""

    begun: dict[tuple[str, str], Happened] = field(default_factory=dict)
    ended: set[tuple[str, str]] = field(default_factory=set)


class ImpressionMemory:
    """Rebuilds the hashes `imp`, the lists `due` and the claims `order` of a Redis that nobody else writes to.

    Repeating it, also after it was interrupted, changes nothing more. Memory is bounded by a part of the archive, and by the
    conversions that name an order or wait.

    Args:
      client: decodes responses.
      going: called for every part; raises if this has to end.
    """

    def __init__(self, client: "redis.Redis", market: Market, now_ms: int, going: Callable[[], None]) -> None:
        self._redis, self._market, self._now_ms, self._going = client, market, now_ms, going
        self._keys = Keys(market.name)
        self._restore = client.register_script(SCRIPT)
        self._no_sales = {c.id for c in market.campaigns if c.bid_kind is not BidKind.CPA}
        self._forgotten_after_ms = {str(kind): forgotten_after_ms(kind, market) for kind in EventType}
        self._waiting: dict[str, _Waiting] = {}
        self._claims: dict[str, str] = {}
        self._pending_orders: dict[tuple[str, str, str], str] = {}

    def rebuild(self, some: list[Part], lost: Mapping[int, StreamId], live: bool = False) -> int:
        """Applies what these parts hold that was lost; how many entries that were.

        Args:
          live: others write to Redis again; these parts are older than all that was applied before.
        Raises:
          redis.RedisError: Redis is away.
        """
        applied, together = 0, list[Row]()
        for found in rows(some, self._market, lost, self._now_ms):
            together += found
            if len(together) >= TOGETHER:
                applied += self._take(together)
                together = []
        applied += self._take(together)
        self._set_due()
        self._claim_orders(live)
        self._drop_what_gave_way()
        return applied

    def add_tail(self, stream: str, since: StreamId) -> int:
        """Applies what a stream holds beyond the archive, but for malformed entries; how many that were."""
        applied, last = 0, str(since)
        while entries := self._redis.xrange(stream, min=f"({last}", count=AT_ONCE):
            last = entries[-1][0]
            parsed = ((StreamId.parse(i).ms, happened(fields)) for i, fields in entries)
            applied += self._take([(ms, e) for ms, e in parsed if e is not None])
        self._set_due()
        self._claim_orders(live=False)
        self._drop_what_gave_way()
        return applied

    def _take(self, found: list[Row]) -> int:
        self._going()
        by_impression: dict[tuple[str, str], list[Row]] = {}
        for ms, e in found:
            by_impression.setdefault((e.campaign_id, e.impression_id), []).append((ms, e))
        impressions = sorted(by_impression.items(), key=lambda one: partition_of(one[0][0]))
        for _, same in groupby(impressions, key=lambda one: partition_of(one[0][0])):
            here = list(same)
            for start in range(0, len(here), AT_ONCE):
                self._apply(here[start : start + AT_ONCE])
        for _, e in sorted(found, key=lambda row: row[0]):
            if e.type == EventType.CONVERSION and e.order_id and e.status != EventStatus.INVALID:
                self._claims[self._keys.order(e.shopper_key, e.order_id)] = f"{e.campaign_id}|{e.impression_id}"
        return len(found)

    def _apply(self, impressions: list[tuple[tuple[str, str], list[Row]]]) -> None:
        """One script for impressions of one partition."""
        args: list[str | int] = []
        for (campaign, _), entries in impressions:
            memory: Memory = {}
            for _, e in entries:
                self._note(e, remember(memory, e, sale=campaign not in self._no_sales))
            kept = [part for field, value in memory.items() if value is not None for part in (field, value)]
            gone = [field for field, value in memory.items() if value is None]
            # From the log time, which is never before the decision's: a little longer than settle.lua would.
            until_ms = max(ms + self._forgotten_after_ms[e.type] for ms, e in entries)
            args += [max(until_ms - self._now_ms, 1), len(kept) // 2, len(gone), *kept, *gone]
        self._restore(keys=[self._keys.impression(*of) for of, _ in impressions], args=args)

    def _note(self, e: Happened, wait: Wait) -> None:
        at = (e.impression_id, e.event_id)
        if wait is Wait.BEGINS:
            self._waiting.setdefault(e.campaign_id, _Waiting()).begun[at] = e
        elif wait is Wait.ENDS:
            self._waiting.setdefault(e.campaign_id, _Waiting()).ended.add(at)
        if e.type == EventType.CONVERSION and e.order_id and e.reason == "click":
            self._pending_orders[e.campaign_id, e.impression_id, e.order_id] = e.shopper_key

    def _set_due(self) -> None:
        """What was charged since is taken off the list, what began to wait is added at the end."""
        for campaign, waiting in self._waiting.items():
            name = self._keys.due(campaign)
            there = {self._due_at(orjson.loads(raw)): raw for raw in self._redis.lrange(name, 0, -1)}
            pipe = self._redis.pipeline(transaction=False)
            for at in waiting.ended & there.keys():
                pipe.lrem(name, 1, there[at])
            for at in [at for at in waiting.begun if at not in waiting.ended and at not in there]:
                pipe.rpush(name, self._due_entry(waiting.begun[at]))
                pipe.pexpire(name, budget_ttl_ms(self._market))
            pipe.execute()

    def _due_at(self, entry: list[str | int]) -> tuple[str, str]:
        return str(entry[4]).rpartition(":imp:")[2], str(entry[1])

    def _due_entry(self, e: Happened) -> str:
        """As settle.lua writes it."""
        passed_on = {name: value for name, value in e._asdict().items() if name not in OF_THE_SCRIPT}
        fields = [text for name, value in passed_on.items() for text in (name, "" if value is None else str(value))]
        head = [e.price_micros, e.event_id, str(e.time_ms), e.order_id, self._keys.impression(e.campaign_id, e.impression_id)]
        return orjson.dumps([*head, *fields]).decode()

    def _claim_orders(self, live: bool) -> None:
        """An order counts for the impression whose conversion was accepted last: an earlier one had waited, and gave way."""
        pipe = self._redis.pipeline(transaction=False)
        for name, impression in self._claims.items():
            pipe.set(name, impression, px=accepted_for_ms(EventType.RETURN, self._market), nx=live)
        pipe.execute()
        self._claims.clear()

    def _drop_what_gave_way(self) -> None:
        """A conversion that waited for its click until another impression of its order had one: see cancel_waiting.lua."""
        for (campaign, impression, order), shopper in self._pending_orders.items():
            claimed = self._redis.get(self._keys.order(shopper, order))
            if claimed is not None and claimed != f"{campaign}|{impression}":
                name, what = self._keys.impression(campaign, impression), field_of(EventType.CONVERSION, order)
                if self._redis.hexists(name, f"w:{what}"):
                    self._redis.hdel(name, f"w:{what}", what)
