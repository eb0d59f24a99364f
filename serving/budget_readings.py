"""Reads all budgets of a market in few round trips and no script: what the pacer paces by and publishes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import redis
from numpy.typing import NDArray

from domain.campaign import Campaign
from domain.keys import Keys

CHUNK = 500
"""Budgets asked for at once, about a millisecond of Redis."""
FIELDS = ("limit", "spent", "held", "pending", "pending_ms", "owed", "before", "decay_ms", "delay_ms", "delays")


@dataclass(frozen=True, slots=True)
class BudgetReading:
    """C campaigns, each on one budget day; all [C].

    limit_micros int64, -1 where the budget is not open; spent_micros, held_micros int64; pending_micros float64, what clicks are
    expected to charge by their conversions, at the time of the reading; owed_micros, before_micros float64, as the pacer wrote
    them; decay_ms float64, 0 where it is not known; delay_ms, delays float64, sum and number of times from click to conversion.
    """

    limit_micros: NDArray[np.int64]
    unlimited: NDArray[np.bool_]
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
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(FIELDS)
        limit, spent, held = columns[:3]
        pending, pending_ms, owed, before, decay_ms, delay_ms, delays = (_floats(c) for c in columns[3:])
        since_ms = np.maximum(now_ms - np.where(pending_ms > 0, pending_ms, now_ms), 0)
        return cls(
            limit_micros=np.array([-1 if v is None else 0 if v == "none" else int(v) for v in limit], dtype=np.int64),
            unlimited=np.array([v == "none" for v in limit], dtype=bool),
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
        """[C] budgets that are not open: nothing is sold on them."""
        return self.limit_micros < 0

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
        soft = np.where(slack_micros == 0, 0.0, beyond - self.pending_micros - self.owed_micros)
        room = self.limit_micros - self.spent_micros - self.held_micros + np.floor(soft).astype(np.int64)
        return np.where(self.closed, 0, np.maximum(room, 0))


def _ints(values: Iterable[str | None]) -> NDArray[np.int64]:
    return np.array([int(v or 0) for v in values], dtype=np.int64)


def _floats(values: Iterable[str | None]) -> NDArray[np.float64]:
    return np.array([float(v or 0) for v in values], dtype=np.float64)
