"""skew.json, beside the log: how far `offerrank skew --every` is, so that somebody notices when it is not any more."""

from typing import ClassVar, Final

from monitoring.beat_file import BeatFile

TURN_S: Final = 1800
"""Most time that one turn takes."""
BROKEN: Final = 2
"""Turns in a row that ended in the middle, after which nothing is checked any more."""


class SkewBeat(BeatFile):
    """skew.json; times in UTC ms."""

    FILE: ClassVar[str] = "skew.json"

    beat_ms: int
    """When it last began or ended a turn."""
    checked_ms: int
    """When a turn last came to its end, or the process began."""
    every_s: int
    broken: int = 0
    """Turns in a row that were killed, or broke."""
    why: str = ""

    @property
    def longest_ms(self) -> int:
        """From one beat to the next."""
        return 1000 * (self.every_s + TURN_S)

    def is_over(self, at_ms: int) -> bool:
        """Whether nothing is checked any more."""
        return at_ms - self.beat_ms > self.longest_ms or self.broken >= BROKEN
