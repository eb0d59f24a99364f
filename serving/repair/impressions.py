"""Gives Redis the memory of what happened to impressions, from the archive, so that no old token is charged twice."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import redis

from domain.campaign import BidKind
from domain.events import EventStatus, EventType
from domain.keys import PARTITIONS, Keys, partition_of
from features.log_archive import StreamId
from features.market import Market
from serving.budget_days import budget_ttl_ms
from serving.gateway.event_window import accepted_for_ms
from serving.repair.memory import Happened, Memory, Wait, field_of, happened, remember
from serving.repair.rows import Row, forgotten_after_ms

AT_ONCE = 200
"""Impressions per script, a millisecond during which Redis serves nobody else."""
LUA = Path(__file__).parents[1] / "lua"
OF_THE_SCRIPT = ("type", "status", "charged_micros", "price_micros", "day", "event_id", "order_id", "reason", "time_ms")
"""Fields of an entry that settle.lua adds by itself; the others it passes on."""
_Call = tuple[list[str], list[str | int]]
"""Keys and arguments of a script."""


@dataclass(slots=True)
class _Waiting:
    """What the entries read so far say of the conversions of a campaign that wait for a budget with room."""

    begun: dict[tuple[str, str], Happened] = field(default_factory=dict)
    ended: set[tuple[str, str]] = field(default_factory=set)


class ImpressionMemory:
    """Rebuilds the hashes `imp`, the lists `due` and the claims `order` of a Redis that nobody else writes to.

    `finish` completes what was added. Repeating it, also after it was interrupted, changes nothing more. Memory is bounded by a
    batch of rows, and by the conversions that name an order or wait.

    Args:
      client: decodes responses.
      going: called now and then; raises if this has to end.
    """

    def __init__(self, client: "redis.Redis", market: Market, now_ms: int, going: Callable[[], None]) -> None:
        self._redis, self._market, self._now_ms, self._going = client, market, now_ms, going
        self._keys = Keys(market.name)
        self._restore, self._cancel = (
            client.register_script((LUA / name).read_text("utf-8")) for name in ("restore_memory.lua", "cancel_waiting.lua")
        )
        self._no_sales = {c.id for c in market.campaigns if c.bid_kind is not BidKind.CPA}
        self._forgotten_after_ms = {str(kind): forgotten_after_ms(kind, market) for kind in EventType}
        self._waiting: dict[str, _Waiting] = {}
        self._claims: dict[str, str] = {}
        self._pending_orders: dict[tuple[str, str, str], str] = {}

    def add(self, found: Iterable[list[Row]]) -> int:
        """Applies what was lost: that about orders in its stream's order, all else in any. How many entries that were.

        Raises:
          redis.RedisError: Redis is away.
        """
        applied, under_way = 0, Future[None]()
        under_way.set_result(None)
        with ThreadPoolExecutor(1) as writer:  # Redis has work while the next ones are read
            for some in found:
                self._going()
                calls = self._calls(some)
                under_way.result()
                under_way = writer.submit(self._apply, calls)
                applied += len(some)
            under_way.result()
        return applied

    def add_tail(self, stream: str, since: StreamId) -> int:
        """Applies what a stream holds beyond the archive, but for malformed entries; how many that were."""
        applied, last = 0, str(since)
        while entries := self._redis.xrange(stream, min=f"({last}", count=AT_ONCE):
            self._going()
            last = entries[-1][0]
            parsed = ((StreamId.parse(i).ms, happened(fields)) for i, fields in entries)
            some = [(ms, e) for ms, e in parsed if e is not None]
            self._apply(self._calls(some))
            applied += len(some)
        return applied

    def finish(self, live: bool) -> None:
        """Applies what follows from all that was applied.

        Args:
          live: others write to Redis again, and this is older than all that was finished before.
        """
        self._set_due()
        self._claim_orders(live)
        self._drop_what_gave_way()

    def _apply(self, calls: list[_Call]) -> None:
        for keys, args in calls:
            self._restore(keys=keys, args=args)

    def _calls(self, found: list[Row]) -> list[_Call]:
        impressions: list[dict[tuple[str, str], list[Row]]] = [{} for _ in range(PARTITIONS)]
        for row in found:
            _, e = row
            impressions[partition_of(e.campaign_id)].setdefault((e.campaign_id, e.impression_id), []).append(row)
            if e.type == EventType.CONVERSION and e.order_id and e.status != EventStatus.INVALID:
                self._claims[self._keys.order(e.shopper_key, e.order_id)] = f"{e.campaign_id}|{e.impression_id}"
        return [
            self._call(here[start : start + AT_ONCE])
            for here in (list(one.items()) for one in impressions)
            for start in range(0, len(here), AT_ONCE)
        ]

    def _call(self, impressions: list[tuple[tuple[str, str], list[Row]]]) -> _Call:
        args: list[str | int] = []
        for (campaign, _), entries in impressions:
            memory: Memory = {}
            until_ms = self._now_ms + 1
            for ms, e in entries:
                self._note(e, remember(memory, e, sale=campaign not in self._no_sales))
                # From the log time, which is never before the decision's: a little longer than settle.lua would.
                until_ms = max(until_ms, ms + self._forgotten_after_ms[e.type])
            kept = [part for field, value in memory.items() if value is not None for part in (field, value)]
            args += [until_ms - self._now_ms, len(kept) // 2, *kept]
        return [self._keys.impression(*of) for of, _ in impressions], args

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
        names = {campaign: self._keys.due(campaign) for campaign in self._waiting}
        pipe = self._redis.pipeline(transaction=False)
        for name in names.values():
            pipe.lrange(name, 0, -1)
        for (campaign, name), entries in zip(names.items(), pipe.execute(), strict=True):
            there, waiting = {self._due_at(orjson.loads(raw)): raw for raw in entries}, self._waiting[campaign]
            for at in waiting.ended & there.keys():
                pipe.lrem(name, 1, there[at])
            for at in [at for at in waiting.begun if at not in waiting.ended and at not in there]:
                pipe.rpush(name, self._due_entry(waiting.begun[at]))
                pipe.pexpire(name, budget_ttl_ms(self._market))
            waiting.begun.clear()  # the next may find it charged already, and off the list
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
        pipe = self._redis.pipeline(transaction=False)
        for (_, _, order), shopper in self._pending_orders.items():
            pipe.get(self._keys.order(shopper, order))
        for (campaign, impression, order), claimed in zip(self._pending_orders, pipe.execute(), strict=True):
            if claimed is not None and claimed != f"{campaign}|{impression}":
                self._cancel(keys=[self._keys.impression(campaign, impression)], args=[field_of(EventType.CONVERSION, order)])
        self._pending_orders.clear()
