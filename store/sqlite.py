"""SQLite files that several processes share: opened alike, written all or nothing, and what can be wrong with them in words."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from domain.errors import Unavailable

LOCK_WAIT_S = 2.0

_MEANING = {
    "SQLITE_FULL": "the disk is full",
    "SQLITE_BUSY": "another process keeps it locked",
    "SQLITE_READONLY": "it cannot be written to",
    "SQLITE_CANTOPEN": "it cannot be opened",
    "SQLITE_IOERR": "the disk fails",
    "SQLITE_CORRUPT": "it is damaged",
    "SQLITE_NOTADB": "it is no database",
}


class FileUnavailable(Unavailable):
    """It cannot be read or written now; may be better later."""


class FileDamaged(FileUnavailable):
    """The file is no use any more."""


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A kind of file: its tables and how it is called.

    Raises, in every method:
      damaged: the file has to be written anew.
      unavailable: full disk, locked, no permission; nothing of the transaction was written.
    """

    name: str
    """Of the dependency, in errors."""
    schema: str
    """SQL that makes the tables of an empty file."""
    version: int
    """Of the schema: a file of another is refused."""
    maker: str
    """Who writes it, to be said where there is none."""
    synchronous: Literal["NORMAL", "FULL"] = "FULL"
    """What a power cut may take: with NORMAL the last commits, never half of one."""
    unavailable: type[FileUnavailable] = FileUnavailable
    damaged: type[FileUnavailable] = FileDamaged

    def open_to_write(self, path: Path, whole: bool = False) -> sqlite3.Connection:
        """The file, made where there is none; its connection may be used by one thread at a time.

        Args:
          whole: reads all of it, about a second for 500 MB, so that damage is found now and not whenever somebody comes upon it.
        """
        with self.named_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(path, timeout=LOCK_WAIT_S, isolation_level=None, check_same_thread=False)
            try:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute(f"PRAGMA synchronous = {self.synchronous}")
                with transaction(db):
                    if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                        for statement in _statements(self.schema):
                            db.execute(statement)
                        db.execute(f"PRAGMA user_version = {self.version}")
                self._check_version(db, path)
                if whole and (found := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                    raise self.damaged(self.name, f"{path}: it is damaged ({str(found).splitlines()[0]})")
            except BaseException:
                db.close()
                raise
            return db

    def open_to_read(self, path: Path) -> sqlite3.Connection:
        """The file as it is, beside whoever writes it."""
        if not path.exists():
            raise self.unavailable(self.name, f"{path}: there is none; {self.maker} writes it")
        with self.named_errors(path):
            try:
                return self._connect_to_read(path, "mode=ro")
            except sqlite3.OperationalError:
                if Path(f"{path}-wal").exists():
                    raise
                # Nobody writes, and on a volume that is mounted read-only SQLite cannot make the files that would tell it so.
                return self._connect_to_read(path, "mode=ro&immutable=1")

    @contextmanager
    def named_errors(self, path: Path) -> Iterator[None]:
        """Turns what SQLite says into words."""
        try:
            yield
        except sqlite3.Error as e:
            name = getattr(e, "sqlite_errorname", "") or type(e).__name__
            what = next((meaning for prefix, meaning in _MEANING.items() if name.startswith(prefix)), "SQLite refuses")
            damaged = name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
            raise (self.damaged if damaged else self.unavailable)(self.name, f"{path}: {what} ({e})") from e

    def _connect_to_read(self, path: Path, how: str) -> sqlite3.Connection:
        db = sqlite3.connect(
            f"{path.absolute().as_uri()}?{how}", uri=True, timeout=LOCK_WAIT_S, isolation_level=None, check_same_thread=False
        )
        try:
            self._check_version(db, path)
        except BaseException:
            db.close()
            raise
        return db

    def _check_version(self, db: sqlite3.Connection, path: Path) -> None:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if not version and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise self.unavailable(self.name, f"{path}: is just being made")
        if version != self.version:
            raise self.damaged(self.name, f"{path}: expected version {self.version}, got {version}")


@contextmanager
def transaction(db: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """All or nothing; `DEFERRED` for readings of one instant."""
    db.execute(f"BEGIN {kind}")
    try:
        yield
    except BaseException:
        if db.in_transaction:  # SQLite itself rolls back when the disk is full
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _statements(script: str) -> Iterator[str]:
    """One by one, since `executescript` would commit in between. A trigger's body holds a semicolon of its own."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
