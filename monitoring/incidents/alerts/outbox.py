"""What each receiver has still to be told: the history beyond where it has got to, one change of an incident at a time.

A change that is being told is leased: another process leaves it alone for a minute, and one that was killed over it is followed
by whoever comes next. So each is told at least once.
"""

import sqlite3
from dataclasses import dataclass
from typing import Final

LEASE_MS: Final = 60_000
FIRST_WAIT_MS: Final = 5_000
LONGEST_WAIT_MS: Final = 600_000
PATIENCE_MS: Final = 3 * 86_400_000
"""After which nobody needs to be told any more."""
LONGEST_ERROR: Final = 200
_LONGEST_MS = LONGEST_WAIT_MS + LEASE_MS
_DUE = "(due_ms <= ? OR due_ms > ?)"  # what is due later than any wait lasts was written by a clock that was wrong


@dataclass(frozen=True, slots=True)
class Task:
    """One change, leased to be told to one receiver."""

    receiver: str
    row: tuple[int, int, str, str, str]
    """seq, at_ms, change, note, told."""
    attempts: int
    """With this one."""


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
    """The oldest change that is due, of an incident of which nothing older waits. Within the caller's transaction."""
    (seq,) = db.execute("SELECT seq FROM receivers WHERE name = ?", (receiver,)).fetchone()
    db.execute(
        "INSERT OR IGNORE INTO deliveries SELECT ?, seq, 0, ?, ?, NULL, '' FROM history WHERE seq > ? AND told IS NOT NULL",
        (receiver, now_ms, now_ms, seq),
    )
    db.execute("UPDATE receivers SET seq = (SELECT coalesce(max(seq), 0) FROM history) WHERE name = ?", (receiver,))
    query = (
        "SELECT d.seq, h.at_ms, h.change, h.note, h.told, d.attempts FROM deliveries AS d JOIN history AS h USING (seq)"
        f" WHERE d.receiver = ? AND d.done_ms IS NULL AND {_DUE} AND NOT EXISTS ("
        "  SELECT 1 FROM deliveries AS o JOIN history AS p USING (seq)"
        "  WHERE o.receiver = d.receiver AND o.done_ms IS NULL AND p.incident_id = h.incident_id AND o.seq < d.seq)"
        " ORDER BY d.seq LIMIT 1"
    )
    found = db.execute(query, (receiver, now_ms, now_ms + _LONGEST_MS)).fetchone()
    if found is None:
        return None
    *row, attempts = found
    update = "UPDATE deliveries SET attempts = ?, due_ms = ? WHERE receiver = ? AND seq = ?"
    db.execute(update, (attempts + 1, now_ms + LEASE_MS, receiver, row[0]))
    return Task(receiver, (row[0], row[1], row[2], row[3], row[4]), attempts + 1)


def done(db: sqlite3.Connection, task: Task, now_ms: int) -> None:
    """It was taken."""
    db.execute(
        "UPDATE deliveries SET done_ms = ?, error = '' WHERE receiver = ? AND seq = ?", (now_ms, task.receiver, task.row[0])
    )


def failed(db: sqlite3.Connection, task: Task, now_ms: int, error: str, wait_ms: int | None = None) -> None:
    """It was not: it is tried again after 5 s, 10 s, ... 10 minutes, for three days."""
    backoff = min(FIRST_WAIT_MS << min(task.attempts - 1, 16), LONGEST_WAIT_MS)
    wait = min(max(backoff, wait_ms or 0), LONGEST_WAIT_MS)
    given_up = now_ms - task.row[1] > PATIENCE_MS
    db.execute(
        "UPDATE deliveries SET due_ms = ?, error = ?, done_ms = ? WHERE receiver = ? AND seq = ?",
        (now_ms + wait, error[:LONGEST_ERROR], now_ms if given_up else None, task.receiver, task.row[0]),
    )
