"""Hours of the week by the clocks of a place: `mon-fri 08-18`, `sat,sun 10-16`, `fri 22-04` into the next day."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from domain.clock import time_zone

HOURS: Final = 7 * 24
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = f"(?:{'|'.join(DAYS)})"
_SPAN = f"{_DAY}(?:-{_DAY})?"
_FORM = re.compile(rf"({_SPAN}(?:,{_SPAN})*) (\d\d?)-(\d\d?)")
_EXPECTED = "expected days and hours, such as 'mon-fri 08-18' or 'sat,sun 22-04'"


def hours_of_week(parts: Iterable[str]) -> frozenset[int]:
    """The hours that any of the parts names, 0 to 167, from Monday's midnight.

    Raises:
      ValueError: one is of another form.
    """
    return frozenset(hour for part in parts for hour in _hours(part))


def days_with(hours: Iterable[int], first_day: int, last_day: int) -> int:
    """How many budget days from one to another, both included, have any of some hours of the week.

    Args:
      first_day, last_day: numbers of dates, 0 being that of the epoch, a Thursday.
    """
    weekdays = {hour // 24 for hour in hours}
    weeks, more = divmod(max(last_day - first_day + 1, 0), 7)
    return weeks * len(weekdays) + sum((first_day + d + 3) % 7 in weekdays for d in range(more))


def hour_of_week(at_ms: int, zone: str) -> int:
    """Which hour of the week it is there. Where clocks are put on an hour is missing, where they are put back one comes twice."""
    there = datetime.fromtimestamp(at_ms // 1000, time_zone(zone))
    return 24 * there.weekday() + there.hour


def _hours(part: str) -> Iterable[int]:
    found = _FORM.fullmatch(part)
    begin, end = (int(found[2]), int(found[3])) if found else (0, 0)
    if found is None or begin == end or begin > 23 or end > 24:
        raise ValueError(f"{_EXPECTED}, got {part!r}")
    length = (end - begin) % 24 or 24
    for span in found[1].split(","):
        first, _, last = span.partition("-")
        days = (DAYS.index(last or first) - DAYS.index(first)) % 7 + 1
        for day in range(DAYS.index(first), DAYS.index(first) + days):
            yield from ((24 * day + begin + h) % HOURS for h in range(length))
