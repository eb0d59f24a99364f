"""Writes parts so that after a crash at any moment each stream entry is in the archive once or not at all."""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from domain.errors import ContractError
from features.log_archive import Archived, StreamId, archived, part_path
from serving.archiver.rows import Rejected


def write_part(
    log_dir: Path,
    log: str,
    table: pa.Table,
    rejected: list[Rejected],
    first: StreamId,
    last: StreamId,
    to: Archived | None = None,
) -> Path:
    """Commits entries logged within one hour.

    The rename is the commit: before it a restarted archiver reads the same entries again, after it none of them. The
    rejected ones are on disk before that, in a file of the same name, which `discard_uncommitted` removes if the
    rename never came.

    Args:
      first, last: the least and the greatest of their ids.
      to: how far the log is archived with them; by default it has one stream, which is archived up to `last`.
    Raises:
      OSError: disk full, no permission; nothing was committed.
    """
    to = to or Archived(archived(log_dir, log).number + 1, {0: last}, last.ms)
    path = part_path(log_dir, log, to.number, first.ms, last.ms)
    if rejected:
        lines = b"".join(orjson.dumps(_as_json(r), option=orjson.OPT_APPEND_NEWLINE) for r in rejected)
        _write_durably(rejected_path(log_dir, log, path.stem), lambda temporary: temporary.write_bytes(lines))
    table = table.replace_schema_metadata((table.schema.metadata or {}) | to.metadata())
    _write_durably(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))
    return path


def rejected_path(log_dir: Path, log: str, part: str) -> Path:
    """JSON lines of a part's rejected entries: `id`, `stream`, `reason`, `fields`."""
    return log_dir / "rejected" / log / f"{part}.jsonl"


def rejected_count(log_dir: Path, log: str) -> int:
    """How many entries of a log have been rejected so far."""
    return sum(path.read_bytes().count(b"\n") for path in (log_dir / "rejected" / log).glob("part-*.jsonl"))


def discard_uncommitted(log_dir: Path, log: str) -> None:
    """Removes what an archiver that died left behind: temporary files, and rejected entries that will be read again."""
    for path in log_dir.glob(f"**/{log}/**/*.tmp"):
        path.unlink()
    done = archived(log_dir, log).number
    for path in (log_dir / "rejected" / log).glob("part-*-*-*.jsonl"):
        if path.stem.count("-") == 3 and int(path.stem.split("-")[1]) > done:
            path.unlink()


@contextmanager
def sole_archiver(log_dir: Path, market: str) -> Iterator[None]:
    """Holds the archive for one process and one market; the kernel lets go of it however the process ends.

    Raises:
      ContractError: another archiver holds it, or it belongs to another market.
    """
    log_dir.mkdir(parents=True, exist_ok=True)
    with (log_dir / "archiver.lock").open("a+") as file:
        if not _locked(file.fileno()):
            raise ContractError(f"{log_dir}: another archiver is writing here ({_owner(file.name)})")
        file.seek(0)
        text = file.read()
        before = json.loads(text) if text.strip() else {"market": market}
        if before["market"] != market:
            raise ContractError(f"{log_dir}: holds the log of market {before['market']!r}, not of {market!r}")
        file.seek(0)
        file.truncate()
        json.dump({"market": market, "pid": os.getpid()}, file)
        file.flush()
        yield


def _locked(descriptor: int) -> bool:
    """Takes the lock, which the pacer may have for the blink of an eye to see whether an archiver has it."""
    for attempt in range(5):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.02 * attempt)
    return False


def _owner(lock: str) -> str:
    return Path(lock).read_text().strip() or "just starting"


def _as_json(r: Rejected) -> dict[str, object]:
    # Whatever the bytes are, latin-1 gives them back exactly.
    fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in r.entry.fields.items()}
    return {"id": str(r.entry.id), "stream": r.entry.stream, "reason": r.reason, "fields": fields}


def _write_durably(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        write(temporary)
        _fsync(temporary)
        temporary.rename(path)
        # The names of new folders must survive a power cut as well.
        for folder in (path.parent, path.parent.parent):
            _fsync(folder)
    finally:
        temporary.unlink(missing_ok=True)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
