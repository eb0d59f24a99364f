"""Opens the SQLite file of the books, and names what can be wrong with it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from domain.errors import Unavailable

SCHEMA = (Path(__file__).parent / "schema.sql").read_text("utf-8")
VERSION = 1
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


class LedgerUnavailable(Unavailable):
    """The books cannot be read or written now; the archive has everything, so they catch up later."""


class LedgerDamaged(LedgerUnavailable):
    """The file is no use any more; the archive has everything, so it can be set aside and written anew."""


def ledger_path(log_dir: Path) -> Path:
    """The books of the market whose archive this is."""
    return log_dir / "ledger.sqlite"


def open_to_write(path: Path) -> sqlite3.Connection:
    """The books, made where there are none. Errors as in `named_errors`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with named_errors(path):
        db = sqlite3.connect(path, timeout=LOCK_WAIT_S, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            # A power cut may take the last commits, never half of one; the archive posts them again.
            db.execute("PRAGMA synchronous = NORMAL")
            with transaction(db):
                if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    for statement in _statements(SCHEMA):
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version = {VERSION}")
            _check_version(db, path)
        except BaseException:
            db.close()
            raise
        return db


def open_empty() -> sqlite3.Connection:
    """Books without an entry, in memory."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(SCHEMA)
    return db


def open_to_read(path: Path) -> sqlite3.Connection:
    """The books as they are, beside whoever writes them. Errors as in `named_errors`."""
    if not path.exists():
        raise LedgerUnavailable("ledger", f"{path}: there is none; the archiver writes it")
    with named_errors(path):
        try:
            return _connect_to_read(path, "mode=ro")
        except sqlite3.OperationalError:
            if Path(f"{path}-wal").exists():
                raise
            # Nobody writes, and on a volume that is mounted read-only SQLite cannot make the files that would tell it so.
            return _connect_to_read(path, "mode=ro&immutable=1")


def _connect_to_read(path: Path, how: str) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=LOCK_WAIT_S, isolation_level=None)
    try:
        _check_version(db, path)
    except BaseException:
        db.close()
        raise
    return db


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


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Turns what SQLite says into words.

    Raises:
      LedgerDamaged: the file has to be written anew.
      LedgerUnavailable: full disk, locked, no permission: may be better later.
    """
    try:
        yield
    except sqlite3.Error as e:
        name = getattr(e, "sqlite_errorname", "") or type(e).__name__
        what = next((meaning for prefix, meaning in _MEANING.items() if name.startswith(prefix)), "SQLite refuses")
        damaged = name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
        raise (LedgerDamaged if damaged else LedgerUnavailable)("ledger", f"{path}: {what} ({e})") from e


def _check_version(db: sqlite3.Connection, path: Path) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version != VERSION:
        raise LedgerDamaged("ledger", f"{path}: expected version {VERSION}, got {version}")


def _statements(script: str) -> Iterator[str]:
    """One by one, since `executescript` would commit in between. A trigger's body holds a semicolon of its own."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
