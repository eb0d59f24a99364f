"""What Prometheus is told of incidents."""

import math
from collections import Counter

from monitoring import metrics
from monitoring.dashboard.incident_routes import IncidentFile
from monitoring.incidents import State, reading
from monitoring.incidents.kinds import KINDS
from store.sqlite import FileUnavailable

_OPEN = {State.OPEN, State.ACKNOWLEDGED}


def tell_incidents(file: IncidentFile, at_ms: int) -> None:
    """Sets the gauges from the incidents' file; where it cannot be read, they are no numbers."""
    try:
        with file.reading() as db:
            live, watched, waiting = reading.live_incidents(db), reading.watched(db), reading.alerts_waiting(db)
    except FileUnavailable:
        for kind in (*KINDS, "other"):
            metrics.INCIDENTS_OPEN.labels(kind).set(math.nan)
            metrics.INCIDENTS_COST.labels(kind).set(math.nan)
        metrics.WATCH_AGE_SECONDS.set(math.nan)
        metrics.ALERTS_WAITING_SECONDS.set(math.nan)
        return
    count: Counter[str] = Counter()
    cost: Counter[str] = Counter()
    for one in live:
        if one.state in _OPEN:
            kind = one.kind if one.kind in KINDS else "other"
            count[kind] += 1
            cost[kind] += one.cost_micros_per_day
    for kind in (*KINDS, "other"):
        metrics.INCIDENTS_OPEN.labels(kind).set(count[kind])
        metrics.INCIDENTS_COST.labels(kind).set(cost[kind])
    metrics.WATCH_AGE_SECONDS.set(max(at_ms - watched.at_ms, 0) / 1000 if watched else math.nan)
    oldest = min((since for _, _, since, _ in waiting), default=at_ms)
    metrics.ALERTS_WAITING_SECONDS.set(max(at_ms - oldest, 0) / 1000)
