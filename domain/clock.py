"""Time is UTC. Budgets live in budget days, which a simulated market may shorten."""

import time
from collections.abc import Sequence
from zoneinfo import ZoneInfo


def now_ms() -> int:
    """Milliseconds since the epoch; called at the edges only and passed down."""
    return time.time_ns() // 1_000_000


def budget_day(at_ms: int, day_length_s: int) -> int:
    """Number of the budget day that holds `at_ms`; day 0 began at the epoch."""
    return at_ms // (day_length_s * 1000)


def day_fraction(at_ms: int, day_length_s: int) -> float:
    """How much of the current budget day has passed, in [0, 1)."""
    length_ms = day_length_s * 1000
    return (at_ms % length_ms) / length_ms


def traffic_passed(at_ms: int, day_length_s: int, shape: Sequence[float] = (1.0,)) -> float:
    """Share of the budget day's traffic that has come by `at_ms`, in [0, 1]: what share of a budget the plan has spent.

    Args:
      shape: K weights >= 0 of K equal parts of the day, such as 24 hours; traffic is even within a part.
    """
    parts = day_fraction(at_ms, day_length_s) * len(shape)
    whole = int(parts)
    return (sum(shape[:whole]) + (parts - whole) * shape[whole]) / sum(shape)


def hour_of_day(at_ms: int, day_length_s: int) -> int:
    """Which 24th part of the budget day holds `at_ms`, counted from the epoch; also of arrays of times."""
    return at_ms * 24 // (day_length_s * 1000)


def hour_begin_ms(hour: int, day_length_s: int) -> int:
    """When such a part begins, in whole ms; also of arrays."""
    return -(-hour * day_length_s * 1000 // 24)


def time_zone(name: str) -> ZoneInfo:
    """The clocks of a place.

    Raises:
      ValueError: there is no such time zone.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"expected a time zone such as Europe/Berlin, got {name!r}") from None
