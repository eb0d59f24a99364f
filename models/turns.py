"""retraining.json, beside the releases: what `offerrank retrain` has tried, and what came of it where that was no release.

The next turn reads it, to leave a full training that brought nothing until the next one is due; and the gateway, to ring.
"""

import os
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError

from features.spec import Record

FILE = "retraining.json"

Training = Literal["full", "incremental"]
Outcome = Literal["refused", "failed", "waiting"]
"""A gate was missed; something is wrong; nothing is wrong, and there is too little to learn from, or to judge by, yet."""


class Tried(Record):
    """Trainings of one kind, counted since the last one that brought a release."""

    began_ms: int | None = None
    """When the last one began."""
    at_work: bool = False
    """Whether it has not ended; one that never did was killed."""
    refused: int = 0
    failed: int = 0
    why: str = ""
    """Why the last one that ended brought no release."""


class Turns(Record):
    """retraining.json."""

    full: Tried = Field(default=Tried())
    incremental: Tried = Field(default=Tried())

    def began(self, training: Training, now_ms: int) -> Self:
        """Once a training has begun; noted before its end, so that one that is killed for its memory has been tried, too."""
        last: Tried = getattr(self, training)
        killed = {"failed": last.failed + 1, "why": "it was killed"} if last.at_work else {}
        return self._with(training, {"began_ms": now_ms, "at_work": True} | killed)

    def ended(self, training: Training, outcome: Outcome, why: str) -> Self:
        """Once a training has ended without a release."""
        last: Tried = getattr(self, training)
        counted = {} if outcome == "waiting" else {outcome: getattr(last, outcome) + 1}
        return self._with(training, {"at_work": False, "why": why} | counted)

    def released(self, training: Training) -> Self:
        """Once a training has brought a release; a full one makes up for incremental ones as well."""
        done = Tried(began_ms=getattr(self, training).began_ms)
        return self.model_copy(update={"incremental": Tried(), training: done})

    def made_up_by(self, full_ms: int) -> Self:
        """Where a full training has brought a release since that is not in the notes, such as an orchestrator's."""
        began_ms = self.full.began_ms
        return self if began_ms is None or began_ms >= full_ms else self._with("full", dict(Tried(began_ms=began_ms)))

    def _with(self, training: Training, changed: dict[str, object]) -> Self:
        return self.model_copy(update={training: getattr(self, training).model_copy(update=changed)})


def read_turns(releases: Path) -> Turns:
    """As noted in a releases folder; none where nothing can be read."""
    try:
        return Turns.model_validate_json((releases / FILE).read_bytes())
    except (OSError, ValidationError):
        return Turns()


def write_turns(releases: Path, turns: Turns) -> None:
    """Replaces the file whole, in a folder that is there; raises OSError."""
    if not releases.is_dir():
        return
    temporary = releases / f".{FILE}.{os.getpid()}"
    try:
        temporary.write_text(turns.model_dump_json(indent=2) + "\n", encoding="utf-8")
        temporary.replace(releases / FILE)
    finally:
        temporary.unlink(missing_ok=True)
