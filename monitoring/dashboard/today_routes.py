"""The last day of traffic and money against the same hours a week before, or the day before where there is no week yet."""

from collections import defaultdict

from fastapi import APIRouter, Response

from monitoring.dashboard.access import Looking
from monitoring.dashboard.answers import json_answer
from monitoring.dashboard.statistics import Json, Statistics
from monitoring.summaries import ALL, FLOW, Flows
from monitoring.watch import MonitorStore

HOURS = 24
COUNTS = ("pages", "filled", "impressions", "clicks", "conversions", "charged_micros")


def today_routes(statistics: Statistics) -> APIRouter:
    """The route /api/today."""
    router = APIRouter()

    @router.get("/api/today")
    def today(_: Looking) -> Response:
        said = statistics.answer(("today",), lambda store, last: _today(store, last, statistics))
        return json_answer(said)

    return router


def _today(store: MonitorStore, last: int, statistics: Statistics) -> Json:
    since = last - (HOURS - 1) * statistics.hour_ms
    by_hour: dict[int, dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    for at, _, flows in store.history(FLOW, ALL, since - 7 * statistics.day_ms, last + 1):
        if isinstance(flows, Flows):
            for name in COUNTS:
                by_hour[at][name] += flows[name]
    hours = [since + i * statistics.hour_ms for i in range(HOURS)]
    days = next((d for d in (7, 1) if any(at - d * statistics.day_ms in by_hour for at in hours)), None)
    before = [by_hour.get(at - days * statistics.day_ms) if days else None for at in hours]
    now = [by_hour.get(at) for at in hours]
    # Hours that are known of both, so that a total is not held against a part.
    both = [(a, b) for a, b in zip(now, before, strict=True) if a and b]
    return {
        "days_before": days,
        "hours": [{"hour_ms": at, "now": a, "before": b} for at, a, b in zip(hours, now, before, strict=True)],
        "totals": {
            name: {
                "now": sum(a[name] for a in now if a),
                "compared": sum(a[name] for a, _ in both) if both else None,
                "before": sum(b[name] for _, b in both) if both else None,
            }
            for name in COUNTS
        },
    }
