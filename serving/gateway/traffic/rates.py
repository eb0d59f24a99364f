"""How often something happened lately: bounded memory whatever the names, and no clock of its own."""

from collections import OrderedDict
from dataclasses import dataclass

from domain.traffic import Rate

MAX_NAMES = 65_536
"""Shoppers, addresses or pages that are remembered, 10 to 30 MB of each; the one that was quiet for longest goes first."""
HALF_LIFE_MS = 300_000
MAX_OFFERS = 100_000


class Buckets:
    """A bucket per name that fills again over time (the generic cell rate algorithm: one number each, when it will be full).

    Whoever goes on while its bucket is empty keeps it empty, so that of a flood no steady trickle passes.
    """

    def __init__(self, rate: Rate, max_names: int = MAX_NAMES) -> None:
        self._each_ms = 3_600_000 / rate.per_hour
        self._whole_ms = rate.at_once * self._each_ms
        self._full_ms: OrderedDict[str, float] = OrderedDict()
        self._max_names = max_names

    def __len__(self) -> int:
        return len(self._full_ms)

    def take(self, name: str, now_ms: int) -> bool:
        """Counts one; whether that is still plausible."""
        # A clock that was set back finds buckets that would take for ever to fill: none takes longer than when it is empty.
        full_ms = min(max(self._full_ms.pop(name, now_ms), now_ms), now_ms + self._whole_ms) + self._each_ms
        fits = full_ms <= now_ms + self._whole_ms + 1  # the clock's own step
        self._full_ms[name] = min(full_ms, now_ms + self._whole_ms)
        if len(self._full_ms) > self._max_names:
            self._full_ms.popitem(last=False)
        return fits


@dataclass(frozen=True, slots=True)
class LastClick:
    """The last click on a page."""

    at_ms: int
    position: int


class LastClicks:
    """The last click on each page."""

    def __init__(self, max_names: int = MAX_NAMES) -> None:
        self._last: OrderedDict[str, LastClick] = OrderedDict()
        self._max_names = max_names

    def since_another(self, decision_id: str, position: int, now_ms: int) -> int | None:
        """Ms since the last click on the page, where that was on another of its offers; this one is the last now."""
        before = self._last.pop(decision_id, None)
        self._last[decision_id] = LastClick(now_ms, position)
        if len(self._last) > self._max_names:
            self._last.popitem(last=False)
        return abs(now_ms - before.at_ms) if before is not None and before.position != position else None


class ClickShares:
    """Clicks and impressions of each offer; what is older counts half every five minutes."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[float, float, float]] = OrderedDict()

    def shown(self, offer_id: str, now_ms: int) -> None:
        """Counts an impression."""
        self._add(offer_id, now_ms, 0.0, 1.0)

    def clicked(self, offer_id: str, now_ms: int) -> tuple[float, float]:
        """Counts a click; clicks and impressions so far."""
        return self._add(offer_id, now_ms, 1.0, 0.0)

    def _add(self, offer_id: str, now_ms: int, click: float, impression: float) -> tuple[float, float]:
        at_ms, clicks, impressions = self._counts.pop(offer_id, (now_ms, 0.0, 0.0))
        kept = 0.5 ** (max(now_ms - at_ms, 0) / HALF_LIFE_MS)
        clicks, impressions = clicks * kept + click, impressions * kept + impression
        self._counts[offer_id] = (now_ms, clicks, impressions)
        if len(self._counts) > MAX_OFFERS:
            self._counts.popitem(last=False)
        return clicks, impressions
