"""Service levels: shares of decisions that are promised, and how fast what they allow is used up.

    burn rate = bad / all / (1 - objective)        1 uses up exactly what is allowed

A level burns if its rate is over a bound in a long window and in a short one, so that it is told early when much is lost, late
when little is, and no longer than it lasts: 14.4 over an hour and its last 12th, 6 over 6 hours and half an hour, 1 over 3 days
and 6 hours. A window that is not half known yet says nothing. An hour is the market's, the 24th part of its budget day. Where a
level allows so much that it cannot burn as fast, a window in which `DOWN` of all is bad burns.
Source: Beyer et al., "The Site Reliability Workbook" (2018), chapter 5.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from monitoring.incidents.store import LEVEL
from monitoring.summaries import ALL, Series, Slice

Ints = NDArray[np.int64]
MINUTES: Final = 60
"""Parts of an hour that are counted apart."""
WINDOWS: Final = ((1.0, 1 / 12, 14.4), (6.0, 0.5, 6.0), (72.0, 6.0, 1.0))
"""Hours of the long and of the short window, and the burn rate that both have to be over."""
DOWN: Final = 0.8
LEAST: Final = 100
"""Decisions in the long window, below which it says nothing."""
LEAST_BAD: Final = 5
KEPT_HOURS: Final = 73
LATEST_MS: Final = 180_000
"""How much later the log says what happened than a look at the gateway does."""


class Objectives(BaseSettings):
    """Shares that are promised; read from `OFFERRANK_*`. 0 promises nothing."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="OFFERRANK_", use_attribute_docstrings=True)

    objective_available: float = Field(default=0.999, ge=0, lt=1)
    """Of the looks at the gateway, how many find it ready to sell."""
    objective_fast: float = Field(default=0.99, ge=0, lt=1)
    """Of the decisions, how many take at most `OFFERRANK_OBJECTIVE_MS`."""
    objective_ms: float = Field(default=25.0, gt=0)
    """Longest time to decide, without HTTP."""
    objective_filled: float = Field(default=0.8, ge=0, lt=1)
    """Of the pages, how many show an offer."""
    objective_undegraded: float = Field(default=0.99, ge=0, lt=1)
    """Of the decisions, how many no fallback had a part in."""

    @property
    def by_level(self) -> Mapping[str, float]:
        """Objective by kind of incident."""
        return {
            "availability": self.objective_available,
            "latency": self.objective_fast,
            "no_fill": self.objective_filled,
            "degraded": self.objective_undegraded,
        }


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one level, by minute: [M] starts in ms, ascending, and how many kept it and broke it."""

    minute_ms: Ints
    good: Ints
    bad: Ints


@dataclass(frozen=True, slots=True)
class Burning:
    """A finding that a service level burns."""

    kind: str
    since_ms: int
    size: float
    """Share of the long window that was bad."""
    usual: float
    """Share that the objective allows."""
    evidence: float
    """Burn rate of the long window."""
    cost_micros_per_day: int
    detail: Mapping[str, float | str] = field(default_factory=dict)
    release: str = ""

    @property
    def series(self) -> Series:
        """The level's."""
        return Series(LEVEL, self.kind)

    @property
    def slice(self) -> Slice:
        """Promised of all traffic."""
        return ALL


def count_decisions(decisions: pa.Table, objectives: Objectives, hour_length_ms: int) -> dict[str, Counts]:
    """What rows of the log say of each level but availability.

    Args:
      decisions: with `time_ms`, `total_us`, `degraded` (lists) and `slots` (lists); no test pages or invalid traffic.
    """
    if not len(decisions):
        return {}
    minute_ms = max(hour_length_ms // MINUTES, 1)
    minute, of = np.unique(decisions["time_ms"].to_numpy() // minute_ms * minute_ms, return_inverse=True)
    bad = {
        "latency": decisions["total_us"].to_numpy() > 1000 * objectives.objective_ms,
        "no_fill": pc.fill_null(pc.list_value_length(decisions["slots"]), 0).to_numpy() == 0,
        "degraded": pc.fill_null(pc.list_value_length(decisions["degraded"]), 0).to_numpy() > 0,
    }
    every = np.bincount(of, minlength=len(minute))
    counted = {level: np.bincount(of, broken, len(minute)).astype(np.int64) for level, broken in bad.items()}
    return {level: Counts(minute, every - broken, broken) for level, broken in counted.items()}


def burning(
    counts: Mapping[str, Counts], objectives: Objectives, hour_length_ms: int, micros_per_page: float = 0.0
) -> list[Burning]:
    """The levels that burn as of the last minute of each.

    Args:
      micros_per_page: what a page earns: so much costs each that is not answered, or is empty.
    """
    newest = max((int(c.minute_ms[-1]) for c in counts.values() if len(c.minute_ms)), default=0)
    found = []
    for level, objective in objectives.by_level.items():
        counted = counts.get(level)
        if objective and counted is not None and len(counted.minute_ms):
            if newest - int(counted.minute_ms[-1]) > hour_length_ms + LATEST_MS:
                continue  # nothing comes any more: what burnt then says nothing of now
            burnt = _burning(level, counted, 1.0 - objective, hour_length_ms, micros_per_page)
            found += [burnt] if burnt else []
    return found


def _burning(level: str, counts: Counts, allowed: float, hour_length_ms: int, micros_per_page: float) -> Burning | None:
    end = int(counts.minute_ms[-1]) + max(hour_length_ms // MINUTES, 1)
    known_hours = (end - int(counts.minute_ms[0])) / hour_length_ms
    for long, short, rate in WINDOWS:
        if known_hours < long / 2:
            continue
        bad, every = _within(counts, end - long * hour_length_ms)
        bad_lately, lately = _within(counts, end - short * hour_length_ms)
        bound = min(rate, DOWN / allowed) * allowed
        if every < LEAST or bad < LEAST_BAD or not lately or bad / every < bound or bad_lately / lately < bound:
            continue
        lost = bad / every - allowed if level in ("availability", "no_fill") else 0.0
        pages_per_day = 24 * every / min(long, known_hours)
        return Burning(
            kind=level,
            since_ms=_began(counts, allowed, end - long * hour_length_ms),
            size=bad / every,
            usual=allowed,
            evidence=bad / every / allowed,
            cost_micros_per_day=round(max(lost, 0.0) * pages_per_day * micros_per_page),
            detail={"window_hours": long, "bad": float(bad), "rows": float(every), "burn_rate": bad / every / allowed},
        )
    return None


def _within(counts: Counts, since_ms: float) -> tuple[int, int]:
    inside = counts.minute_ms >= since_ms
    bad = int(counts.bad[inside].sum())
    return bad, bad + int(counts.good[inside].sum())


def _began(counts: Counts, allowed: float, since_ms: float) -> int:
    """The first minute of the window in which more was bad than is allowed."""
    over = (counts.bad > allowed * (counts.good + counts.bad)) & (counts.minute_ms >= since_ms)
    return int(counts.minute_ms[np.flatnonzero(over)[0]])
