"""Time is UTC. Budgets live in budget days, which a simulated market may shorten."""

import time


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
