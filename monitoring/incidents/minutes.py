"""Keeps how many decisions kept and broke each service level, by minute."""

import sqlite3
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from monitoring.incidents.service_levels import KEPT_HOURS, Counts


def keep_counts(db: sqlite3.Connection, source: str, counts: Mapping[str, Counts], hour_length_ms: int, now_ms: int) -> None:
    """Writes what a source counted, within the caller's transaction; the same source again is not counted twice.

    Args:
      source: a part of the archive, or who looks at the gateway.
    """
    rows = [
        (level, minute, source, good, bad)
        for level, c in counts.items()
        for minute, good, bad in zip(c.minute_ms.tolist(), c.good.tolist(), c.bad.tolist(), strict=True)
    ]
    db.executemany("INSERT OR REPLACE INTO minutes VALUES (?, ?, ?, ?, ?)", rows)
    # What a clock wrote that was far ahead would make everything else too old to be kept.
    db.execute("DELETE FROM minutes WHERE minute_ms > ?", (now_ms + hour_length_ms,))
    if rows:
        (newest,) = db.execute("SELECT max(minute_ms) FROM minutes").fetchone()
        db.execute("DELETE FROM minutes WHERE minute_ms < ?", ((newest or 0) - KEPT_HOURS * hour_length_ms,))


def kept_counts(db: sqlite3.Connection) -> dict[str, Counts]:
    """Of all sources together."""
    query = "SELECT level, minute_ms, sum(good), sum(bad) FROM minutes GROUP BY level, minute_ms ORDER BY level, minute_ms"
    by_level: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for level, *row in db.execute(query):
        by_level[level].append((row[0], row[1], row[2]))
    return {level: Counts(*np.array(rows, np.int64).T) for level, rows in by_level.items()}
