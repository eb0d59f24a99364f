"""Events that wait for Redis, on the local disk: what a shopper was promised survives the process that promised it.

One file a process, locked for as long as the process lives; whoever finds one without its lock takes over what is in it. A line
is the CRC-32 of a JSON record in eight hexadecimal digits, a space, and the record. Lines are handed to the kernel before the
shopper is answered, so that `kill -9` loses none; nothing is forced to the disk, so that a crash of the machine may.
"""

import contextlib
import fcntl
import logging
import os
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from pydantic import TypeAdapter, ValidationError

from monitoring import metrics
from serving.gateway.ports import PageEvent

MAX_BYTES = 64 << 20
"""Of one file: 100,000 events."""
SUFFIX = ".journal"

log = logging.getLogger(__name__)

_EVENT: TypeAdapter[PageEvent] = TypeAdapter(PageEvent)


@dataclass(frozen=True, slots=True)
class Legacy:
    """What a dead process left behind; locked by this one until `Journal.clear`."""

    path: Path
    file: int
    events: list[PageEvent]
    unread: int
    """Whole lines that this version cannot read."""


class Journal:
    """The file of this process, and those it has taken over. One thread, but for `legacies`.

    A disk that takes no more is said once and counted; events are then kept in memory alone, as without a journal.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._path, self._file = self._new_path(), -1
        self._size = 0
        self._torn = self._failing = self._changed = False
        self._legacies: list[Legacy] = []
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not os.access(folder, os.W_OK):
                raise PermissionError(f"{folder} is not writable")
        except OSError as e:  # better said now than when the first event comes
            log.error("events will wait in memory alone, where a crash loses them: %s", e)

    def append(self, event: PageEvent) -> None:
        """Keeps an event until `clear`. Never fails."""
        record = orjson.dumps(event)
        line = b"%08x %b\n" % (zlib.crc32(record), record)
        self._changed = True
        try:
            if self._file < 0:
                self._file = self._create()
            if self._size + len(line) > self._max_bytes:
                raise OSError(f"{self._path.name} has reached {self._max_bytes} bytes")
            self._write(b"\n" + line if self._torn else line)
        except OSError as e:
            metrics.JOURNAL_FAILURES.inc()
            if not self._failing:
                log.error("events wait in memory alone, where a crash loses them: %s", e)
            self._failing = True
        else:
            self._failing = False

    def clear(self, waiting: Sequence[PageEvent] = ()) -> None:
        """Nothing waits any more of what was appended and taken over, or nothing but these."""
        if not self._changed:
            return
        old_path, old_file, legacies = self._path, self._file, self._legacies
        self._path, self._file, self._size, self._torn, self._legacies = self._new_path(), -1, 0, False, []
        for event in waiting:
            self.append(event)
        if old_file >= 0:
            _remove(old_path, old_file)
        for legacy in legacies:
            _remove(legacy.path, legacy.file, keep=bool(legacy.unread))
        self._changed = False

    def legacies(self) -> list[Legacy]:
        """Files of processes that are gone, read and locked; `take` them once their events wait here."""
        try:
            paths = sorted(self._folder.glob(f"*{SUFFIX}"))
        except OSError:
            return []
        mine = {self._path, *(legacy.path for legacy in self._legacies)}
        return [_read(path, file) for path in paths if path not in mine and (file := _locked(path)) is not None]

    def take(self, legacy: Legacy) -> None:
        """Its events are this process's from now on."""
        self._legacies.append(legacy)
        self._changed = True

    def close(self) -> None:
        """Leaves to the next process what still waits."""
        for file in (self._file, *(legacy.file for legacy in self._legacies)):
            if file >= 0:
                os.close(file)
        self._file, self._legacies = -1, []

    def _new_path(self) -> Path:
        return self._folder / f"{secrets.token_hex(8)}{SUFFIX}"

    def _create(self) -> int:
        """Locked before it has the name by which others would find it."""
        begun = self._path.with_suffix(".new")
        file = os.open(begun, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        begun.rename(self._path)
        return file

    def _write(self, line: bytes) -> None:
        written = os.write(self._file, line)
        self._size += written
        self._torn = written < len(line)
        if self._torn:
            raise OSError(f"{self._path.name}: the disk took {written} of {len(line)} bytes")


def _remove(path: Path, file: int, keep: bool = False) -> None:
    with contextlib.suppress(OSError):  # what stays is sent again one day, and found to be known
        path.rename(path.with_suffix(".unread")) if keep else path.unlink()
    os.close(file)


def _locked(path: Path) -> int | None:
    """The file, if its process is gone and no other has taken it over."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file).st_nlink:
            return file
    except OSError:
        pass
    os.close(file)
    return None


def _read(path: Path, file: int) -> Legacy:
    """All whole lines; says how many are not."""
    with open(file, "rb", closefd=False) as text:
        lines = text.read().split(b"\n")
    events, torn, unread = [], 0, 0
    for line in filter(None, lines):
        checksum, _, record = line.partition(b" ")
        if checksum != b"%08x" % zlib.crc32(record):
            torn += 1
            continue
        try:
            events.append(_EVENT.validate_json(record))
        except ValidationError:
            unread += 1
    log.info("%s: %d events of a process that is gone", path.name, len(events))
    if torn:
        log.warning("%s: %d lines are torn and left out", path.name, torn)
    if unread:
        log.error("%s: %d events are of another version and cannot be read; they stay in the folder", path.name, unread)
    return Legacy(path, file, events, unread)
