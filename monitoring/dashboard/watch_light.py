"""Whether anybody watches: the page's light, without which a list of no incidents says nothing."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from domain.keys import Keys

if TYPE_CHECKING:
    import redis

TURN_S = 300.0
"""Longest turn of a watch that has parts to read."""


@dataclass(frozen=True, slots=True)
class WatchState:
    """What the watch said last; docs/redis.md, watch."""

    age_s: float
    skipped: int
    """Parts of the archive that it could not read."""
    fault: str

    @classmethod
    def read(cls, client: "redis.Redis", keys: Keys, at_ms: int) -> Self | None:
        """None where it has said nothing yet; raises redis.RedisError."""
        beat_ms, skipped, fault = client.hmget(keys.watch, "beat_ms", "skipped", "fault")
        if beat_ms is None and not fault:
            return None
        age_s = max(at_ms - int(beat_ms or at_ms), 0) / 1000
        return cls(age_s, int(skipped or 0), (fault or b"").decode(errors="replace"))

    @property
    def ok(self) -> bool:
        """It takes its turns, and can read everything."""
        return not (self.fault or self.skipped or self.age_s > TURN_S)

    @property
    def detail(self) -> str:
        """The light's text."""
        skipped = f"{self.skipped} parts of the archive cannot be read" if self.skipped else ""
        return ", ".join(filter(None, [self.fault, skipped, f"took a turn {self.age_s:.0f} s ago"]))
