"""What detection says: one thing that moved, in one part of the traffic."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from monitoring.summaries import Series, Slice


@dataclass(frozen=True, slots=True)
class Finding:
    """A stream that has crossed its threshold, in one hour."""

    kind: str
    """`missing`, `unknown`, `new_value`, `vanished_value`, `distribution`, `tail`, `prediction`, `calibration`, `flow`,
    `skew`, or `replay`."""
    series: Series
    slice: Slice
    """The smallest one that explains it."""
    release: str
    since_ms: int
    """The hour at which the evidence began to rise."""
    seen_ms: int
    """The hour that was judged."""
    size: float
    """A rate, or a distance in the feature's own unit."""
    usual: float
    evidence: float
    """Log of the e-detector, over the least at which this stream alarms: above 0."""
    cost_micros_per_day: int
    """0 where it cannot be said."""
    detail: Mapping[str, float | str] = field(default_factory=dict)
