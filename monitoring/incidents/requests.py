"""What incidents have asked for and nobody has answered yet: read by whoever trains, who needs to write nothing here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

from monitoring.incidents.database import INCIDENTS, incidents_path
from monitoring.incidents.incident import Change
from store.runs import Kind, recent_runs, runs_path

Action = Literal["recalibrate", "retrain"]
ASKS: Final[Mapping[Action, Change]] = {"recalibrate": Change.ASKED_RECALIBRATE, "retrain": Change.ASKED_RETRAIN}
KINDS_OF_RUN: Final[Mapping[Action, tuple[Kind, ...]]] = {
    "recalibrate": ("recalibration",),
    "retrain": ("full", "incremental"),
}
"""Runs that answer, if they began after it was asked for, whoever started them."""


class Request(NamedTuple):
    """What an incident asks for."""

    seq: int
    """Of its line in the history: tells requests apart."""
    incident_id: str
    at_ms: int
    why: str


def request(log_dir: Path, releases: Path, action: Action, now_ms: int) -> Request | None:
    """The newest one, if its incident is not over and no run has begun since; none that a clock wrote that was ahead.

    Args:
      log_dir: the archive, beside which incidents are kept; without any nothing is asked for.
    Raises:
      FileUnavailable: incidents or runs cannot be read now.
    """
    path = incidents_path(log_dir)
    if not path.exists():
        return None
    db = INCIDENTS.open_to_read(path)
    try:
        with INCIDENTS.named_errors(path):
            query = (
                "SELECT seq, incident_id, at_ms, note FROM history JOIN incidents ON id = incident_id"
                " WHERE change = ? AND at_ms <= ? AND state <> 'closed' ORDER BY seq DESC LIMIT 1"
            )
            row = db.execute(query, (ASKS[action], now_ms)).fetchone()
    finally:
        db.close()
    if row is None:
        return None
    found = Request(*row)
    runs = recent_runs(releases) if runs_path(releases).exists() else []
    return None if any(r.kind in KINDS_OF_RUN[action] and r.began_ms >= found.at_ms for r in runs) else found
