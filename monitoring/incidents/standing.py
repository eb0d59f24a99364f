"""What is so now, as Redis and files beside the log say it; what is so for a moment only is none of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from monitoring.incidents.incident import Stream
from monitoring.summaries import ALL, Series, Slice

LASTING_MS: Final = 90_000
"""For which a thing is so in every look before it is told: books are compared every minute, and may be wrong once."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A finding of it."""

    kind: str
    series: Series
    size: float
    usual: float
    cost_micros_per_day: int = 0
    slice: Slice = ALL
    detail: Mapping[str, float | str] = field(default_factory=dict)
    since_ms: int = 0
    evidence: float = 1.0
    release: str = ""


class Lasting:
    """Passes on what is so for long enough."""

    def __init__(self, lasting_ms: int = LASTING_MS) -> None:
        self._lasting_ms = lasting_ms
        self._since_ms: dict[Stream, int] = {}

    def __call__(self, found: Iterable[Standing], at_ms: int) -> list[Standing]:
        """Of a look those that were in all looks since, each with when it began."""
        now = {Stream.of(one): one for one in found}
        self._since_ms = {stream: min(self._since_ms.get(stream, at_ms), at_ms) for stream in now}
        begun = {stream: replace(one, since_ms=self._since_ms[stream]) for stream, one in now.items()}
        return [one for one in begun.values() if at_ms - one.since_ms >= self._lasting_ms]
