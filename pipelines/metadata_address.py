"""Where ML Metadata is kept: an address as people write it, as the ConnectionConfig that MLMD and TFX take."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from domain.errors import OfferRankError

VARIABLE = "OFFERRANK_METADATA"
EXPECTED = "sqlite:///PATH, mysql://USER:PASSWORD@HOST:PORT/DATABASE or postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
_PORTS = {"mysql": 3306, "postgresql": 5432}


@dataclass(frozen=True, slots=True)
class MetadataAddress:
    """A store of ML Metadata."""

    name: str
    """As it may be shown: without a password."""
    path: Path | None
    """The file, of a store that is one."""
    config: Any
    """An `ml_metadata.proto.metadata_store_pb2.ConnectionConfig`."""


def metadata_beside(releases: Path) -> MetadataAddress:
    """The default: one file in the folder of releases, which every place that trains mounts and keeps anyway."""
    return sqlite_store(releases / "metadata.sqlite")


def metadata_address(url: str | None, releases: Path) -> MetadataAddress:
    """By `OFFERRANK_METADATA`; without one, beside the releases.

    Raises:
      OfferRankError: names the variable and what of it is wrong, and shows no password.
    """
    if not url:
        return metadata_beside(releases)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as e:
        raise OfferRankError(f"{VARIABLE}: expected {EXPECTED}; {e}") from None
    if parts.scheme == "sqlite":
        path = unquote(parts.path)
        if parts.netloc or len(path) < 2:
            raise OfferRankError(f"{VARIABLE}: expected sqlite:///PATH with a path, which begins with / again if it is absolute")
        return sqlite_store(Path(path[1:]))
    if parts.scheme not in _PORTS:
        raise OfferRankError(f"{VARIABLE}: expected {EXPECTED}, got a scheme {parts.scheme!r}")
    database = unquote(parts.path.removeprefix("/"))
    for what, value in (("a host", parts.hostname), ("a user", parts.username), ("a database", database)):
        if not value:
            raise OfferRankError(f"{VARIABLE}: expected {EXPECTED}; {what} is missing")
    if parts.query or "/" in database:
        raise OfferRankError(f"{VARIABLE}: expected {EXPECTED}, and nothing after the database")
    return _server(parts, database, port or _PORTS[parts.scheme])


def sqlite_store(path: Path) -> MetadataAddress:
    """A file, made where there is none."""
    config = _config()
    config.sqlite.filename_uri = str(path.absolute())
    config.sqlite.connection_mode = config.sqlite.READWRITE_OPENCREATE
    return MetadataAddress(f"sqlite:///{path.absolute()}", path, config)


def _server(parts: SplitResult, database: str, port: int) -> MetadataAddress:
    config = _config()
    user, password, host = unquote(parts.username or ""), unquote(parts.password or ""), parts.hostname or ""
    if parts.scheme == "mysql":
        server = config.mysql
        server.port, server.database = port, database
    else:
        server = config.postgresql
        server.port, server.dbname = str(port), database
    server.host, server.user, server.password = host, user, password
    return MetadataAddress(f"{parts.scheme}://{user}@{host}:{port}/{database}", None, config)


def _config() -> Any:
    from ml_metadata.proto import metadata_store_pb2

    return metadata_store_pb2.ConnectionConfig()
