"""Keys at work: found by their digest, read anew when their file changes."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from pathlib import Path

from domain.errors import InvalidKeys
from store.followed_file import FollowedFile
from store.key_records import KeyRecord, Role, read_keys

RELOAD_S = 1.0
LOCAL_ORIGINS = ("http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*")
"""Pages that a developer serves on this machine."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Key:
    """A key at work."""

    name: str
    role: Role
    origins: frozenset[str]
    """Pages that may send it; without any, no page may."""
    per_second: float | None
    """Requests, at each gateway; None is without limit."""
    expires_ms: float
    advertisers: frozenset[str] = frozenset()
    """Whose campaigns it is for; none is all."""

    def allows_origin(self, origin: str) -> bool:
        """Whether a page of this origin may send the key."""
        return _matches(origin, self.origins)


def _matches(origin: str, allowed: frozenset[str]) -> bool:
    """`:*` allows every port, and no port: browsers leave out the scheme's own."""
    host, _, port = origin.rpartition(":")
    return origin in allowed or f"{origin}:*" in allowed or (port.isdecimal() and f"{host}:*" in allowed)


class Keyring:
    """The keys of one reading of the file."""

    def __init__(self, records: Iterable[KeyRecord] = ()) -> None:
        self._by_digest = {bytes.fromhex(r.sha256): _at_work(r) for r in records}
        self._origins = frozenset(o for key in self._by_digest.values() for o in key.origins)

    def __len__(self) -> int:
        return len(self._by_digest)

    def find(self, text: str, now_ms: int) -> Key | None:
        """The key, if it is one and has not expired."""
        key = self._by_digest.get(hashlib.sha256(text.encode(errors="replace")).digest())
        return key if key is not None and now_ms < key.expires_ms else None

    def allows_origin(self, origin: str) -> bool:
        """Whether any key may be sent by pages of this origin: what is known of a preflight, which brings no key."""
        return _matches(origin, self._origins)


def _at_work(r: KeyRecord) -> Key:
    # In whole milliseconds, as `now_ms` is, so that a key that is revoked has ended in the same one.
    expires_ms = int(r.expires.timestamp() * 1000) if r.expires else inf
    return Key(r.name, r.role, frozenset(r.origins), r.per_second, expires_ms, frozenset(r.advertisers))


class KeyFile:
    """The keyring of a file, read anew within a second of every change."""

    def __init__(self, path: Path, on_read: Callable[[bool], object] = lambda _: None) -> None:
        """`on_read` is told at each reading whether the file could be used."""
        self._path, self._on_read = path, on_read
        self._file = FollowedFile(path)
        self.ring = Keyring(read_keys(path))
        if not self.ring:
            log.warning("%s has no keys: every request is refused until `offerrank keys create` makes one", path)

    def refresh(self) -> None:
        """Reads the file if it has changed. One that cannot be used leaves the keys as they were, and is said."""
        if not self._file.has_changed():
            return
        try:
            if not self._path.exists():
                raise InvalidKeys(str(self._path), "the keys file", "no such file any more")
            self.ring = Keyring(read_keys(self._path))
        except InvalidKeys as e:
            self._on_read(False)
            log.error("the keys stay as they were: %s", e)
            return
        self._on_read(True)
        log.info("%d keys read from %s", len(self.ring), self._path)

    async def watch(self) -> None:
        """Refreshes for ever, beside the requests: the file may be on a disk that is slow."""
        while True:
            await asyncio.sleep(RELOAD_S)
            await asyncio.to_thread(self.refresh)
