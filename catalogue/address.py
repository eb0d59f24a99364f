"""Where a catalogue is: the URL of its database."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

SQLITE = "sqlite:///"
POSTGRESQL = ("postgresql://", "postgres://", "postgresql+psycopg://")


def _checked(url: str) -> str:
    """The form that SQLAlchemy takes; what is wrong is said without the password that may be in it."""
    if url.startswith(SQLITE) and len(url) > len(SQLITE):
        return url
    for scheme in POSTGRESQL:
        if url.startswith(scheme) and (urlsplit(url).path or "/") != "/":
            return "postgresql+psycopg://" + url.removeprefix(scheme)
    raise ValueError(f"expected sqlite:///PATH or postgresql://USER@HOST/DATABASE, got one that begins with {url[:12]!r}")


CatalogueUrl = Annotated[str, AfterValidator(_checked)]


def parse_url(url: str) -> str:
    """A URL as settings take it; raises ValueError."""
    return _checked(url)


def sqlite_url(path: Path) -> str:
    """Of a file on this machine."""
    return f"{SQLITE}{path}"


def sqlite_path(url: str) -> Path | None:
    """The file of a URL; None of another database."""
    return Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) else None
