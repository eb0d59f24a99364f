"""Which fault is at work in a simulated market, as a file in its run's folder says.

`offerrank fault` and the page write it, simulated shoppers follow it.
"""

from pathlib import Path

from domain.errors import OfferRankError

AT_WORK = "fault"
"""Name of the file."""


class FaultSwitch:
    """The fault that a file names."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def at_work(self) -> str | None:
        """Its name; None where nothing is broken, or the file cannot be read."""
        try:
            return self._path.read_text("utf-8").strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def inject(self, name: str) -> None:
        """Breaks it from now on.

        Raises:
          OfferRankError: the file cannot be written.
        """
        try:
            self._path.write_text(name + "\n", encoding="utf-8")
        except OSError as e:
            raise OfferRankError(f"{self._path}: cannot be written: {e.strerror}") from None

    def clear(self) -> None:
        """Mends it."""
        self._path.unlink(missing_ok=True)
