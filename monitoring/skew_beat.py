"""skew.json, beside the log: how far `offerrank skew --every` is, so that somebody notices when it is not any more."""

import os
from pathlib import Path
from typing import Final, Self

from pydantic import ValidationError

from features.spec import Record

FILE: Final = "skew.json"
TURN_S: Final = 1800
"""Most time that one turn takes."""
BROKEN: Final = 2
"""Turns in a row that ended in the middle, after which nothing is checked any more."""


class SkewBeat(Record):
    """skew.json; times in UTC ms."""

    beat_ms: int
    """When it last began or ended a turn."""
    checked_ms: int
    """When a turn last came to its end, or the process began."""
    every_s: int
    broken: int = 0
    """Turns in a row that were killed, or broke."""
    why: str = ""

    @classmethod
    def read(cls, log_dir: Path) -> Self | None:
        """None where nobody checks, or nothing can be read."""
        try:
            return cls.model_validate_json((log_dir / FILE).read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, log_dir: Path) -> None:
        """Replaces the file whole; raises OSError."""
        temporary = log_dir / f".{FILE}.{os.getpid()}"
        try:
            temporary.write_text(self.model_dump_json() + "\n", encoding="utf-8")
            temporary.replace(log_dir / FILE)
        finally:
            temporary.unlink(missing_ok=True)

    @property
    def longest_ms(self) -> int:
        """From one beat to the next."""
        return 1000 * (self.every_s + TURN_S)

    def is_over(self, at_ms: int) -> bool:
        """Whether nothing is checked any more."""
        return at_ms - self.beat_ms > self.longest_ms or self.broken >= BROKEN
