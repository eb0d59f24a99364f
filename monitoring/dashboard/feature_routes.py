"""What the page asks about features: all in a table, and each over time, in training and in serving."""

from collections import defaultdict
from typing import Any

import numpy as np
from fastapi import APIRouter, Response

from monitoring.dashboard.access import Looking
from monitoring.dashboard.answers import json_answer
from monitoring.dashboard.statistics import Json, Statistics, distance, finite, is_known, joined, shares_of, spread
from monitoring.summaries import ALL, Numbers, Series, Slice, Summary, Values
from monitoring.watch import MonitorStore

BINS = 32
MOST_BARS = 20
MOST_READ = 6_000
"""Summaries that the table of all features reads: with very many features it looks at fewer hours."""
EARLIER_DAYS = 7
SHOWN_DAYS = 14
QUANTILES = (0.1, 0.5, 0.9)


def feature_routes(statistics: Statistics) -> APIRouter:
    """The routes below /api/features."""
    router = APIRouter(prefix="/api/features")

    @router.get("")
    def listed(_: Looking) -> Response:
        return json_answer(statistics.answer(("features",), lambda store, last: _listed(store, last, statistics)))

    @router.get("/{name:path}")
    def one(name: str, _: Looking, by: str = "", value: str = "") -> Response:
        where = Slice(by, value)
        return json_answer(
            statistics.answer(("feature", name, where), lambda store, last: _one(store, last, statistics, name, where))
        )

    return router


def _listed(store: MonitorStore, last: int, statistics: Statistics) -> Json:
    """Each feature over the last hours, against the same hours of the day before."""
    names = [s for s in store.names()[0] if s.kind == "feature"]
    hours = max(1, min(24, MOST_READ // (2 * max(len(names), 1))))
    since = last - (hours - 1) * statistics.hour_ms
    release, training, trouble = _training(store, since, last)
    rows = []
    for series in names:
        now = _over(store, series, ALL, since, last + 1)
        before = _over(store, series, ALL, since - statistics.day_ms, last + 1 - statistics.day_ms)
        if not isinstance(now, Numbers | Values):
            continue
        moved, wide = distance(now, before), spread(before)
        earlier = shares_of(before) if isinstance(before, Numbers | Values) else {"missing": None, "unknown": None}
        rows.append(
            {
                "name": series.name,
                "numbers": isinstance(now, Numbers),
                **shares_of(now),
                "missing_before": earlier["missing"],
                "unknown_before": earlier["unknown"],
                "distance": finite(moved),
                "moved": finite(moved / wide) if moved is not None and wide else None,
                "from_training": _relative(now, training.get(series)),
            }
        )
    return {"hours": hours, "features": rows, "release": release, "training_trouble": trouble}


def _relative(now: Summary, training: Summary | None) -> float | None:
    """Distance from the training rows, as `moved` is."""
    apart, wide = distance(now, training), spread(training)
    return finite(apart / wide) if apart is not None and wide else None


def _training(store: MonitorStore, since: int, last: int) -> tuple[str, dict[Series, Summary], str]:
    """The release that decided last, what its training rows were like, and why that is not known where it is not."""
    tasks = [s for s in store.names()[0] if s.kind == "probability"][:1]
    releases = {release for task in tasks for _, release, _ in store.history(task, ALL, since, last + 1)}
    trained = sorted(r for r in releases if r.isdigit())
    if not trained:
        return "", {}, "no release has decided"
    return trained[-1], *store.baseline(trained[-1])


def _one(store: MonitorStore, last: int, statistics: Statistics, name: str, where: Slice) -> Json:
    series = Series("feature", name)
    day = statistics.day_ms
    since = last - SHOWN_DAYS * day
    by_hour: dict[int, list[Summary]] = defaultdict(list)
    for at, _, summary in store.history(series, where, since, last + 1):
        by_hour[at].append(summary)
    hours = {at: joined(found) for at, found in sorted(by_hour.items())}
    now = joined([s for at, s in hours.items() if s and at > last - day])
    before = joined([s for at, s in hours.items() if s and last - 2 * day < at <= last - day])
    earlier = joined([s for at, s in hours.items() if s and last - (1 + EARLIER_DAYS) * day < at <= last - day])
    release, training, trouble = _training(store, last - day, last)
    return {
        "name": name,
        "release": release,
        "training_trouble": trouble,
        "where": where._asdict(),
        "slices": [s._asdict() for s in store.names()[1] if s != ALL],
        "known": is_known(now) or bool(hours),
        "numbers": isinstance(now or earlier, Numbers),
        "hours": [_hour(at, s, hours.get(at - day)) for at, s in hours.items() if isinstance(s, Numbers | Values)],
        "now": _shares(now),
        "distance": finite(distance(now, before)),
        "training_distance": finite(distance(now, training.get(series))),
        "distribution": _distribution(now, before, training.get(series)),
        **_new_and_gone(now, earlier),
    }


def _over(store: MonitorStore, series: Series, where: Slice, since: int, until: int) -> Summary | None:
    return joined([summary for _, _, summary in store.history(series, where, since, until)])


def _shares(summary: Summary | None) -> Json | None:
    return shares_of(summary) if isinstance(summary, Numbers | Values) else None


def _hour(at: int, now: Numbers | Values, before: Summary | None) -> Json:
    said: Json = {"hour_ms": at, **shares_of(now), "distance": finite(distance(now, before))}
    if isinstance(now, Numbers):
        said |= dict(zip(("q10", "q50", "q90"), (finite(q) for q in now.quantile(QUANTILES)), strict=True))
        said["mean"] = finite(now.mean())
    return said


def _distribution(now: Summary | None, before: Summary | None, training: Summary | None) -> Json | None:
    """Shares in the same bins or values: of the last day, of the day before, and of the training rows."""
    known = [s for s in (now, before, training) if s is not None]
    numbers = [s for s in known if isinstance(s, Numbers) and s.present]
    values = [s for s in known if isinstance(s, Values) and s.present]
    if numbers:
        few = np.unique(np.concatenate([s.low for s in numbers]))
        exact = all(np.array_equal(s.low, s.high) for s in numbers) and len(few) <= BINS
        if exact:
            labels: list[Any] = few.tolist()
            return {"labels": labels, "bars": True} | _named(now, before, training, lambda s: _at(s, few))
        low = min(float(s.quantile(0.002)[0]) for s in numbers)
        high = max(float(s.quantile(0.998)[0]) for s in numbers)
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        middles = ((edges[1:] + edges[:-1]) / 2).tolist()
        return {"labels": middles, "bars": False} | _named(now, before, training, lambda s: _within(s, edges))
    if values:
        every = joined(values)
        assert isinstance(every, Values)
        names = sorted(every.counts, key=lambda n: (-every.counts[n], n))[:MOST_BARS]
        said = _named(now, before, training, lambda s: _of(s, names))
        return {"labels": [*names, "(others)", "(missing)"], "bars": True} | said
    return None


def _named(now: Summary | None, before: Summary | None, training: Summary | None, make: Any) -> Json:
    return {
        name: make(s) if isinstance(s, Numbers | Values) and s.present else None
        for name, s in (("now", now), ("before", before), ("training", training))
    }


def _at(summary: Summary, few: Any) -> list[float] | None:
    if not isinstance(summary, Numbers):
        return None
    count = dict(zip(summary.low.tolist(), summary.count.tolist(), strict=True))
    return [count.get(x, 0) / summary.present for x in few.tolist()]


def _within(summary: Summary, edges: Any) -> list[float] | None:
    if not isinstance(summary, Numbers):
        return None
    below = summary.cdf(edges)
    below[0], below[-1] = 0.0, 1.0  # what is beyond is in the outer bins
    return [float(x) for x in np.diff(below)]


def _of(summary: Summary, names: list[str]) -> list[float] | None:
    if not isinstance(summary, Values):
        return None
    rows = max(summary.rows, 1)
    shown = [summary.counts.get(n, 0) for n in names]
    return [*(n / rows for n in shown), (summary.present - sum(shown)) / rows, summary.missing / rows]


def _new_and_gone(now: Summary | None, earlier: Summary | None) -> Json:
    """Values of the last day that the days before did not have, and the reverse, the most frequent first."""
    if not (isinstance(now, Values) and isinstance(earlier, Values)):
        return {"new": [], "gone": []}
    new = [] if earlier.other else [(n, c) for n, c in now.counts.items() if n not in earlier.counts]
    gone = [] if now.other else [(n, c) for n, c in earlier.counts.items() if n not in now.counts]

    def most(found: list[tuple[str, int]]) -> list[Json]:
        return [{"value": value, "count": count} for value, count in sorted(found, key=lambda f: (-f[1], f[0]))[:MOST_BARS]]

    return {"new": most(new), "gone": most(gone)}
