"""Keeps 13 months small: after `monitoring.sliced_days`, what is known of a slice hour by hour becomes days."""

from dataclasses import dataclass
from typing import Final

from domain.clock import budget_day
from features.market import Market
from monitoring.watch.finishing import CONVERSIONS_FINAL
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
        # Age is counted in known days, not by a clock: one that jumped years ahead must not take what is known with it.
        days = self.store.days(length_s)
        done = int(self.store.recall(_DONE) or -1)
        waiting = [day for day in days[spec.sliced_days + 1 :] if day > done]
        if not waiting:
            return False
        day, oldest = waiting[-1], days[: spec.months * DAYS_PER_MONTH + 1][-1]
        with self.store.writing():
            self.store.join_hours(day * length_s * 1000, (day + 1) * length_s * 1000)
            self.store.forget_summaries(oldest * length_s * 1000)
            labels = self.store.hours("hour_ms = (SELECT min(hour_ms) FROM hours WHERE stage < ?)", CONVERSIONS_FINAL)
            self.store.forget_watched(min([day, *(budget_day(hour.hour_ms, length_s) for hour in labels)]))
            self.store.remember(_DONE, str(day).encode())
        return len(waiting) > 1
