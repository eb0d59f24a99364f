"""What an incident's number was like, hour by hour, before it was one and since: what the evidence is seen against."""

import sqlite3
from collections import defaultdict

from monitoring.dashboard.statistics import Json, Statistics, finite, joined, shares_of
from monitoring.incidents import Incident
from monitoring.incidents.kinds import SERVICE_LEVELS
from monitoring.incidents.minutes import kept_counts
from monitoring.summaries import Calibration, Numbers, Series, Summary, Values
from monitoring.watch import MonitorStore
from store.sqlite import FileUnavailable

BEFORE_DAYS = 2
MOST_HOURS = 24 * 35
_STEPS = 12
"""Points that a service level has an hour."""


def course_of(incident: Incident, statistics: Statistics, db: sqlite3.Connection) -> list[Json]:
    """Times in ms and values in the unit of the incident's size, oldest first; nothing where the kind has no such number.

    Args:
      db: the incidents' file.
    """
    if incident.kind in SERVICE_LEVELS:
        return _level(incident, statistics.hour_ms, db)
    try:
        with statistics.reading() as store:
            return _series(incident, statistics, store)
    except FileUnavailable:
        return []


def _level(incident: Incident, hour_ms: int, db: sqlite3.Connection) -> list[Json]:
    counts = kept_counts(db).get(incident.kind)
    if counts is None:
        return []
    step = max(hour_ms // _STEPS, 1)
    sums: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for at, good, bad in zip(counts.minute_ms.tolist(), counts.good.tolist(), counts.bad.tolist(), strict=True):
        of = sums[at // step * step]
        of[0] += bad
        of[1] += good + bad
    return [{"at_ms": at, "value": bad / every} for at, (bad, every) in sorted(sums.items()) if every]


def _series(incident: Incident, statistics: Statistics, store: MonitorStore) -> list[Json]:
    _, last = store.first_and_last_hour()
    until = min(incident.last_seen_ms, last) + 24 * statistics.hour_ms
    since = max(incident.since_ms - BEFORE_DAYS * statistics.day_ms, until - MOST_HOURS * statistics.hour_ms)
    by_hour: dict[int, list[Summary]] = defaultdict(list)
    for at, _, summary in store.history(Series(*incident.series), incident.slice, since, until):
        by_hour[at].append(summary)
    values = [(at, _value(incident.kind, joined(found))) for at, found in sorted(by_hour.items())]
    return [{"at_ms": at, "value": value} for at, value in values if value is not None]


def _value(kind: str, summary: Summary | None) -> float | None:
    match kind, summary:
        case ("missing", Numbers() | Values()) if summary.rows:
            return float(shares_of(summary)["missing"])
        case ("unknown", Values()) if summary.rows:
            return float(shares_of(summary)["unknown"])
        case ("calibration", Calibration()):
            return finite(summary.pcoc)
    return None
