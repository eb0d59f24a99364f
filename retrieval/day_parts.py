"""Which campaigns are outside their hours now; looked up every quarter of an hour, in which all clocks of the world change."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from domain.campaign import Campaign
from domain.day_parts import HOURS, hour_of_week, hours_of_week

QUARTER_MS = 900_000


class DayParts:
    """The hours of those of C campaigns that have some.

    Args:
      rows: [P] campaigns.
      zones: [P] their time zones.
      hours: [P, 168] in which they are shown.
      n_campaigns: C.
    """

    def __init__(self, rows: NDArray[np.int64], zones: Sequence[str], hours: NDArray[np.bool_], n_campaigns: int) -> None:
        self._rows, self._hours, self._n_campaigns = rows, hours, n_campaigns
        self._names = tuple(dict.fromkeys(zones))
        self._zone = np.array([self._names.index(zone) for zone in zones])
        self._now: tuple[int, NDArray[np.bool_]] = (-1, np.zeros(n_campaigns, dtype=bool))

    @classmethod
    def of(cls, campaigns: Sequence[Campaign]) -> Self | None:
        """None where no campaign has any."""
        rows = [i for i, c in enumerate(campaigns) if c.day_parts]
        if not rows:
            return None
        hours = np.zeros((len(rows), HOURS), dtype=bool)
        for p, i in enumerate(rows):
            hours[p, list(hours_of_week(campaigns[i].day_parts))] = True
        return cls(np.array(rows), [campaigns[i].time_zone for i in rows], hours, len(campaigns))

    def closed(self, at_ms: int) -> NDArray[np.bool_]:
        """[C] campaigns outside their hours; the same array for a quarter of an hour."""
        quarter = at_ms // QUARTER_MS
        if quarter != self._now[0]:
            hour = np.array([hour_of_week(quarter * QUARTER_MS, name) for name in self._names])[self._zone]
            closed = np.zeros(self._n_campaigns, dtype=bool)
            closed[self._rows] = ~self._hours[np.arange(len(self._rows)), hour]
            self._now = quarter, closed
        return self._now[1]
