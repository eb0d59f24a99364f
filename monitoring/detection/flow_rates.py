"""Which rates and amounts of the traffic's counters are watched."""

from typing import Final

RATES: Final[tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]] = (
    ("fill", ("filled",), ("wanted",)),
    ("impressions per filled slot", ("impressions",), ("filled",)),
    ("clicks per impression", ("clicks",), ("impressions",)),
    ("conversions per click", ("conversions",), ("clicks",)),
)
"""Name, and the counters that are added for its hits and for its rows."""
AMOUNTS: Final = (("pages", "pages"),)
"""Name and counter of what there should be about as much of as on other days."""
