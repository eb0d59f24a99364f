"""Which rates and amounts of the traffic's counters are watched."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from features.monitoring_spec import PARTNER, POSITION
from features.spec import CAMPAIGN
from monitoring.summaries import Slice

BY_EVENTS: Final = ("", CAMPAIGN, PARTNER, POSITION)
"""Slices that events say themselves: counted in the hour in which they came, as on earlier days. In others they belong to the
hour of their decision, of which more come later, so that it cannot be compared yet."""


@dataclass(frozen=True, slots=True)
class FlowRate:
    """A share of `per` that are `hits`; either is a sum of counters."""

    name: str
    hits: Callable[[Mapping[str, int]], int]
    per: Callable[[Mapping[str, int]], int]
    only_by_events: bool = False
    rising: bool = False
    """Only a rise is a fault."""
    rise_costs: bool = True
    """A rise may cost money, as clicks may that nobody will pay for; more pages filled do not."""

    def watches(self, part: Slice) -> bool:
        """Whether it is watched in a slice."""
        return not self.only_by_events or part.by in BY_EVENTS


def _counter(*names: str) -> Callable[[Mapping[str, int]], int]:
    return lambda counts: sum(counts.get(name, 0) for name in names)


def _all(prefix: str, *and_names: str) -> Callable[[Mapping[str, int]], int]:
    named = _counter(*and_names)
    return lambda counts: named(counts) + sum(n for name, n in counts.items() if name.startswith(prefix))


RATES: Final = (
    FlowRate("fill", _counter("filled"), _counter("wanted"), rise_costs=False),
    FlowRate("impressions_per_filled_slot", _counter("impressions"), _counter("filled"), rise_costs=False),
    FlowRate("clicks_per_impression", _counter("clicks"), _counter("impressions")),
    FlowRate("conversions_per_click", _counter("conversions"), _counter("clicks"), only_by_events=True),
    FlowRate("invalid_events", _all("invalid:"), _all("invalid:", "impressions", "clicks", "conversions"), rising=True),
    FlowRate("invalid_pages", _all("invalid_page:"), _all("invalid_page:", "pages"), rising=True),
    FlowRate("degraded", _all("degraded:"), _counter("pages"), rising=True),
    FlowRate("clicks_without_impression", _counter("clicks_without_impression"), _counter("clicks"), rising=True),
    FlowRate("conversions_without_click", _counter("conversions_without_click"), _counter("conversions"), rising=True),
)
AMOUNTS: Final = ("pages",)
"""Counters of which there should be about as many as on other days."""
RISE_IS_FREE: Final = frozenset((*(rate.name for rate in RATES if not rate.rise_costs), *AMOUNTS))
"""Flows of which more than usual costs nothing."""
