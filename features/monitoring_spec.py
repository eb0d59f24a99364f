"""What of the traffic the monitor tells apart, and how closely it looks."""

from typing import Literal

from pydantic import Field

from features.spec import Record

PLACEMENT, POSITION, PARTNER = "placement", "position", "partner"
FEW_VALUES = 50


Drift = Literal["unknown", "new_value", "distribution", "prediction", "calibration"]
"""Kinds of incident that say that the world has moved, and not that data is broken: from broken data nothing is to be learned."""


class ResponseSpec(Record):
    """Which incidents ask for a recalibration or a training by themselves, with a brake: docs/monitoring.md."""

    recalibrate: tuple[Drift, ...] = ()
    """Kinds of incident that ask for `offerrank recalibrate`; of a kind that stands under `retrain` as well, before it."""
    retrain: tuple[Drift, ...] = ()
    """Kinds of incident that ask for `offerrank retrain`."""
    least_hours: int = Field(default=24, ge=1, le=720)
    """Hours that are looked at between two such requests, whatever the incidents."""


class MonitoringSpec(Record):
    """What the monitor watches: docs/monitoring.md."""

    slices: tuple[str, ...] | None = None
    """Parts of the traffic that are watched each on its own: features with single values, `placement`, `position`, `campaign`,
    `partner` (the name of the key that asked); unless given, shopper and context features whose given vocabulary has at most 50
    values, placement and campaign."""
    slice_values: int = Field(default=50, ge=1, le=1000)
    """Most values of a slice that are watched each, those with the most traffic; the others are one, `*`."""
    rows_per_hour: int = Field(default=100_000, ge=1000)
    """Decisions of an hour whose features, probabilities and labels are summarised; of more, a random share, which is stated.
    Money, losses and counts are always of all."""
    sliced_days: int = Field(default=28, ge=1, le=3650)
    """Days that hours are kept for each slice; after that there are days of each slice, and hours of all traffic."""
    months: int = Field(default=13, ge=1, le=120)
    """How long anything is kept, in months of 30 days."""
    response: ResponseSpec = ResponseSpec()
