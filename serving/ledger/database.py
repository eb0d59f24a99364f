"""The SQLite file of the books."""

import sqlite3
from pathlib import Path

from store.sqlite import FileUnavailable, SqliteFile, transaction

__all__ = [
    "LedgerDamaged",
    "LedgerUnavailable",
    "ledger_path",
    "named_errors",
    "open_empty",
    "open_to_read",
    "open_to_write",
    "transaction",
]


class LedgerUnavailable(FileUnavailable):
    """The books cannot be read or written now; the archive has everything, so they catch up later."""


class LedgerDamaged(LedgerUnavailable):
    """The file is no use any more; the archive has everything, so it can be set aside and written anew."""


_BOOKS = SqliteFile(
    name="ledger",
    schema=(Path(__file__).parent / "schema.sql").read_text("utf-8"),
    version=1,
    maker="the archiver",
    synchronous="NORMAL",  # the archive posts again what a power cut took
    unavailable=LedgerUnavailable,
    damaged=LedgerDamaged,
)
open_to_write, open_to_read, named_errors = _BOOKS.open_to_write, _BOOKS.open_to_read, _BOOKS.named_errors


def ledger_path(log_dir: Path) -> Path:
    """The books of the market whose archive this is."""
    return log_dir / "ledger.sqlite"


def open_empty() -> sqlite3.Connection:
    """Books without an entry, in memory."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(_BOOKS.schema)
    return db
