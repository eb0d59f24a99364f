"""Reads the books beside whoever writes them: balances, positions, limits."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from domain.keys import LIFETIME
from features.log_archive import ORIGIN, StreamId
from ledger import Account, Balance, Kind
from serving.ledger.archive import parts_since
from serving.ledger.database import LedgerUnavailable, ledger_path, named_errors, open_empty, open_to_read, transaction
from serving.ledger.store import positions, posted

At = tuple[str, int]
"""Campaign and budget day, or `LIFETIME`."""


@dataclass(frozen=True, slots=True)
class Charged:
    """Net micros charged by campaign and budget day, and how far of each stream is in them."""

    since_day: int
    part: int
    last: Mapping[int, StreamId]
    micros: Counter[At]
    lifetimes: frozenset[str] = frozenset()
    """Campaigns of which all days are added up, too."""

    def position(self, partition: int) -> StreamId:
        """The last entry of a partition that is in the sums."""
        return self.last.get(partition, ORIGIN)


class LedgerBooks:
    """The books of one archive, read-only.

    Args:
      must_exist: or else, where there are none or no good ones, `charged` reads the archive instead, which takes longer, and all
        other methods find nothing.
    Raises, here and in every method:
      LedgerUnavailable: there are none, or they cannot be read.
    """

    def __init__(self, log_dir: Path, must_exist: bool = True) -> None:
        self._log_dir, self._path = log_dir, ledger_path(log_dir)
        try:
            self._db = open_to_read(self._path)
        except LedgerUnavailable:
            if must_exist:
                raise
            self._db = open_empty()

    def __enter__(self) -> "LedgerBooks":
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def charged(self, since_day: int, lifetimes: Iterable[str] = ()) -> Charged:
        """Days from `since_day` on, and of some campaigns all together; what is archived and not posted yet is in it, too."""
        lifetimes = frozenset(lifetimes)
        with self._instant() as db:
            part, last = posted(db), positions(db)
            query = (
                "SELECT campaign, day, -sum(posted_micros) FROM balances JOIN campaigns ON id = campaign_id"
                " WHERE day >= ? AND kind = 'advertiser' GROUP BY campaign, day"
            )
            sums: Counter[At] = Counter({(campaign, day): micros for campaign, day, micros in db.execute(query, (since_day,))})
            of_all = (
                "SELECT -sum(posted_micros) FROM balances WHERE kind = 'advertiser'"
                " AND campaign_id IN (SELECT id FROM campaigns WHERE campaign = ?)"
            )
            for campaign in lifetimes:
                sums[campaign, LIFETIME] = db.execute(of_all, (campaign,)).fetchone()[0] or 0
        charged = Charged(since_day, part, last, sums, lifetimes)
        return self.moved_on(charged) or charged

    def moved_on(self, before: Charged) -> Charged | None:
        """With what has been archived since, up to where streams may have been trimmed; None if that is nothing."""
        part, last, micros = before.part, dict(before.last), before.micros
        for archived, entries in parts_since(self._log_dir, before.part):
            if part == before.part:
                micros = micros.copy()
            for entry in entries:
                if entry.day >= before.since_day:
                    micros[entry.campaign, entry.day] += entry.charged_micros
                if entry.campaign in before.lifetimes:
                    micros[entry.campaign, LIFETIME] += entry.charged_micros
            part = archived.number
            last.update(archived.last)
        return replace(before, part=part, last=last, micros=micros) if part > before.part else None

    def limits(self, since_day: int) -> dict[At, int | None]:
        """What Redis last said of each budget, and of every lifetime; None where there is no limit."""
        with self._instant() as db:
            rows = db.execute(
                "SELECT campaign, day, limit_micros FROM limits WHERE day >= ? OR day = ?", (since_day, LIFETIME)
            ).fetchall()
        return {(campaign, day): micros for campaign, day, micros in rows}

    def balances(self, since_day: int = 0, until_day: int = 2**62) -> Iterator[tuple[Account, Balance]]:
        """All accounts of these budget days, both included, by day and campaign."""
        with self._instant() as db:
            query = (
                "SELECT kind, campaign, advertiser, day, reason, posted_micros, pending_micros"
                " FROM balances JOIN campaigns ON id = campaign_id WHERE day BETWEEN ? AND ? ORDER BY day, campaign, kind, reason"
            )
            for kind, campaign, advertiser, day, reason, *micros in db.execute(query, (since_day, until_day)):
                yield Account(Kind(kind), campaign, advertiser, day, reason), Balance(*micros)

    def postings(self, since_day: int, until_day: int, at_once: int) -> Iterator[list[tuple[object, ...]]]:
        """The postings of these budget days, both included, as rows of `export.SCHEMA`."""
        with self._instant() as db:
            query = (
                "SELECT partition, ms || '-' || seq, step, state, account, campaign, advertiser, day, micros, reason"
                " FROM postings WHERE day BETWEEN ? AND ?"
            )
            cursor = db.execute(query, (since_day, until_day))
            while rows := cursor.fetchmany(at_once):
                yield rows

    def refused(self) -> int:
        """How many entries the books refused."""
        with self._instant() as db:
            return int(db.execute("SELECT count(*) FROM refusals").fetchone()[0])

    @contextmanager
    def _instant(self) -> Iterator[sqlite3.Connection]:
        with named_errors(self._path), transaction(self._db, "DEFERRED"):
            yield self._db


def since_and_lifetimes(budgets: Iterable[At]) -> tuple[int, set[str]]:
    """The first day among budgets, and the campaigns of which all days are: what `LedgerBooks.charged` is asked for."""
    some = list(budgets)
    since = min((day for _, day in some if day != LIFETIME), default=2**62)
    return since, {campaign for campaign, day in some if day == LIFETIME}
