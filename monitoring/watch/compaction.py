"""Keeps 13 months small: after `monitoring.sliced_days`, what is known of a slice hour by hour becomes days."""

from dataclasses import dataclass
from typing import Final

from domain.clock import budget_day
from features.market import Market
from monitoring.watch.store import MonitorStore

_DONE: Final = "compacted"
DAYS_PER_MONTH = 30


@dataclass(frozen=True, slots=True)
class Compaction:
    """Works through the days that are old enough, one at a time."""

    market: Market
    store: MonitorStore

    def step(self) -> bool:
        """Compacts the oldest day that waits, if any; whether more wait."""
        length_s, spec = self.market.policy.day_length_s, self.market.monitoring
        first, last = self.store.first_and_last_hour()
        today = budget_day(last, length_s)
        done = self.store.recall(_DONE)
        day = max(int(done) + 1 if done else 0, budget_day(first, length_s))
        if day >= today - spec.sliced_days:
            return False
        with self.store.writing():
            self.store.join_hours(day * length_s * 1000, (day + 1) * length_s * 1000)
            self.store.forget_summaries((today - spec.months * DAYS_PER_MONTH) * length_s * 1000)
            self.store.remember(_DONE, str(day).encode())
        return day + 1 < today - spec.sliced_days
