"""learning.json, beside the releases: when `offerrank retrain` last brought one, so that somebody notices when none comes."""

from pathlib import Path
from typing import ClassVar, Final

from monitoring.beat_file import BeatFile

LEAST_S: Final = 86_400
TURNS: Final = 3
"""A day, or as many turns where they are rarer, may bring no release: little traffic is pooled until it can be judged by."""


class LearningBeat(BeatFile):
    """learning.json; times in UTC ms."""

    FILE: ClassVar[str] = "learning.json"

    learned_ms: int
    """When a training last brought a release, or was first tried."""
    every_s: int | None = None
    """From one turn to the next; None where somebody else has the schedule, which is taken for daily."""
    why: str = ""
    """Why the last turn brought none."""

    @classmethod
    def note(cls, releases: Path, at_ms: int, every_s: int | None, why: str | None) -> None:
        """A turn has ended: with a release, if there is no reason why not. Raises OSError."""
        before = cls.read(releases)
        learned_ms = at_ms if why is None or before is None else before.learned_ms
        cls(learned_ms=learned_ms, every_s=every_s, why=why or "").write(releases)

    @property
    def longest_ms(self) -> int:
        """From one release to the next."""
        return 1000 * max(LEAST_S, TURNS * (self.every_s or LEAST_S))

    def is_over(self, at_ms: int) -> bool:
        """Whether nothing is learned any more."""
        return at_ms - self.learned_ms > self.longest_ms
