"""A Redis whose data may be lost, older than it was, or just the same: rebuilds the money from the ledger, then opens it.

What is rebuilt, in this order, so that it can be interrupted at any point and repeated:

    1. the budgets of days before yesterday are closed, so that nothing is charged on them before 6
    2. what was accepted of impressions since yesterday, and of orders for as long as tokens are good: nothing is charged twice
    3. the ids of the streams, which go on after what is archived
    4. the budgets of yesterday, today and tomorrow: `spent` is the ledger's sum and the tail of the stream that is not archived
    5. the server is verified, gateways talk to it
    6. what was accepted of impressions of earlier days, then their budgets

A hold that is still there is kept. Nobody but the repair writes to the server before 5, and to no budget that is not open.
Interrupted after 5, it goes on with 6.
"""

import time
import uuid
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import redis

from domain.clock import budget_day
from domain.errors import Unavailable
from domain.keys import LIFETIME, PARTITIONS, Keys, partition_of
from features.log_archive import DECISIONS, EVENTS, ORIGIN, StreamId, archived, begun_ms
from features.market import Market
from serving.budget_days import has_total, limit_micros, span
from serving.ledger.books import At, Charged, LedgerBooks
from serving.ledger.reconcile import Days, time_ms
from serving.repair.budgets import close_budgets, open_budgets
from serving.repair.impressions import ImpressionMemory
from serving.repair.rows import LostEvents
from serving.repair.servers import UNFINISHED, last_id, run_ids, verified, verify
from serving.repair.trust import check_books, check_written
from store import server_of

LOCK_MS = 20_000
LEAD = (Path(__file__).parents[1] / "lua" / "lead.lua").read_text("utf-8")
RESIGN = (Path(__file__).parents[1] / "lua" / "resign.lua").read_text("utf-8")


@dataclass(slots=True)
class Repaired:
    """What a repair did."""

    corrected: dict[At, tuple[int, int]] = field(default_factory=dict)
    """Budgets whose `spent` was wrong: what it was, and what it is."""
    entries: int = 0
    """Archived events that Redis had lost."""
    budgets: int = 0
    seconds: float = 0.0


class Repair:
    """Repairs the servers of one market from one archive.

    Args:
      client: decodes responses.
      log_dir: the archive, with the ledger.
    """

    def __init__(self, client: "redis.Redis", market: Market, log_dir: Path) -> None:
        self._redis, self._market, self._log_dir = client, market, log_dir
        self._keys = Keys(market.name)
        self._name = uuid.uuid4().hex
        self._lead, self._resign = client.register_script(LEAD), client.register_script(RESIGN)

    def run(self) -> Repaired:
        """Makes the money right and opens it. Errors as in `steps`."""
        done = Repaired()
        for _ in self.steps(done):
            pass
        return done

    def steps(self, done: Repaired) -> Generator[None, None, None]:
        """Makes the money right and opens it: up to the first step all that selling needs, with each other some of earlier days.

        Raises:
          Unavailable: not now: another repairs, the archiver has not written yet what it read, or the ledger cannot be read.
          ContractError: the archive is another market's, or not that of this Redis.
          redis.RedisError: Redis is away. After any of these, if before the first step, the server is not verified. Repeating
            goes on.
        """
        begun = time.monotonic()
        servers = run_ids(self._redis)
        check_written(self._redis, self._keys, self._log_dir, servers)
        self._hold_lock()
        try:
            with LedgerBooks(self._log_dir, must_exist=False) as books:
                now_ms = time_ms(self._redis, self._keys)
                days = Days.at(now_ms, self._market)
                gone = {campaign for campaign, day in books.limits(days.first) if day == LIFETIME}
                charged = books.charged(days.first, gone | {c.id for c in self._market.campaigns if has_total(c)})
                check_books(self._redis, self._keys, self._log_dir, charged)
                known = verified(self._redis, self._keys)
                lost = self._lost(charged, known)
                limits = self._limits(days, books, charged)
                earlier = {at: limit for at, limit in limits.items() if at[1] not in (LIFETIME, *days.current(at[0]))}
                open_from_ms = min(
                    (span(self._market, *at)[0] for at in limits if at not in earlier and at[1] != LIFETIME), default=now_ms
                )
                events = LostEvents(self._log_dir, self._market, lost, now_ms, open_from_ms)
                memory = ImpressionMemory(self._redis, self._market, now_ms, self._hold_lock)
                if not (known >= {*servers, UNFINISHED}):
                    if lost:
                        self._redis.sadd(self._keys.verified, UNFINISHED)
                        close_budgets(self._redis, self._market, earlier)
                    done.entries = memory.add(events.first())
                    for partition in lost:
                        done.entries += memory.add_tail(self._keys.events(partition), charged.position(partition))
                    memory.finish(live=False)
                    self._continue_streams(charged)
                    self._open(done, books, charged, {at: limit for at, limit in limits.items() if at not in earlier})
                    if run_ids(self._redis) != servers:
                        raise Unavailable("redis", "it was restarted while it was repaired")
                    verify(self._redis, self._keys, servers)
                done.seconds = time.monotonic() - begun
                yield
                # Until it is over what belongs to earlier days finds a closed budget, and is reported again.
                for some in events.then():
                    done.entries += memory.add([some])
                    yield
                memory.finish(live=True)
                self._open(done, books, charged, earlier)
                self._redis.srem(self._keys.verified, UNFINISHED)
        finally:
            self._resign(keys=[self._keys.repairing], args=[self._name])

    def _hold_lock(self) -> None:
        if not self._lead(keys=[self._keys.repairing], args=[self._name, LOCK_MS]):
            raise Unavailable("ledger", "another process repairs the budgets")

    def _lost(self, charged: Charged, known: set[str]) -> dict[int, StreamId]:
        """Partitions whose stream ends before what is archived of it, and where it ends. All is lost where that says nothing:
        without verified servers, or where a repair has set the ends and was interrupted.
        """
        ends = self._stream_ends() if known and UNFINISHED not in known else {}
        return {p: ends.get(p, ORIGIN) for p, last in charged.last.items() if ends.get(p, ORIGIN) < last}

    def _stream_ends(self) -> dict[int, StreamId]:
        """Partition -> the last id that its stream gave out; absent where there is no such stream."""
        ends = {p: last_id(self._redis, self._keys.events(p)) for p in range(PARTITIONS)}
        return {p: last for p, last in ends.items() if last is not None}

    def _continue_streams(self, charged: Charged) -> None:
        """Ids that are archived are never given out again: the archiver would pass over their entries."""
        ends = {self._keys.events(p): charged.position(p) for p in range(PARTITIONS)}
        ends[self._keys.decisions] = archived(self._log_dir, DECISIONS).to(0)
        for name, last in ends.items():
            if last == ORIGIN:
                continue
            newest = last_id(self._redis, name)
            if newest is None:
                with server_of(self._redis, name).pipeline(transaction=True) as pipe:  # only a stream that there is has a last id
                    pipe.xadd(name, {"continues": "after the archive"}, id=str(last))
                    pipe.xdel(name, str(last))
                    pipe.execute()
            elif newest < last:
                server_of(self._redis, name).execute_command("XSETID", name, str(last))

    def _limits(self, days: Days, books: LedgerBooks, charged: Charged) -> dict[At, int | None]:
        """What to open: yesterday, today and tomorrow, and what was open or charged before, with its limit if that is known.

        Today and tomorrow have the limits of the market file. A campaign that is gone from it is charged no more than it was.
        """
        stored, current = books.limits(days.first), self._market.campaign_by_id
        wanted = {(c, day) for c in current for day in days.current(c)} | stored.keys() | charged.micros.keys()
        if not stored:  # books that were written anew do not know what was open
            first_ms = begun_ms(self._log_dir, EVENTS)
            begun = days.today if first_ms is None else budget_day(first_ms, self._market.policy.day_length_s)
            wanted |= {(c, day) for c in current for day in range(max(days.living, begun), days.today_of(c))}
        by_the_file = {at: limit_micros(current[at[0]], at[1]) if at[0] in current else 0 for at in wanted}
        return by_the_file | {at: limit for at, limit in stored.items() if at[0] not in current or self._is_past(at, days)}

    @staticmethod
    def _is_past(at: At, days: Days) -> bool:
        return LIFETIME != at[1] < days.today_of(at[0])

    def _open(self, done: Repaired, books: LedgerBooks, charged: Charged, limits: Mapping[At, int | None]) -> None:
        by_partition: list[dict[At, int | None]] = [{} for _ in range(PARTITIONS)]
        for at, limit in limits.items():
            by_partition[partition_of(at[0])][at] = limit
        for partition, here in enumerate(by_partition):
            self._hold_lock()
            charged, corrected = open_budgets(self._redis, self._market, partition, books, charged, here)
            done.corrected |= corrected
            done.budgets += len(here)
