"""Temporary folders of runs. What a run that was killed could not remove, and what it kept of old failures, the next one does."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "offerrank-"
HELD = ".held"  # locked as long as the run lives
EXPLAINED = 10  # failures whose log or report is kept: a schedule may fail every hour


@contextmanager
def scratch_folder(purpose: str, kept: frozenset[str] | set[str] = frozenset()) -> Iterator[Path]:
    """`offerrank-<purpose>-...` in TMPDIR, removed in the end but for files of the kept names. None is kept of a killed run."""
    remove_abandoned()
    remove_oldest(purpose)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{purpose}-"))
    try:
        with (folder / f"{HELD}-soon").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.rename(lock.name, folder / HELD)  # only now, or another run might find it unlocked
            yield folder
    finally:
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name not in kept:
                path.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


def remove_abandoned() -> None:
    """Removes the folders whose run is gone."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{HELD}"):
        try:
            with path.open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.parent, ignore_errors=True)
        except OSError:
            continue  # it lives, or is another user's


def remove_oldest(purpose: str) -> None:
    """Removes what runs have kept, but for the newest of them."""
    folders = (p for p in Path(tempfile.gettempdir()).glob(f"{PREFIX}{purpose}-*") if p.is_dir() and not (p / HELD).exists())
    with suppress(FileNotFoundError):  # another run does the same
        for path in sorted(folders, key=lambda p: p.stat().st_mtime)[:-EXPLAINED]:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Libraries and child processes make their temporary files in a new folder meanwhile, which takes along what they leave."""
    folder.mkdir()
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before[0]
        if before[1] is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before[1]
        shutil.rmtree(folder, ignore_errors=True)
