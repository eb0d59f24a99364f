"""runs.sqlite, beside the releases: every training and recalibration, step by step, whatever came of it.

Written while a run goes on, so one that was killed is there, too, without an end; read without TensorFlow.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from store.sqlite import SqliteFile, transaction

Kind = Literal["training", "full", "incremental", "recalibration"]
"""`training` is on a file; a recalibration trains nothing."""
Outcome = Literal["released", "unchanged", "refused", "failed", "waiting", "stopped"]
"""unchanged: no calibration would be better. refused: a gate was missed. waiting: there is too little to learn from, or to
judge by, yet."""

SILENT_MS = 6 * 3_600_000
"""A run that neither ended nor was heard of for so long was killed."""
KEPT_MS = 400 * 86_400_000

RUNS: Final = SqliteFile(
    name="runs",
    schema="""
CREATE TABLE run (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, market TEXT NOT NULL, data TEXT NOT NULL, previous INTEGER,
  began_ms INTEGER NOT NULL, heard_ms INTEGER NOT NULL, ended_ms INTEGER,
  outcome TEXT, why TEXT NOT NULL, release INTEGER, details TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX run_by_time ON run (began_ms);
CREATE INDEX run_by_release ON run (release);
CREATE TABLE step (
  run TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, began_ms INTEGER NOT NULL, seconds REAL NOT NULL,
  failed INTEGER NOT NULL, rows_in INTEGER, rows_out INTEGER, peak_bytes INTEGER,
  PRIMARY KEY (run, number)
) WITHOUT ROWID;
""",
    version=1,
    maker="`offerrank train`, `retrain` or `recalibrate`",
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run that has ended."""

    name: str
    began_ms: int
    seconds: float
    failed: bool = False
    rows_in: int | None = None
    """Rows that it read and wrote, where that is known."""
    rows_out: int | None = None
    peak_bytes: int | None = None
    """Most memory of the process meanwhile, without its children's."""


@dataclass(frozen=True, slots=True)
class Run:
    """One training or recalibration."""

    id: str
    kind: Kind
    market: str
    data: str
    """The file or archive it read."""
    began_ms: int
    previous: int | None = None
    """The release it went on from."""
    heard_ms: int = 0
    ended_ms: int | None = None
    outcome: Outcome | None = None
    """None as long as it has not ended, and of one that was killed."""
    why: str = ""
    """Why it brought no release."""
    release: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    """What is only to be shown: `rows` by split, `gates`, `anomalies`, `trained_through_ms`, `labels`, `report`."""
    steps: tuple[Step, ...] = ()

    def state(self, now_ms: int) -> str:
        """The outcome, or `running`, or `killed` of one that nothing was heard of for six hours."""
        return self.outcome or ("running" if now_ms - self.heard_ms < SILENT_MS else "killed")

    def as_json(self, now_ms: int) -> dict[str, Any]:
        """With its state."""
        return asdict(self) | {"details": dict(self.details), "state": self.state(now_ms)}


def runs_path(releases: Path) -> Path:
    """What is known of the runs that bring releases into this folder."""
    return releases / "runs.sqlite"


def write_run(releases: Path, run: Run) -> None:
    """Writes a run as it now is, its steps with it: all or nothing.

    Raises:
      FileUnavailable: full disk, locked, no permission; FileDamaged: the file is no use any more.
    """
    path = runs_path(releases)
    db = RUNS.open_to_write(path)
    try:
        with RUNS.named_errors(path), transaction(db):
            began = (run.id, run.kind, run.market, run.data, run.previous, run.began_ms)
            row = (*began, run.heard_ms, run.ended_ms, run.outcome, run.why, run.release, orjson.dumps(run.details).decode())
            db.execute(f"REPLACE INTO run VALUES ({_places(row)})", row)
            for number, s in enumerate(run.steps):
                step = (run.id, number, s.name, s.began_ms, s.seconds, s.failed, s.rows_in, s.rows_out, s.peak_bytes)
                db.execute(f"REPLACE INTO step VALUES ({_places(step)})", step)
            db.execute("DELETE FROM step WHERE run IN (SELECT id FROM run WHERE began_ms < ?)", (run.heard_ms - KEPT_MS,))
            db.execute("DELETE FROM run WHERE began_ms < ?", (run.heard_ms - KEPT_MS,))
    finally:
        db.close()


def recent_runs(releases: Path, limit: int = 50, before_ms: int | None = None) -> list[Run]:
    """The newest runs, newest first, with their steps.

    Args:
      before_ms: only runs that began earlier, to look further back.
    Raises:
      FileUnavailable: there is no such file yet, or it cannot be read.
    """
    return _read(releases, "began_ms < ? ORDER BY began_ms DESC, id LIMIT ?", (2**62 if before_ms is None else before_ms, limit))


def run_of(releases: Path, version: int) -> Run | None:
    """The run that made a release, if it was recorded; errors as in `recent_runs`."""
    return next(iter(_read(releases, "release = ? ORDER BY began_ms DESC LIMIT 1", (version,))), None)


def _read(releases: Path, condition: str, values: tuple[int, ...]) -> list[Run]:
    with _reading(releases) as db:
        found = list(map(dict, db.execute(f"SELECT * FROM run WHERE {condition}", values)))
        return [Run(**row | {"details": orjson.loads(row["details"]), "steps": _steps(db, row["id"])}) for row in found]


def _steps(db: sqlite3.Connection, run: str) -> tuple[Step, ...]:
    columns = "name, began_ms, seconds, failed, rows_in, rows_out, peak_bytes"
    found = map(dict, db.execute(f"SELECT {columns} FROM step WHERE run = ? ORDER BY number", (run,)))
    return tuple(Step(**row | {"failed": bool(row["failed"])}) for row in found)


@contextmanager
def _reading(releases: Path) -> Iterator[sqlite3.Connection]:
    path = runs_path(releases)
    db = RUNS.open_to_read(path)
    db.row_factory = sqlite3.Row
    try:
        with RUNS.named_errors(path), transaction(db, "DEFERRED"):
            yield db
    finally:
        db.close()


def _places(row: Sequence[object]) -> str:
    return ", ".join("?" * len(row))
