"""The SQLite file of the monitor."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from domain.errors import ContractError
from store.sqlite import FileDamaged, FileUnavailable, SqliteFile


class MonitorUnavailable(FileUnavailable):
    """What the monitor knows cannot be read or written now; it follows from the archive, so the monitor catches up later."""


class MonitorDamaged(MonitorUnavailable, FileDamaged):
    """The file is no use any more; it can be set aside and made anew from the archive."""


MONITOR: Final = SqliteFile(
    name="monitor",
    schema=(Path(__file__).parent / "schema.sql").read_text("utf-8"),
    version=2,
    maker="`offerrank watch`",
    synchronous="NORMAL",  # what a power cut takes is read from the archive again
    unavailable=MonitorUnavailable,
    damaged=MonitorDamaged,
)


def monitor_path(log_dir: Path) -> Path:
    """What is known of the market whose archive this is."""
    return log_dir / "monitor.sqlite"


@contextmanager
def sole_writer(log_dir: Path) -> Iterator[None]:
    """Holds the file for one process; the kernel lets go of it however the process ends.

    Raises:
      ContractError: another one has it, or nothing can be written there.
    """
    try:
        log_dir.mkdir(parents=True, exist_ok=True)
        lock = (log_dir / "monitor.lock").open("a")
    except OSError as e:
        raise ContractError(f"{log_dir}: cannot be written to: {e.strerror}") from None
    with lock as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ContractError(f"{log_dir}: another process watches this archive") from None
        yield


def set_aside(path: Path) -> Path:
    """Moves a damaged file away, with what belongs to it; where to."""
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns() // 1_000_000}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    return aside
