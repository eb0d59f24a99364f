"""The books on disk: loads what a batch may touch, lets `ledger.Book` post it, and writes what is new, all or nothing."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from domain.events import EventStatus, EventType
from domain.keys import LIFETIME, partition_of
from features.log_archive import ORIGIN, StreamId
from ledger import Account, Balance, Book, Entry, Key, Kind, Pending, State
from serving.ledger.database import named_errors, open_to_write, transaction

_Owner = tuple[str, str]
"""Campaign and advertiser."""


class LedgerStore:
    """The one writer of a market's books: the archiver, which holds the lock of the archive.

    Raises, here and in every method:
      LedgerDamaged: the file has to be written anew.
      LedgerUnavailable: full disk, locked, no permission; nothing of the call was written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = open_to_write(path)
        self._ids: dict[_Owner, int] = {}

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def posted(self) -> int:
        """Number of the last part of the archive that is posted; 0 before the first."""
        with named_errors(self.path):
            return posted(self._db)

    def post(self, part: int, entries: Sequence[Entry], last: Mapping[int, StreamId]) -> Book:
        """Posts what is new of a part's entries, those of a partition in their stream's order.

        Args:
          entries: those that move no money may be left out.
          last: partition -> the last entry that is archived with this part.
        Returns:
          The book with the transfers and refusals that were added.
        """
        with self._transaction():
            at = positions(self._db)
            book = Book(last={p: Key(p, *entry) for p, entry in at.items()})
            self._load(book, entries)
            before = dict(book.balances), dict(book.pendings)
            for entry in entries:
                book.post(entry)
            self._write(book, *before)
            after = [(p, *max(entry, at.get(p, ORIGIN))) for p, entry in last.items()]
            self._db.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?, ?)", after)
            if part > posted(self._db):
                self._db.execute("DELETE FROM posted")
                self._db.execute("INSERT INTO posted VALUES (?)", (part,))
        return book

    def expire(self, before_ms: int) -> int:
        """Expires what has been pending since before `before_ms`, and forgets what was resolved as long ago; how much expired."""
        with self._transaction():
            query = f"SELECT {_PENDING} FROM {_PENDINGS} WHERE ms < ? AND state = 'pending'"
            book = Book(pendings={subject: _pending(row) for subject, *row in self._db.execute(query, (before_ms,))})
            self._load_balances(book, {(p.campaign, p.advertiser, p.day) for p in book.pendings.values()})
            before = dict(book.balances), dict(book.pendings)
            expired = book.expire(before_ms)
            self._write(book, *before)
            self._db.execute("DELETE FROM pendings WHERE ms < ? AND state <> 'pending'", (before_ms,))
        return expired

    def mirror(
        self, held: Mapping[tuple[str, str, int], int], limits: Mapping[tuple[str, int], int | None], since_day: int
    ) -> None:
        """Takes over what Redis holds by campaign, advertiser and day, and its limits; forgets limits of older days."""
        with self._transaction():
            book = Book()
            self._load_balances(book, held)
            before = dict(book.balances)
            book.mirror_holds(held)
            self._write(book, before, {})
            first = min((day for _, day in limits), default=since_day)
            query = "SELECT campaign, day, limit_micros FROM limits WHERE day >= ?"
            known = {(c, d): micros for c, d, micros in self._db.execute(query, (first,))}
            changed = [(*at, micros) for at, micros in limits.items() if at not in known or known[at] != micros]
            self._db.executemany("INSERT OR REPLACE INTO limits VALUES (?, ?, ?)", changed)
            self._db.execute("DELETE FROM limits WHERE day < ? AND day <> ?", (since_day, LIFETIME))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with named_errors(self.path), transaction(self._db):
                yield
        except BaseException:
            self._ids.clear()  # some may have been rolled back
            raise

    def _load(self, book: Book, entries: Sequence[Entry]) -> None:
        touched = {(e.campaign, e.advertiser, e.day) for e in entries}
        query = f"SELECT {_PENDING} FROM {_PENDINGS} WHERE subject = ?"
        for name in {e.subject for e in entries if e.type == EventType.CHARGE or e.status == EventStatus.PENDING}:
            for subject, *row in self._db.execute(query, (name,)):
                book.pendings[subject] = pending = _pending(row)
                touched.add((pending.campaign, pending.advertiser, pending.day))
        self._load_balances(book, touched)

    def _load_balances(self, book: Book, touched: Iterable[tuple[str, str, int]]) -> None:
        query = "SELECT kind, reason, posted_micros, pending_micros FROM balances WHERE campaign_id = ? AND day = ?"
        for campaign, advertiser, day in touched:
            for kind, reason, *micros in self._db.execute(query, (self._id(campaign, advertiser), day)):
                book.balances[Account(Kind(kind), campaign, advertiser, day, reason)] = Balance(*micros)

    def _write(self, book: Book, balances: Mapping[Account, Balance], pendings: Mapping[str, Pending]) -> None:
        """What differs from before."""
        self._db.executemany(
            "INSERT INTO transfers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (*t.key, t.state, t.debit, t.credit, self._id(t.campaign, t.advertiser), t.day, t.micros, t.reason)
                + ((t.resolves.key.ms, t.resolves.key.seq) if t.resolves else (None, None))
                for t in book.transfers
            ),
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO refusals VALUES (?, ?, ?, ?, ?, ?, ?)",
            ((*r.key[:3], r.result, r.campaign, r.day, r.micros) for r in book.refusals),
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO balances VALUES (?, ?, ?, ?, ?, ?)",
            (
                (self._id(a.campaign, a.advertiser), a.day, a.kind, a.reason, *balance)
                for a, balance in book.balances.items()
                if balances.get(a) != balance
            ),
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO pendings VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (subject, *p.key[:3], self._id(p.campaign, p.advertiser), p.day, p.micros, p.state)
                for subject, p in book.pendings.items()
                if pendings.get(subject) != p
            ),
        )

    def _id(self, campaign: str, advertiser: str) -> int:
        found = self._ids.get((campaign, advertiser))
        if found is None:
            owner = campaign, advertiser
            self._db.execute(
                "INSERT OR IGNORE INTO campaigns (campaign, advertiser, partition) VALUES (?, ?, ?)",
                (*owner, partition_of(campaign)),
            )
            (found,) = self._db.execute("SELECT id FROM campaigns WHERE campaign = ? AND advertiser = ?", owner).fetchone()
            self._ids[owner] = int(found)
        return int(found)


def posted(db: sqlite3.Connection) -> int:
    """Number of the last part that is in the books."""
    return int(db.execute("SELECT coalesce(max(part), 0) FROM posted").fetchone()[0])


def positions(db: sqlite3.Connection) -> dict[int, StreamId]:
    """Partition -> the last entry that is in the books, or moves no money; absent before the first."""
    return {p: StreamId(ms, seq) for p, ms, seq in db.execute("SELECT partition, ms, seq FROM positions")}


_PENDING = "subject, pendings.partition, ms, seq, campaign, advertiser, day, micros, state"
_PENDINGS = "pendings JOIN campaigns ON campaigns.id = campaign_id"


def _pending(row: Sequence[object]) -> Pending:
    partition, ms, seq, campaign, advertiser, day, micros, state = row
    return Pending(Key(partition, ms, seq), campaign, advertiser, day, micros, State(str(state)))  # type: ignore[arg-type]
