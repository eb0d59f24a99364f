"""What a day brings, by release: what money is told by where an incident's cost is an estimate."""

from collections import Counter
from typing import Final

from monitoring.summaries import ALL, FLOW, Flows
from monitoring.watch.store import MonitorStore

HOURS: Final = 24


def revenue_micros_per_day(store: MonitorStore, hour_length_ms: int) -> dict[str, int]:
    """By the last 24 hours that are over, or fewer. A charge does not say whose decision it was, so a release's part is that of
    the slots that it filled.

    Raises:
      MonitorUnavailable: of the file.
    """
    last_ms = store.first_and_last_hour()[1]
    since_ms = last_ms - (HOURS - 1) * hour_length_ms
    charged, hours = 0, set[int]()
    filled: Counter[str] = Counter()
    for hour_ms, release, flows in store.history(FLOW, ALL, since_ms, last_ms + 1):
        if isinstance(flows, Flows):
            hours.add(hour_ms)
            charged += flows["charged_micros"]
            filled[release] += flows["filled"]
    slots = filled.total()
    a_day = charged * HOURS / max(len(hours), 1)
    return {release: round(a_day * of / slots) for release, of in filled.items() if of}
