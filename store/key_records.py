"""The keys of publishers, servers, operators and those who run campaigns, as kept in a file of JSON lines.

A key is `or_<role>_<43 random characters>` and is shown once, when it is made. The file has its SHA-256, which needs no salt
and no slow hash, since nobody guesses 256 random bits.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from domain.errors import InvalidKeys

DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Role(StrEnum):
    """What a key is for."""

    PUBLISHER = "publisher"  # public, within pages: asks for decisions, reports impressions, clicks and dismissals
    SERVER = "server"  # kept by a shop: prices, floors, test pages, conversions and returns; no limit per address
    VIEWER = "viewer"  # looks at campaigns
    MANAGER = "manager"  # looks at and changes the campaigns of the advertisers it names
    OPERATOR = "operator"  # kept by who runs this: explanations, metrics, and all campaigns

    def includes(self, needed: "Role") -> bool:
        """Whether a key of this role may do what is for `needed`."""
        return needed in _MAY[self]


_MAY: dict[Role, frozenset[Role]] = {
    Role.PUBLISHER: frozenset({Role.PUBLISHER}),
    Role.SERVER: frozenset({Role.PUBLISHER, Role.SERVER}),
    Role.VIEWER: frozenset({Role.VIEWER}),
    Role.MANAGER: frozenset({Role.VIEWER, Role.MANAGER}),
    Role.OPERATOR: frozenset(Role),
}


def to_origin(text: str) -> str:
    """An origin as browsers send it: lower case, without a path or the scheme's own port; `:*` stands for any port.

    Raises:
      ValueError: it is none.
    """
    match = re.fullmatch(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:(?:[0-9]{1,5}|\*))?/?", text.lower())
    if match is None:
        raise ValueError(f"expected an origin such as https://shop.example, got {text!r}")
    scheme, host, port = match[1], match[2], match[3] or ""
    return f"{scheme}://{host}{'' if port == DEFAULT_PORTS[scheme] else port}"


class KeyRecord(BaseModel):
    """One line of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    role: Role
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    origins: tuple[Annotated[str, AfterValidator(to_origin)], ...] = ()
    per_second: float | None = Field(default=None, gt=0, le=1e6)
    created: AwareDatetime
    expires: AwareDatetime | None = None
    advertisers: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")], ...] = ()

    @model_validator(mode="after")
    def _of_its_role(self) -> Self:
        if self.advertisers and self.role not in (Role.VIEWER, Role.MANAGER):
            raise ValueError(f"a {self.role}'s key is not for some advertisers: expected none")
        if self.role is Role.MANAGER and not self.advertisers:
            raise ValueError("a manager's key is for some advertisers: expected at least one")
        return self


def new_text(role: Role) -> str:
    """A new key."""
    return f"or_{role}_{secrets.token_urlsafe(32)}"


def record_of(
    text: str,
    name: str,
    role: Role,
    now: datetime,
    *,
    origins: tuple[str, ...] = (),
    per_second: float | None = None,
    lives: timedelta | None = None,
    advertisers: tuple[str, ...] = (),
) -> KeyRecord:
    """What is kept of a key.

    Raises:
      InvalidKeys: something is wrong with the name, the origins, the advertisers or the rate.
    """
    try:
        return KeyRecord(
            name=name,
            role=role,
            sha256=hashlib.sha256(text.encode()).hexdigest(),
            origins=origins,
            per_second=per_second,
            created=now,
            expires=now + lives if lives else None,
            advertisers=advertisers,
        )
    except ValidationError as e:
        raise _invalid("key", e) from None


def read_keys(path: Path) -> tuple[KeyRecord, ...]:
    """The records of a file, in order; none if there is no such file yet.

    Raises:
      InvalidKeys: it cannot be read, or a line is wrong; names it.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return ()
    except OSError as e:
        raise InvalidKeys(str(path), "a file that can be read", e.strerror) from None
    records = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                records.append(KeyRecord.model_validate_json(line))
            except ValidationError as e:
                raise _invalid(f"{path}, line {number}", e) from None
    return tuple(records)


def _invalid(where: str, error: ValidationError) -> InvalidKeys:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(step) for step in first["loc"])
    return InvalidKeys(f"{where}: {field}" if field else where, first["msg"].removeprefix("Value error, "), first["input"])


@contextlib.contextmanager
def changing(path: Path) -> Iterator[list[KeyRecord]]:
    """The records, to be changed in place and written whole at the end; one process at a time.

    Raises:
      InvalidKeys: the file is damaged, or its folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as e:
        raise InvalidKeys(str(path), "a folder that can be written", e.strerror) from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        records = list(read_keys(path))
        yield records
        try:
            _replace(path, b"".join(r.model_dump_json(exclude_defaults=True).encode() + b"\n" for r in records))
            os.fsync(folder)
        except OSError as e:
            raise InvalidKeys(str(path), "a file that can be written", e.strerror) from None
    finally:
        os.close(folder)


def _replace(path: Path, content: bytes) -> None:
    """Whole or not at all; a file that exists keeps its mode and, where that is allowed, its owner."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with contextlib.suppress(FileNotFoundError):
                before = path.stat()
                os.fchmod(file.fileno(), before.st_mode & 0o777)
                with contextlib.suppress(PermissionError):
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
