"""Reads all budgets of a market in few round trips and no script: what the pacer paces by and publishes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import redis
from numpy.typing import NDArray

from domain.campaign import Campaign
from domain.keys import LIFETIME, Keys
from serving.budget_days import NO_LIMIT, has_total

CHUNK = 500
"""Budgets asked for at once, about a millisecond of Redis."""
FIELDS = ("limit", "spent", "held", "pending", "pending_ms", "owed", "before", "decay_ms", "delay_ms", "delays")
NO_END = 2**62
"""More than any budget, and far from the end of int64."""


@dataclass(frozen=True, slots=True)
class BudgetReading:
    """C campaigns, each on one budget day; all [C].

    limit_micros int64, -1 where the budget is not open; left_micros int64, of the lifetime budget, but for what is held: `NO_END`
    without one, -1 where it is not open or overspent; spent_micros, held_micros int64; pending_micros float64, what clicks are
    expected to charge by their conversions, at the time of the reading; owed_micros, before_micros float64, as the pacer wrote
    them; decay_ms float64, 0 where it is not known; delay_ms, delays float64, sum and number of times from click to conversion.
    """

    limit_micros: NDArray[np.int64]
    unlimited: NDArray[np.bool_]
    left_micros: NDArray[np.int64]
    total_closed: NDArray[np.bool_]
    spent_micros: NDArray[np.int64]
    held_micros: NDArray[np.int64]
    pending_micros: NDArray[np.float64]
    owed_micros: NDArray[np.float64]
    before_micros: NDArray[np.float64]
    decay_ms: NDArray[np.float64]
    delay_ms: NDArray[np.float64]
    delays: NDArray[np.float64]

    @classmethod
    def read(
        cls,
        client: "redis.Redis",
        keys: Keys,
        campaigns: Sequence[Campaign],
        days: NDArray[np.int64],
        now_ms: int,
        usual_decay_ms: float,
    ) -> Self:
        """Reads in chunks, so that Redis serves others in between.

        Args:
          days: [C] the budget day to read of each.
        Raises:
          redis.RedisError: Redis is away.
        """
        rows = []
        names = [keys.budget(c.id, day) for c, day in zip(campaigns, days.tolist(), strict=True)]
        for start in range(0, len(names), CHUNK):
            pipe = client.pipeline(transaction=False)
            for name in names[start : start + CHUNK]:
                pipe.hmget(name, *FIELDS)
            rows += pipe.execute()
        left, total_closed = _lifetimes(client, keys, campaigns)
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(FIELDS)
        limit, spent, held = columns[:3]
        pending, pending_ms, owed, before, decay_ms, delay_ms, delays = (_floats(c) for c in columns[3:])
        since_ms = np.maximum(now_ms - np.where(pending_ms > 0, pending_ms, now_ms), 0)
        return cls(
            limit_micros=np.array([-1 if v is None else 0 if v == "none" else int(v) for v in limit], dtype=np.int64),
            unlimited=np.array([v == "none" for v in limit], dtype=bool),
            left_micros=left,
            total_closed=total_closed,
            spent_micros=_ints(spent),
            held_micros=_ints(held),
            pending_micros=pending * np.exp(-since_ms / np.where(decay_ms > 0, decay_ms, usual_decay_ms)),
            owed_micros=owed,
            before_micros=before,
            decay_ms=decay_ms,
            delay_ms=delay_ms,
            delays=delays,
        )

    @property
    def closed(self) -> NDArray[np.bool_]:
        """[C] of the day or the lifetime: nothing is sold on budgets that are not open."""
        return (self.limit_micros < 0) | self.total_closed

    @property
    def committed_micros(self) -> NDArray[np.int64]:
        """[C] spent, and expected of clicks that wait for their conversion."""
        return self.spent_micros + np.rint(self.pending_micros).astype(np.int64)

    def room_micros(self, slack_micros: NDArray[np.float64]) -> NDArray[np.int64]:
        """[C] what hold.lua would find, at least 0.

        Args:
          slack_micros: [C] price times deviations squared, with the sign of the deviations; see the script.
        """
        beyond = np.sign(slack_micros) * np.sqrt(np.abs(slack_micros) * (self.pending_micros + self.before_micros))
        of_day = np.where(slack_micros == 0, 0.0, beyond - self.pending_micros - self.owed_micros)
        of_all = np.where(slack_micros == 0, 0.0, beyond - self.pending_micros - self.before_micros)
        today = np.where(self.unlimited, NO_END, self.limit_micros - self.spent_micros) + np.floor(of_day).astype(np.int64)
        room = np.minimum(today, self.left_micros + np.floor(of_all).astype(np.int64)) - self.held_micros
        return np.where(self.closed, 0, np.maximum(room, 0))


def _lifetimes(client: "redis.Redis", keys: Keys, campaigns: Sequence[Campaign]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """[C] what is left of lifetime budgets, and which of them are not open."""
    left, closed = np.full(len(campaigns), NO_END), np.zeros(len(campaigns), dtype=bool)
    with_one = [i for i, c in enumerate(campaigns) if has_total(c)]
    for start in range(0, len(with_one), CHUNK):
        some = with_one[start : start + CHUNK]
        pipe = client.pipeline(transaction=False)
        for i in some:
            pipe.hmget(keys.budget(campaigns[i].id, LIFETIME), "limit", "spent")
        for i, (limit, spent) in zip(some, pipe.execute(), strict=True):
            closed[i] = limit is None
            left[i] = -1 if limit is None else NO_END if limit == NO_LIMIT else int(limit) - int(spent or 0)
    return left, closed


def _ints(values: Iterable[str | None]) -> NDArray[np.int64]:
    return np.array([int(v or 0) for v in values], dtype=np.int64)


def _floats(values: Iterable[str | None]) -> NDArray[np.float64]:
    return np.array([float(v or 0) for v in values], dtype=np.float64)
