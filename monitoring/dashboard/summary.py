"""The figures of the page, from the board and the last reading. docs/dashboard.md defines each; tests derive them by hand."""

import math
from dataclasses import asdict
from heapq import nlargest
from itertools import accumulate
from typing import Any

import numpy as np

from features.market import Market
from monitoring.dashboard.board import Board, Bucket, Tally
from monitoring.dashboard.state import State

TRAILING_S = 60
"""Ratios over time are taken over this long: a single bucket has too few clicks to say anything."""
SHOWN_CAMPAIGNS = 100
Json = dict[str, Any]


def summarise(market: Market, board: Board, state: State | None, now_ms: int) -> Json:
    """Everything /api/summary answers.

    The bucket that is still filling is left out of series and recent figures, so that a rate never dips at the end.
    """
    open_index = now_ms // board.bucket_ms
    closed = [i for i in board.buckets if i < open_index]
    first, last = (max(min(closed), open_index - board.kept), open_index - 1) if closed else (0, -1)
    buckets = [board.buckets.get(i) or Bucket() for i in range(first, last + 1)]
    trailing = max(TRAILING_S * 1000 // board.bucket_ms, 1)
    return {
        "now_ms": now_ms,
        "market": market.name,
        "currency": market.currency,
        "since_ms": board.since_ms,
        "bucket_s": board.bucket_ms / 1000,
        "trailing_s": trailing * board.bucket_ms / 1000,
        "total": _figures(board.total),
        "recent": _recent(buckets[-trailing:], board.bucket_ms),
        "series": _series(first, buckets, board.bucket_ms, trailing),
        "stages": _stages(buckets[-trailing:]),
        "releases": _releases(board, state),
        "degraded_by": dict(board.degraded_by),
        "statuses": {str(status): n for status, n in board.statuses.items()},
        "invalid": dict(board.invalid.most_common()),
        "unreadable": board.unreadable,
        "unattributed": board.unattributed,
        "day_fraction": state.day_fraction if state else None,
        "day_length_s": market.policy.day_length_s,
        "n_campaigns": len(market.campaigns),
        "campaigns": _campaigns(state) if state else [],
        "health": [asdict(h) for h in state.health] if state else [],
    }


def percentile(sorted_us: "np.ndarray[Any, Any]", p: float) -> float:
    """Nearest rank: the least value that at least p % of the values do not exceed, in ms."""
    return float(sorted_us[math.ceil(p / 100 * len(sorted_us)) - 1]) / 1000


def wilson(successes: int, n: int, z: float = 1.96) -> tuple[float, float] | None:
    """95 % interval of a proportion; none where there is none, as of more clicks than impressions. Source: Wilson (1927)."""
    if not 0 <= successes <= n or n == 0:
        return None
    p, z2 = successes / n, z * z
    centre, half = p + z2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max((centre - half) / (1 + z2 / n), 0.0), min((centre + half) / (1 + z2 / n), 1.0)


def _figures(t: Tally) -> Json:
    return asdict(t) | {
        "fill_rate": _ratio(t.filled, t.decisions),
        "ctr": _ratio(t.clicks, t.impressions),
        "cvr": _ratio(t.conversions, t.clicks),
        "revenue_per_1000_micros": _ratio(t.charged_micros * 1000, t.decisions),
        "degraded_share": _ratio(t.degraded, t.decisions),
        "explored_share": _ratio(t.explored, t.decisions),
    }


def _recent(buckets: list[Bucket], bucket_ms: int) -> Json:
    tally, us = Tally(), np.sort(np.asarray([us for b in buckets for us in b.total_us], dtype=np.int64))
    for bucket in buckets:
        tally.add(bucket.tally)
    seconds = len(buckets) * bucket_ms / 1000
    latency = {f"p{p}_ms": percentile(us, p) if len(us) else None for p in (50, 95, 99)}
    return _figures(tally) | {"decisions_per_s": _ratio(tally.decisions, seconds), "seconds": seconds} | latency


def _series(first: int, buckets: list[Bucket], bucket_ms: int, trailing: int) -> Json:
    sorted_us = [np.sort(np.asarray(b.total_us, dtype=np.int64)) for b in buckets]

    def over_trailing(name: str) -> list[int]:
        sums = [0, *accumulate(getattr(b.tally, name) for b in buckets)]
        return [sums[i + 1] - sums[max(i + 1 - trailing, 0)] for i in range(len(buckets))]

    decisions, clicks = over_trailing("decisions"), over_trailing("clicks")
    impressions, charged = over_trailing("impressions"), over_trailing("charged_micros")
    return {
        # A point stands at the end of its bucket: it says what was known then.
        "at_ms": [(first + i + 1) * bucket_ms for i in range(len(buckets))],
        "decisions_per_s": [b.tally.decisions * 1000 / bucket_ms for b in buckets],
        **{f"p{p}_ms": [percentile(us, p) if len(us) else None for us in sorted_us] for p in (50, 95, 99)},
        "ctr": [_ratio(c, n) for c, n in zip(clicks, impressions, strict=True)],
        "revenue_per_1000_micros": [_ratio(c * 1000, n) for c, n in zip(charged, decisions, strict=True)],
        "fill_rate": [_ratio(f, n) for f, n in zip(over_trailing("filled"), decisions, strict=True)],
        "degraded_share": [_ratio(d, n) for d, n in zip(over_trailing("degraded"), decisions, strict=True)],
    }


def _stages(buckets: list[Bucket]) -> list[Json]:
    """Mean time per decision and its share, in the order the stages ran; what no stage claims is `other`."""
    decisions, spent_us = sum(b.tally.decisions for b in buckets), sum(b.spent_us for b in buckets)
    stages: dict[str, int] = {}
    for bucket in buckets:
        for stage, us in bucket.stage_us.items():
            stages[stage] = stages.get(stage, 0) + us
    if not spent_us:
        return []
    stages["other"] = max(spent_us - sum(stages.values()), 0)
    whole = sum(stages.values())
    return [{"stage": s, "mean_ms": us / decisions / 1000, "share": us / whole} for s, us in stages.items()]


def _releases(board: Board, state: State | None) -> list[Json]:
    served = state.first_served_ms if state else {}
    rows = []
    for release, one in board.releases.items():
        low, high = wilson(one.tally.clicks, one.tally.impressions) or (None, None)
        interval = {"ctr_low": low, "ctr_high": high}
        rows.append({"release": release, "first_ms": served.get(release, one.first_ms)} | interval | _figures(one.tally))
    return sorted(rows, key=lambda row: row["first_ms"])


def _campaigns(state: State) -> list[Json]:
    """All, or those with the most money at work today."""
    shown = state.campaigns
    if len(shown) > SHOWN_CAMPAIGNS:
        shown = nlargest(SHOWN_CAMPAIGNS, shown, key=lambda one: one.spent_micros + one.held_micros)
    return [asdict(one) for one in shown]


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
