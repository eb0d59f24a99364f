"""The database of a catalogue: SQLite or PostgreSQL by one code path, its errors in words, its tables brought up to date."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, text
from sqlalchemy.exc import SQLAlchemyError

from catalogue.address import sqlite_path
from catalogue.tables import HEAD
from domain.errors import ContractError, Unavailable

REVISION = "0002"
"""Of the tables that this code writes."""
READ = ("0001", REVISION)
"""Those whose versions, entries and changes it reads, so that processes go on until somebody writes."""
MIGRATIONS = Path(__file__).parent / "migrations"
CONNECT_S = 3
LOCK_S = 10
STATEMENT_S = 60
UPGRADES = 0x0FFE
"""Of PostgreSQL's advisory locks."""


class CatalogueAway(Unavailable):
    """The database cannot be read or written now; may be better later."""

    def __init__(self, detail: str) -> None:
        super().__init__("catalogue", detail)


class Database:
    """A pool of connections; none is made before the first is needed.

    Raises, in every method:
      CatalogueAway: it does not answer, or not as a database of catalogues would.
    """

    def __init__(self, url: str) -> None:
        self._path = sqlite_path(url)
        self._file: tuple[int, int] | None = None
        self._engine = _sqlite(url) if self._path else _postgresql(url)

    def close(self) -> None:
        """Gives up the connections."""
        self._engine.dispose()

    def _notice_another_file(self) -> None:
        """Connections of a file that was replaced or taken away would go on with it, and what they write would be lost."""
        assert self._path is not None
        try:
            found = self._path.stat()
            now = found.st_dev, found.st_ino
        except OSError:
            now = None
        if now != self._file:
            self._engine.dispose()
            self._file = now

    @contextmanager
    def reading(self) -> Iterator[Connection | None]:
        """A connection whose statements each see what was committed by then; None where there is no catalogue yet."""
        if self._path is not None:
            self._notice_another_file()
            if not self._path.exists():  # opening it would make one
                yield None
                return
        with _named_errors(), self._engine.connect() as connection:
            yield connection if _revision(connection) else None

    def bring_up_to_date(self, market: str) -> None:
        """For whoever is going to write, before anybody does; where there is no catalogue yet, none is made.

        Raises:
          ContractError: it is the catalogue of another market.
        """
        with self.reading() as db:
            if db is None or _revision(db) == REVISION:
                return
        with self.writing(market):
            pass

    @contextmanager
    def writing(self, market: str) -> Iterator[Connection]:
        """A transaction, all or nothing, of the only writer; tables are made or brought up to date first.

        Raises:
          ContractError: it is the catalogue of another market.
        """
        if self._path is not None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as e:
                raise CatalogueAway(f"{self._path.parent}: {e.strerror}") from None
            self._notice_another_file()
        with _named_errors(), self._engine.connect().execution_options(writes=True) as connection:
            with connection.begin():
                self._upgrade(connection, market)
            with connection.begin():
                yield connection

    def _upgrade(self, connection: Connection, market: str) -> None:
        if (found := _revision(connection, exactly=False)) != REVISION:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADES})
            from alembic import command  # those who only read need none of it
            from alembic.config import Config
            from alembic.util import CommandError

            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, REVISION)
            except CommandError:
                raise _of_another_version(found) from None
        owner = connection.execute(select(HEAD.c.market)).scalar()
        if owner is None:
            connection.execute(HEAD.insert().values(id=1, market=market, history=secrets.token_hex(8), version=0))
        elif owner != market:
            raise ContractError(f"catalogue: expected that of market {market!r}, got that of {owner!r}")


def _revision(connection: Connection, exactly: bool = True) -> str | None:
    """Which tables there are; None before there are any."""
    found = None
    if inspect(connection).has_table("alembic_version"):
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if exactly and found not in (None, *READ):
        raise _of_another_version(found)
    return None if found is None else str(found)


def _of_another_version(found: str | None) -> CatalogueAway:
    return CatalogueAway(f"its tables are of revision {found}, and this version of OfferRank reads {REVISION}")


def _sqlite(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": LOCK_S})

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver would begin transactions by rules of its own
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")

    return engine


def _postgresql(url: str) -> Engine:
    limits = f"-c statement_timeout={STATEMENT_S * 1000} -c lock_timeout={LOCK_S * 1000}"
    alive = {"keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 2, "tcp_user_timeout": 1000 * LOCK_S}
    given = {"connect_timeout": CONNECT_S, "options": limits, **alive}
    # Readings see what is committed by then, statement by statement: rows of a version never change once it is the head.
    return create_engine(url, connect_args=given, pool_pre_ping=True, pool_size=2)


@contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as e:
        said = str(getattr(e, "orig", None) or e).strip().splitlines()
        raise CatalogueAway(said[0] if said else type(e).__name__) from e
