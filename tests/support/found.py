"""Findings, as detection hands them to the incidents."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from monitoring.summaries import ALL, Series, Slice

HOUR = 3_600_000
START = 1_795_000_000_000 // HOUR * HOUR
"""2026-11-18T12:00Z"""


COUNTRY = Series("feature", "country")


@dataclass(frozen=True, slots=True)
class Found:
    kind: str = "missing"
    series: Series = COUNTRY
    slice: Slice = ALL
    release: str = "1700000010"
    since_ms: int = START
    size: float = 0.3
    usual: float = 0.01
    evidence: float = 5_000.0
    cost_micros_per_day: int = 0
    detail: Mapping[str, float | str] = field(default_factory=dict)


def missing(feature: str = "country", of: Slice = ALL, **changes: object) -> Found:
    """A feature that is missing in 30 % of rows, usually 1 %."""
    return Found("missing", Series("feature", feature), of, **changes)  # type: ignore[arg-type]
