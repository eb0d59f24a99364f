"""Reads incidents: those that matter most first, one with its history and evidence, and whether anybody watches."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from monitoring.incidents.incident import Change, Entry, Evidence, Incident, State, Stream
from monitoring.summaries import Series, Slice

_COLUMNS = (
    "id, kind, series_kind, series_name, slice_by, slice_value, release, state, opened_ms, since_ms, last_seen_ms, closed_ms, "
    "silenced_until_ms, size, usual, evidence, cost_micros_per_day, detail, "
    "(SELECT count(*) FROM members WHERE incident_id = id)"
)
_ORDER = "ORDER BY state = 'silenced', cost_micros_per_day DESC, evidence DESC, opened_ms, id"
SHOWN = 200


@dataclass(frozen=True, slots=True)
class Watched:
    """What the watch has looked at last."""

    hour_ms: int
    """Start of the newest hour."""
    at_ms: int
    """When it was looked at."""
    streams: int
    """Series in slices that were judged in it."""
    hours: int
    """That were ever looked at."""


def live_incidents(db: sqlite3.Connection) -> list[Incident]:
    """All that are not closed: by what they cost, the silenced ones last."""
    return _incidents(db.execute(f"SELECT {_COLUMNS} FROM incidents WHERE state <> 'closed' {_ORDER}"))


def closed_incidents(db: sqlite3.Connection, most: int = SHOWN) -> list[Incident]:
    """Those that were closed last."""
    query = f"SELECT {_COLUMNS} FROM incidents WHERE state = 'closed' ORDER BY closed_ms DESC, id LIMIT ?"
    return _incidents(db.execute(query, (most,)))


def incident(db: sqlite3.Connection, incident_id: str) -> Incident | None:
    """The one of that id."""
    found = _incidents(db.execute(f"SELECT {_COLUMNS} FROM incidents WHERE id = ?", (incident_id,)))
    return found[0] if found else None


def history(db: sqlite3.Connection, incident_id: str) -> list[Entry]:
    """Everything that was done with an incident, oldest first."""
    query = "SELECT seq, at_ms, change, by, note FROM history WHERE incident_id = ? ORDER BY seq"
    return [Entry(seq, at, Change(change), by, note) for seq, at, change, by, note in db.execute(query, (incident_id,))]


def evidence(db: sqlite3.Connection, incident_id: str) -> list[Evidence]:
    """What was found of it, oldest hour first."""
    query = (
        "SELECT hour_ms, kind, series_kind, series_name, slice_by, slice_value, release, size, usual, evidence,"
        " cost_micros_per_day FROM evidence WHERE incident_id = ?"
        " ORDER BY hour_ms, kind, series_kind, series_name, slice_by, slice_value"
    )
    return [
        Evidence(hour, Stream(kind, Series(series_kind, name), Slice(by, value)), *rest)
        for hour, kind, series_kind, name, by, value, *rest in db.execute(query, (incident_id,))
    ]


def streams(db: sqlite3.Connection, incident_id: str) -> list[Stream]:
    """What it joins."""
    query = (
        "SELECT kind, series_kind, series_name, slice_by, slice_value FROM members WHERE incident_id = ?"
        " ORDER BY series_kind, series_name, slice_by, slice_value, kind"
    )
    return [Stream(kind, Series(sk, sn), Slice(by, value)) for kind, sk, sn, by, value in db.execute(query, (incident_id,))]


def watched(db: sqlite3.Connection) -> Watched | None:
    """None before the first hour."""
    row = db.execute("SELECT hour_ms, at_ms, streams, turn FROM hours ORDER BY turn DESC LIMIT 1").fetchone()
    return Watched(*row) if row else None


def alerts_waiting(db: sqlite3.Connection) -> list[tuple[str, int, int, str]]:
    """Of each receiver that has not taken something yet: its name, how much, since when (ms), and what was wrong last."""
    query = (
        "SELECT receiver, count(*), min(first_ms), (SELECT error FROM deliveries AS d WHERE d.receiver = deliveries.receiver"
        " AND done_ms IS NULL AND error <> '' ORDER BY seq LIMIT 1) FROM deliveries WHERE done_ms IS NULL GROUP BY receiver"
    )
    return [(name, count, first, error or "") for name, count, first, error in db.execute(query)]


def _incidents(rows: Iterable[tuple[Any, ...]]) -> list[Incident]:
    made = []
    for row in rows:
        stream = Series(*row[2:4]), Slice(*row[4:6])
        made.append(Incident(*(row[0], row[1], *stream, row[6], State(row[7]), *row[8:17], row[18], orjson.loads(row[17]))))
    return made
