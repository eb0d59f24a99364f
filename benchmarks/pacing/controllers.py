"""Who decides what a campaign bids, or whether it takes part: ours, and what it is compared with."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from auction.pacing import Pacing, update
from benchmarks.pacing.market import Floats, Ints

KNOWN = 0.1
"""Share of a day's traffic after which the day says as much of itself as the forecast does."""


@dataclass(frozen=True)
class Seen:
    """What a controller is told each minute."""

    day: int
    minute: int
    expected: float
    """Share of the day's traffic that was to come by now, by what weeks before have shown of each hour of the week."""
    expected_by_day: float
    """The same by hour of the day, which is all that a market file says."""
    came: float
    """Traffic since the minute before, as a share of what is now expected of the day."""
    planned: float
    """Share of a budget, see `plan`."""
    committed_micros: Ints
    budget_micros: Ints
    event_micros: Ints
    """Most that one billed event costs."""


def plan(pages: Floats, expected: Floats) -> tuple[Floats, Floats]:
    """By the begin of each minute, [MINUTES + 1] each: the share of a budget that the plan has spent, and `Seen.came`.

    What is left is planned anew each minute over the traffic that is left: that of the forecast, corrected by how the day has
    compared with it so far. So spend follows what comes, and nobody is asked to have known of a burst.

    Args:
      pages: [MINUTES] that came.
      expected: [MINUTES] by the forecast.
    """
    by_now, came = (np.cumsum(of) / expected.sum() for of in (expected, pages))
    level = (came + KNOWN) / (by_now + KNOWN)
    since = pages / expected.sum() / level
    left = 1 - np.cumprod(1 - since / np.maximum(since + 1 - by_now, 1e-9))
    return np.append(0.0, left), np.append(0.0, since)


class Controller(Protocol):
    """One number of each campaign, [C] in [0, 1]."""

    multiplier: Floats
    """Of its bids."""
    taking_part: Floats
    """Share of the pages on which it bids."""

    def update(self, seen: Seen) -> None:
        """At the begin of each minute."""

    def restart(self, seen: Seen) -> None:
        """Another process takes over, and knows what was published: the two numbers of each campaign."""


class Ours:
    """`auction.pacing`, as the pacer runs it: it knows the hours of an average day."""

    def __init__(self, campaigns: int) -> None:
        self.multiplier, self.taking_part = np.ones(campaigns), np.ones(campaigns)
        self._pacing = Pacing(0, 0.0, np.zeros(campaigns, dtype=np.int64), self.multiplier)

    def _traffic(self, seen: Seen) -> tuple[float, float | None]:
        """Share that has passed, and what came."""
        return seen.expected_by_day, None

    def update(self, seen: Seen) -> None:
        """One step."""
        passed, came = self._traffic(seen)
        given = seen.committed_micros, seen.budget_micros
        self._pacing = update(self._pacing, seen.day, passed, *given, event_micros=seen.event_micros, came=came)
        self.multiplier = self._pacing.multiplier

    def restart(self, seen: Seen) -> None:
        """As a new leader does."""
        self._pacing = Pacing(seen.day, self._traffic(seen)[0], seen.committed_micros, self.multiplier)


class OursByRequests(Ours):
    """The same, told of the requests that come, and of those of weeks before by hour of the week."""

    def _traffic(self, seen: Seen) -> tuple[float, float | None]:
        return seen.expected, seen.came


class Throttling:
    """Every minute the share of pages is a tenth higher or lower, whether less or more than planned is spent; all by 22:00.

    Source: Agarwal, Ghosh, Wei and You (2014), Budget pacing for targeted online advertisements at LinkedIn: their tuning.
    """

    STEP, FIRST, DONE_BY = 0.1, 0.1, 22 / 24

    def __init__(self, campaigns: int) -> None:
        self.multiplier, self.taking_part = np.ones(campaigns), np.full(campaigns, self.FIRST)

    def update(self, seen: Seen) -> None:
        """One step."""
        allocated = seen.budget_micros * min(seen.planned / self.DONE_BY, 1.0)
        factor = np.where(seen.committed_micros > allocated, 1 - self.STEP, 1 + self.STEP)
        self.taking_part = np.clip(self.taking_part * factor, 0.001, 1.0)

    def restart(self, seen: Seen) -> None:
        """Remembers nothing else."""


class Pid:
    """Bids are scaled by exp(phi), phi = 20 e + 8 sum(e) + 3 (change of e), in [-2, 0], 40 times a day.

    e is the share of what was planned until now that was not spent, in [-1, 1].

    Source: Zhang, Rong, Wang, Zhu and Wang (2016), Feedback Control of Real-Time Display Advertising: gains, bound and number of
      rounds of the program they published for the share of auctions won; bids are not raised above the campaign's.
    """

    BY_ERROR, BY_SUM, BY_CHANGE, LEAST, EVERY = 20.0, 8.0, 3.0, -2.0, 36

    def __init__(self, campaigns: int) -> None:
        self.multiplier, self.taking_part = np.ones(campaigns), np.ones(campaigns)
        self._day, self._sum, self._last = -1, np.zeros(campaigns), np.zeros(campaigns)

    def update(self, seen: Seen) -> None:
        """One round in 36 minutes."""
        if seen.minute % self.EVERY or not seen.minute:
            return
        planned = np.maximum(seen.budget_micros * seen.planned, 1.0)
        error = np.clip(1 - seen.committed_micros / planned, -1.0, 1.0)
        if self._day != seen.day:
            self._day, self._sum, self._last = seen.day, np.zeros(len(error)), error
        self._sum += error
        phi = self.BY_ERROR * error + self.BY_SUM * self._sum + self.BY_CHANGE * (error - self._last)
        self._last = error
        self.multiplier = np.exp(np.clip(phi, self.LEAST, 0.0))

    def restart(self, seen: Seen) -> None:  # noqa: ARG002
        """The sum is lost."""
        self._day = -1


class NoPacing:
    """The whole bid until the budget is gone."""

    def __init__(self, campaigns: int) -> None:
        self.multiplier, self.taking_part = np.ones(campaigns), np.ones(campaigns)

    def update(self, seen: Seen) -> None:
        """Nothing."""

    def restart(self, seen: Seen) -> None:
        """Nothing."""


CONTROLLERS: dict[str, type[Ours] | type[Throttling] | type[Pid] | type[NoPacing]] = {
    "offerrank": Ours,
    "offerrank by requests": OursByRequests,
    "throttling": Throttling,
    "pid": Pid,
    "none": NoPacing,
}
