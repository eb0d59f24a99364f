"""What each receiver has still to be told: the history beyond where it has got to, one change of an incident at a time.

A change that is being told is leased: another process leaves it alone for a minute, and one that was killed over it is followed
by whoever comes next. So each is told at least once.

A storm is more changes within an hour than anybody reads. Of one a receiver hears in digests, each of all that waits, and of
service levels one by one: they are few, and cannot wait.
"""

import sqlite3
from dataclasses import dataclass
from typing import Any, Final

LEASE_MS: Final = 60_000
FIRST_WAIT_MS: Final = 5_000
LONGEST_WAIT_MS: Final = 600_000
PATIENCE_MS: Final = 3 * 86_400_000
"""After which nobody needs to be told any more."""
LONGEST_ERROR: Final = 200
STORM: Final = 10
"""Changes within an hour, or waiting at once, that are told one by one; more are a storm."""
STORM_MS: Final = 3_600_000
DIGEST_MS: Final = 300_000
"""Least time from one message of a storm to the next."""
LONGEST_DIGEST: Final = 500
_ALONE = "i.series_kind = 'level'"
_WAITING = (
    "deliveries AS d JOIN history AS h USING (seq) JOIN incidents AS i ON i.id = h.incident_id"
    " WHERE d.receiver = ? AND d.done_ms IS NULL"
)
Row = tuple[int, int, str, str, str]
"""seq, at_ms, change, note, told."""
_LONGEST_MS = LONGEST_WAIT_MS + LEASE_MS
_DUE = "(due_ms <= ? OR due_ms > ?)"  # what is due later than any wait lasts was written by a clock that was wrong


@dataclass(frozen=True, slots=True)
class Task:
    """One change, or all that waits in a storm, leased to be told to one receiver."""

    receiver: str
    rows: tuple[Row, ...]
    attempts: int
    """With this one."""
    live: int = 0
    """Incidents that are not closed."""


def enlist(db: sqlite3.Connection, receiver: str, now_ms: int) -> None:
    """A new receiver hears what is open, and whatever happens from now on. Within the caller's transaction."""
    if db.execute("SELECT 1 FROM receivers WHERE name = ?", (receiver,)).fetchone():
        return
    db.execute("INSERT INTO receivers SELECT ?, coalesce(max(seq), 0) FROM history", (receiver,))
    db.execute(
        "INSERT INTO deliveries SELECT ?, max(seq), 0, ?, ?, NULL, '' FROM history JOIN incidents ON id = incident_id"
        " WHERE told IS NOT NULL AND state IN ('open', 'acknowledged') GROUP BY incident_id",
        (receiver, now_ms, now_ms),
    )


def is_idle(db: sqlite3.Connection, receiver: str, now_ms: int) -> bool:
    """Whether there is nothing to claim; looked at without writing."""
    row = db.execute("SELECT seq FROM receivers WHERE name = ?", (receiver,)).fetchone()
    if row is None:
        return False
    (new,) = db.execute("SELECT EXISTS (SELECT 1 FROM history WHERE seq > ?)", row).fetchone()
    query = f"SELECT EXISTS (SELECT 1 FROM deliveries WHERE receiver = ? AND done_ms IS NULL AND {_DUE})"
    (due,) = db.execute(query, (receiver, now_ms, now_ms + _LONGEST_MS)).fetchone()
    return not (new or due)


def claim(db: sqlite3.Connection, receiver: str, now_ms: int) -> Task | None:
    """What is to be told next, if anything is due. Within the caller's transaction."""
    (seq,) = db.execute("SELECT seq FROM receivers WHERE name = ?", (receiver,)).fetchone()
    db.execute(
        "INSERT OR IGNORE INTO deliveries SELECT ?, seq, 0, ?, ?, NULL, '' FROM history WHERE seq > ? AND told IS NOT NULL",
        (receiver, now_ms, now_ms, seq),
    )
    db.execute("UPDATE receivers SET seq = (SELECT coalesce(max(seq), 0) FROM history) WHERE name = ?", (receiver,))
    storm = _is_storm(db, receiver, now_ms)
    found = _next(db, receiver, now_ms, f"AND {_ALONE}" if storm else "")
    if not found and storm:
        found = _digest(db, receiver, now_ms)
    if not found:
        return None
    attempts = 1 + max(int(row[5]) for row in found)
    update = "UPDATE deliveries SET attempts = ?, due_ms = ? WHERE receiver = ? AND seq = ?"
    db.executemany(update, [(attempts, now_ms + LEASE_MS, receiver, row[0]) for row in found])
    (live,) = db.execute("SELECT count(*) FROM incidents WHERE state <> 'closed'").fetchone()
    return Task(receiver, tuple(row[:5] for row in found), attempts, live)


def done(db: sqlite3.Connection, task: Task, now_ms: int) -> None:
    """It was taken."""
    update = "UPDATE deliveries SET done_ms = ?, error = '' WHERE receiver = ? AND seq = ?"
    db.executemany(update, [(now_ms, task.receiver, row[0]) for row in task.rows])


def failed(db: sqlite3.Connection, task: Task, now_ms: int, error: str, wait_ms: int | None = None) -> None:
    """It was not: it is tried again after 5 s, 10 s, ... 10 minutes, for three days."""
    backoff = min(FIRST_WAIT_MS << min(task.attempts - 1, 16), LONGEST_WAIT_MS)
    due_ms = now_ms + min(max(backoff, wait_ms or 0), LONGEST_WAIT_MS)
    given_up = [now_ms if now_ms - row[1] > PATIENCE_MS else None for row in task.rows]
    update = "UPDATE deliveries SET due_ms = ?, error = ?, done_ms = ? WHERE receiver = ? AND seq = ?"
    settled = zip(task.rows, given_up, strict=True)
    db.executemany(update, [(due_ms, error[:LONGEST_ERROR], gone, task.receiver, row[0]) for row, gone in settled])


def _next(db: sqlite3.Connection, receiver: str, now_ms: int, which: str) -> list[Any]:
    """The oldest that is due, of an incident of which nothing older waits."""
    query = (
        f"SELECT d.seq, h.at_ms, h.change, h.note, h.told, d.attempts FROM {_WAITING} AND {_DUE} {which} AND NOT EXISTS ("
        "  SELECT 1 FROM deliveries AS o JOIN history AS p USING (seq)"
        "  WHERE o.receiver = d.receiver AND o.done_ms IS NULL AND p.incident_id = h.incident_id AND o.seq < d.seq)"
        " ORDER BY d.seq LIMIT 1"
    )
    return db.execute(query, (receiver, now_ms, now_ms + _LONGEST_MS)).fetchall()


def _is_storm(db: sqlite3.Connection, receiver: str, now_ms: int) -> bool:
    query = f"SELECT count(*) FROM {_WAITING} AND NOT {_ALONE}"
    (waiting,) = db.execute(query, (receiver,)).fetchone()
    query = "SELECT count(*) FROM history WHERE told IS NOT NULL AND at_ms > ? AND at_ms <= ?"
    (lately,) = db.execute(query, (now_ms - STORM_MS, now_ms)).fetchone()
    return bool(waiting) and max(waiting, lately) > STORM


def _digest(db: sqlite3.Connection, receiver: str, now_ms: int) -> list[Any]:
    """All that waits, unless the last message was just now, or one of them is to be tried again later."""
    query = (
        "SELECT max(d.done_ms) FROM deliveries AS d JOIN history AS h USING (seq) JOIN incidents AS i ON i.id = h.incident_id"
        f" WHERE d.receiver = ? AND NOT {_ALONE} AND d.done_ms <= ?"
    )
    (last,) = db.execute(query, (receiver, now_ms)).fetchone()
    of_storm = f"FROM {_WAITING} AND NOT {_ALONE}"
    if last is not None and now_ms - last < DIGEST_MS:
        return []
    query = f"SELECT count(*) {of_storm} AND NOT {_DUE}"
    (later,) = db.execute(query, (receiver, now_ms, now_ms + _LONGEST_MS)).fetchone()
    query = f"SELECT d.seq, h.at_ms, h.change, h.note, h.told, d.attempts {of_storm} ORDER BY d.seq LIMIT ?"
    return [] if later else db.execute(query, (receiver, LONGEST_DIGEST)).fetchall()
