"""Decisions and events in the Parquet archive, looked for by DuckDB, bounded in rows and in seconds.

Parts are opened in batches that grow, of decisions the newest first, of events the oldest: what is near is found at once in an
archive of any length. A part that cannot be read is named, and the rest goes on.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import duckdb

from features.log_archive import DECISIONS, EVENTS, Part, parts_by_hour
from monitoring.dashboard.answers import LATEST_MS
from monitoring.dashboard.statistics import Json
from store.sqlite import FileUnavailable

CLOCKS_DIFFER_MS = 3_600_000
"""An entry is logged this much before or after the time it bears, at most."""
FIRST_BATCH, LARGEST_BATCH = 8, 256
AT_ONCE, WAIT_S = 2, 1.0
"""Searches, of all who look at the page, and how long a third waits: meanwhile it keeps a thread from the other views."""
MEMORY = "128MB"
MOST_NAMED = 5
"""Parts that could not be read, of which each is named."""
_BRIEF = ("decision_id", "time_ms", "release", "shopper_key", "explored", "degraded", "invalid", "total_us", "slots")
_WHOLE = (*_BRIEF, "day", "policy_id", "asked_by", "features", "candidates", "stage_us")
_EVENT = ("event_id", "type", "status", "charged_micros", "price_micros", "impression_id", "offer_id", "campaign_id", "time_ms")
_EVENT_BESIDE = ("position", "value_micros", "reason", "order_id", "shopper_key")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a decision has to be like; "" and none ask nothing."""

    id: str = ""
    """Of the decision, or of one of its impressions."""
    shopper: str = ""
    offer: str = ""
    campaign: str = ""
    offers_of_campaign: tuple[str, ...] = ()
    """Known from the market: of candidates the log has the offer alone."""
    since_ms: int = 0
    until_ms: int = LATEST_MS

    def condition(self) -> tuple[str, list[object]]:
        """SQL over a decision's columns, and its values."""
        said: list[str] = ["time_ms BETWEEN ? AND ?"]
        values: list[object] = [self.since_ms, self.until_ms]
        if self.id:
            # An impression is named by its decision and its slot.
            decision, _, slot = self.id.rpartition("-")
            said.append("decision_id IN (?, ?)")
            values += [self.id, decision if decision and slot.isdecimal() else self.id]
        if self.shopper:
            said.append("shopper_key = ?")
            values.append(self.shopper)
        if self.offer:
            said.append("(list_contains([s.offer_id for s in slots], ?) OR list_contains(candidates.offer_id, ?))")
            values += [self.offer, self.offer]
        if self.campaign:
            said.append("(list_contains([s.campaign_id for s in slots], ?) OR list_has_any(candidates.offer_id, ?))")
            values += [self.campaign, list(self.offers_of_campaign)]
        return " AND ".join(said), values


@dataclass(slots=True)
class Found:
    """What was found, and how far was looked."""

    rows: list[Json] = field(default_factory=list)
    looked_to_ms: int | None = None
    """As far as was looked; none where it was to the end."""
    parts: int = 0
    """Looked through."""
    unreadable: list[str] = field(default_factory=list)


class Archive:
    """One archive.

    Args:
      seconds: how long one search may take.
    """

    def __init__(self, log_dir: Path | None, seconds: float = 5.0) -> None:
        self._log_dir, self._seconds = log_dir, seconds
        self._free = threading.BoundedSemaphore(AT_ONCE)

    def search(self, wanted: Wanted, limit: int) -> Found:
        """Decisions, newest first, without what they weighed.

        Raises:
          FileUnavailable: there is no archive, or others search it.
        """
        return self._look(DECISIONS, _BRIEF, wanted.condition(), (wanted.since_ms, wanted.until_ms), limit)

    def decision(self, decision_id: str, at_ms: int | None) -> tuple[Json | None, Found]:
        """One decision as it was logged, and how far was looked for it; errors as of `search`.

        Args:
          at_ms: when it was made, where that is known.
        """
        wanted = Wanted(id=decision_id) if at_ms is None else Wanted(decision_id, since_ms=at_ms, until_ms=at_ms)
        found = self._look(DECISIONS, _WHOLE, wanted.condition(), (wanted.since_ms, wanted.until_ms), 1)
        return (found.rows[0] if found.rows else None), found

    def events(self, decision_id: str, since_ms: int, until_ms: int, limit: int) -> Found:
        """What was reported of a decision between two times, oldest first; errors as of `search`."""
        condition = ("decision_id = ? AND time_ms BETWEEN ? AND ?", [decision_id, since_ms, until_ms])
        return self._look(EVENTS, (*_EVENT, *_EVENT_BESIDE), condition, (since_ms, until_ms), limit)

    def _look(
        self, log: str, names: Sequence[str], condition: tuple[str, list[object]], span: tuple[int, int], limit: int
    ) -> Found:
        if self._log_dir is None:
            raise FileUnavailable("archive", "OFFERRANK_LOG_DIR names no archive")
        if not self._free.acquire(timeout=WAIT_S):
            raise FileUnavailable("archive", f"{AT_ONCE} searches are under way: try again")
        try:
            ends = time.monotonic() + self._seconds
            since_ms, until_ms = max(span[0] - CLOCKS_DIFFER_MS, 0), span[1] + CLOCKS_DIFFER_MS
            query = _Query(names, condition, newest_first=log == DECISIONS)
            hours = parts_by_hour(self._log_dir, log, since_ms, until_ms, query.newest_first)
            with _connected(self._log_dir, ends) as db:
                return _batch_by_batch(db, chain.from_iterable(hours), query, limit, ends)
        finally:
            self._free.release()


@dataclass(frozen=True, slots=True)
class _Query:
    """What is asked of each batch of parts."""

    names: Sequence[str]
    """Columns; parts of before lack some of them."""
    condition: tuple[str, list[object]]
    newest_first: bool

    def rows(self, db: Any, batch: list[Part], limit: int, unreadable: list[str]) -> list[Json]:
        """At most so many rows of some parts, in order; where the parts cannot be read together, of each alone."""
        where, values = self.condition
        query = (
            f"SELECT COLUMNS('^({'|'.join(self.names)})$')"
            " FROM read_parquet(?, union_by_name = true, hive_partitioning = false)"
            f" WHERE {where} ORDER BY time_ms {'DESC' if self.newest_first else 'ASC'} LIMIT ?"
        )
        try:
            answer = db.execute(query, [[str(part.path) for part in batch], *values, limit])
            columns = [column[0] for column in answer.description]
            return [dict(zip(columns, row, strict=True)) for row in answer.fetchall()]
        except duckdb.InterruptException:
            raise
        except duckdb.Error as e:
            if len(batch) == 1:
                path = batch[0].path
                if len(unreadable) < MOST_NAMED:
                    why = str(e).splitlines()[0].replace(f"File '{path}' ", "").replace(str(path.parent), "")
                    unreadable.append(f"{path.name}: {why[:200]}")
                return []
        apart = [row for part in batch for row in self.rows(db, [part], limit, unreadable)]
        return sorted(apart, key=lambda row: int(row["time_ms"]), reverse=self.newest_first)[:limit]


def _batch_by_batch(db: Any, known: Iterator[Part], query: _Query, limit: int, ends: float) -> Found:
    """Args: known: parts in the order of the query."""
    found, size, batch = Found(), FIRST_BATCH, list(islice(known, FIRST_BATCH))
    while batch and len(found.rows) < limit and time.monotonic() < ends:
        try:
            found.rows += query.rows(db, batch, limit - len(found.rows), found.unreadable)
        except duckdb.InterruptException:
            break
        found.parts += len(batch)
        size = min(2 * size, LARGEST_BATCH)
        batch = list(islice(known, size))
    if len(found.rows) >= limit:
        found.looked_to_ms = found.rows[-1]["time_ms"]
    elif batch:
        found.looked_to_ms = batch[0].last_ms if query.newest_first else batch[0].first_ms
    return found


@contextmanager
def _connected(log_dir: Path, ends: float) -> Iterator[Any]:
    """A database in memory that may read the archive and nothing else, and is interrupted when its time is over."""
    with duckdb.connect(":memory:", config={"threads": 1, "memory_limit": MEMORY, "temp_directory": ""}) as db:
        db.execute("SET allowed_directories = [$dir]", {"dir": str(log_dir)})
        db.execute("SET enable_external_access = false")
        db.execute("SET lock_configuration = true")
        timer = threading.Timer(max(ends - time.monotonic(), 0.01), db.interrupt)
        timer.start()
        try:
            yield db
        finally:
            timer.cancel()
            timer.join()
