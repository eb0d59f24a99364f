"""What of the traffic the monitor tells apart, and how closely it looks."""

from pydantic import Field

from features.spec import Record

PLACEMENT, POSITION, PARTNER = "placement", "position", "partner"
FEW_VALUES = 50


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
