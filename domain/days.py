"""Budget days of places: dates, which daylight saving makes 23 or 25 hours long, or even skips."""

from collections.abc import Sequence
from datetime import date, datetime, time
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from domain.campaign import Campaign
from domain.clock import budget_day, time_zone, traffic_passed
from domain.day_parts import hour_of_week, hours_of_week

UTC = "UTC"
DAY_S = 86_400
_EPOCH = date(1970, 1, 1).toordinal()
_HALF_HOUR_MS = 1_800_000
_ALWAYS = frozenset[int]()
_LAST = date.max.toordinal() - _EPOCH
"""The last day that has a date."""


def day_begins_ms(day: int, zone: str, day_length_s: int = DAY_S) -> int:
    """The first ms of a budget day: midnight, or where clocks skip that, the moment they do. Never before that of the day before.

    Args:
      day: number of the date, 0 being that of the epoch; of markets with shorter days, of such a part of UTC.
    """
    if zone == UTC or not 0 <= day <= _LAST:
        return day * day_length_s * 1000
    return _midnight_ms(zone, day)


def day_of(at_ms: int, zone: str, day_length_s: int = DAY_S) -> int:
    """The budget day that holds `at_ms`: the last that has begun."""
    day = budget_day(at_ms, day_length_s)
    if zone == UTC:
        return day
    day += 1  # no clock is a whole day off that of UTC
    while day_begins_ms(day, zone) > at_ms:
        day -= 1
    return day


def traffic_passed_of_day(at_ms: int, day: int, zone: str, shape: Sequence[float], day_length_s: int = DAY_S) -> float:
    """`domain.clock.traffic_passed` of a budget day of a place, in [0, 1].

    Args:
      shape: of the market's days, which are those of UTC.
    """
    if zone == UTC:
        now = budget_day(at_ms, day_length_s)
        return traffic_passed(at_ms, day_length_s, shape) if now == day else float(now > day)
    begin_ms, end_ms = day_begins_ms(day, zone), day_begins_ms(day + 1, zone)

    def since_begin(ms: int) -> float:
        whole = budget_day(ms, DAY_S) - budget_day(begin_ms, DAY_S)
        return whole + traffic_passed(ms, DAY_S, shape) - traffic_passed(begin_ms, DAY_S, shape)

    if not begin_ms < at_ms < end_ms:
        return 0.0 if at_ms <= begin_ms < end_ms else 1.0
    all_day = since_begin(end_ms)
    return since_begin(at_ms) / all_day if all_day > 0 else (at_ms - begin_ms) / (end_ms - begin_ms)


def traffic_passed_in_hours(at_ms: int, day: int, zone: str, shape: Sequence[float], hours: frozenset[int]) -> float:
    """`traffic_passed_of_day`, of the traffic in some hours of the week alone; of all where that day has none of them.

    Args:
      hours: as `domain.day_parts.hours_of_week` has them, by the clocks of the place.
    """
    bounds_ms, passed = _in_hours(day, zone, tuple(shape), hours)
    return float(np.interp(at_ms, bounds_ms, passed))


class CampaignDays:
    """The budget days of C campaigns. Those of now are asked for by every page, and change a few times a day.

    Args:
      zones: [C] time zones.
      hours: [C] hours of the week in which each is shown, none for all; a day that is no date has none.
    """

    def __init__(self, zones: Sequence[str], day_length_s: int, hours: Sequence[frozenset[int]] | None = None) -> None:
        self.zones, self._length_s = tuple(zones), day_length_s
        self._hours = hours if hours is not None and day_length_s == DAY_S else [_ALWAYS] * len(self.zones)
        self._names = tuple(dict.fromkeys((UTC, *zones)))
        at = {name: i for i, name in enumerate(self._names)}
        self._zone = np.array([at[name] for name in zones], dtype=np.int64)
        self._now: tuple[int, int, NDArray[np.int64]] = (0, 0, np.zeros(len(zones), dtype=np.int64))

    @classmethod
    def of(cls, campaigns: Sequence[Campaign], day_length_s: int) -> Self:
        """Those of the campaigns of a market."""
        return cls([c.time_zone for c in campaigns], day_length_s, [hours_of_week(c.day_parts) for c in campaigns])

    def at(self, at_ms: int) -> NDArray[np.int64]:
        """[C] the day of each campaign; the same array until it is another day somewhere."""
        from_ms, until_ms, days = self._now
        if from_ms <= at_ms < until_ms:
            return days
        by_zone = [day_of(at_ms, name, self._length_s) for name in self._names]
        spans = [
            (self._begins_ms(day, name), self._begins_ms(day + 1, name)) for day, name in zip(by_zone, self._names, strict=True)
        ]
        days = np.array(by_zone, dtype=np.int64)[self._zone]
        self._now = max(begin for begin, _ in spans), min(end for _, end in spans), days
        return days

    def of_each(self, at_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """[C] the day of each campaign at a moment of its own, [C]."""
        asked = zip(at_ms.tolist(), self.zones, strict=True)
        return np.array([day_of(ms, zone, self._length_s) for ms, zone in asked], dtype=np.int64)

    def traffic_passed(
        self, at_ms: NDArray[np.int64] | int, days: NDArray[np.int64], shape: Sequence[float]
    ) -> NDArray[np.float64]:
        """[C] share of the traffic of each campaign's day in `days`, [C], that has come by `at_ms`, of all or [C].

        It is that of the hours in which the campaign is shown."""
        whens = np.broadcast_to(at_ms, len(self.zones)).tolist()
        asked = list(zip(whens, days.tolist(), self._zone.tolist(), self._hours, strict=True))
        passed = {of: self._passed(*of, shape) for of in set(asked)}
        return np.array([passed[of] for of in asked], dtype=np.float64)

    def _passed(self, at_ms: int, day: int, zone: int, hours: frozenset[int], shape: Sequence[float]) -> float:
        if hours:
            return traffic_passed_in_hours(at_ms, day, self._names[zone], shape, hours)
        return traffic_passed_of_day(at_ms, day, self._names[zone], shape, self._length_s)

    def _begins_ms(self, day: int, zone: str) -> int:
        return day_begins_ms(day, zone, self._length_s)


@lru_cache(maxsize=10_000)
def _in_hours(day: int, zone: str, shape: tuple[float, ...], hours: frozenset[int]) -> tuple[list[int], list[float]]:
    """Bounds of a day's half hours, and the traffic passed by each; clocks are put on and back by half an hour at least."""
    begin_ms, end_ms = day_begins_ms(day, zone), day_begins_ms(day + 1, zone)
    bounds_ms = [*range(begin_ms, end_ms, _HALF_HOUR_MS), end_ms]
    passed = [traffic_passed_of_day(ms, day, zone, shape, DAY_S) for ms in bounds_ms]
    shown = [hour_of_week(ms, zone) in hours for ms in bounds_ms[:-1]]
    within = np.cumsum([0.0, *(np.diff(passed) * shown)])
    return bounds_ms, (within / within[-1]).tolist() if within[-1] > 0 else passed


@lru_cache(maxsize=100_000)
def _midnight_ms(zone: str, day: int) -> int:
    # Of two midnights the first; one that is skipped is where the clocks were put on, as `fold` has it.
    return round(datetime.combine(date.fromordinal(_EPOCH + day), time(), time_zone(zone)).timestamp() * 1000)
