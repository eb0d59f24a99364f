"""What a process says of itself in a small JSON file, for the monitor to notice when it says nothing any more."""

import os
from pathlib import Path
from typing import ClassVar, Self

from pydantic import ValidationError

from features.spec import Record


class BeatFile(Record):
    """A record that is a file of a folder."""

    FILE: ClassVar[str]
    """Its name."""

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """None where there is none, or nothing can be read."""
        try:
            return cls.model_validate_json((folder / cls.FILE).read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, folder: Path) -> None:
        """Replaces the file whole; raises OSError."""
        temporary = folder / f".{self.FILE}.{os.getpid()}"
        try:
            temporary.write_text(self.model_dump_json() + "\n", encoding="utf-8")
            temporary.replace(folder / self.FILE)
        finally:
            temporary.unlink(missing_ok=True)
