"""The versions of one model: found, loaded, answering, let go.

    START -> LOADING -> AVAILABLE -> UNLOADING -> END
                 \\-> END, with the reason: a version that did not load or failed its warm-up never answers

What must hold: once a version answers, some version always does. A newer one takes over only after it loaded and warmed up;
an older one goes only then, and only when the last call that uses it has ended. A version that is still being copied is left
alone until it is whole, a broken one until its files change; neither pushes a sound one out of the number kept.
"""

import enum
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import grpc

from models.release_folder import SETTLED_S, Fingerprint, fingerprint, is_copied
from serving.model_server.status import StatusError
from serving.model_server.version_policy import Policy

log = logging.getLogger(__name__)

_ENDED_REMEMBERED = 16


class State(enum.IntEnum):
    """Numbers of ModelVersionStatus.State."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class Servable(Protocol):
    """What a loaded version must be able to do for this module."""

    def close(self) -> None:
        """Frees what the version holds."""


S = TypeVar("S", bound=Servable)


@dataclass(slots=True)
class _Version(Generic[S]):
    path: Path
    state: State = State.START
    error: StatusError | None = None
    servable: S | None = None
    users: int = 0
    broken: Fingerprint | None = None


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """One version as GetModelStatus tells it."""

    version: int
    state: State
    error: StatusError | None


def find_versions(base_path: Path) -> dict[int, Path]:
    """Version folders: named by a number and holding a saved_model.pb."""
    try:
        folders = [f for f in base_path.iterdir() if f.name.isdecimal() and (f / "saved_model.pb").is_file()]
    except OSError:
        return {}
    return {int(f.name): f for f in sorted(folders)}


def _shown(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


class ModelVersions(Generic[S]):
    """The versions of one model under one base path. `reconcile` and `close` belong to one thread at a time, the rest to any."""

    def __init__(
        self,
        name: str,
        base_path: Path,
        policy: Policy,
        load: Callable[[Path, int], S],
        is_copied: Callable[[Path, float], bool] = is_copied,
    ) -> None:
        """`load` opens and warms up a version; what it raises is why the version does not answer.

        A version that is not wholly there by `is_copied` is left alone: half a vocabulary would load without a word.
        """
        self._is_copied = is_copied
        self.name = name
        self.base_path = base_path
        self.policy = policy
        self._load_servable = load
        self._versions: dict[int, _Version[S]] = {}
        self._changed = threading.Condition()

    def reconcile(self, settled_s: float = SETTLED_S) -> None:
        """Loads what the policy wants and lets go what it no longer wants, in this order.

        Args:
          settled_s: for so long nothing of a model without a manifest must have changed.
        """
        found = find_versions(self.base_path)
        self._forget(found)
        while True:
            wanted = self.policy.choose([v for v, path in found.items() if self._usable(v, path, settled_s)])
            missing = [v for v in wanted if not self.is_available(v)]
            if not missing:
                break
            self._load(missing[0], found[missing[0]])
        available = self.available()
        if not set(available) & set(wanted):
            wanted = available[-1:]
        for version in set(available) - set(wanted):
            self._unload(version)

    def _usable(self, version: int, path: Path, settled_s: float) -> bool:
        known = self._versions.get(version)
        if known is not None and known.state is State.AVAILABLE:
            return True
        broken_as_it_is = known is not None and known.broken is not None and known.broken == fingerprint(path)
        return not broken_as_it_is and self._is_copied(path, settled_s)

    def _forget(self, found: dict[int, Path]) -> None:
        """A version that ended may come back when its folder does; of the others only the last ones are told."""
        with self._changed:
            ended = sorted(v for v, entry in self._versions.items() if entry.state is State.END)
            for version in ended:
                if version not in found:
                    self._versions[version].broken = None
            for version in ended[:-_ENDED_REMEMBERED]:
                if self._versions[version].broken is None:
                    del self._versions[version]

    def _load(self, version: int, path: Path) -> None:
        entry: _Version[S] = _Version(path, State.LOADING)
        with self._changed:
            self._versions[version] = entry
        log.info("%s %d: loading %s", self.name, version, path)
        seen = fingerprint(path)
        try:
            servable = self._load_servable(path, version)
        except Exception as error:  # a broken artifact fails in ways nobody thought of: it must not be tried again and again
            status = error if isinstance(error, StatusError) else StatusError(grpc.StatusCode.INTERNAL, _shown(error))
            log.error("%s %d: not served: %s", self.name, version, status.message)
            with self._changed:
                entry.state, entry.error, entry.broken = State.END, status, seen
            return
        with self._changed:
            entry.servable, entry.state = servable, State.AVAILABLE
        log.info("%s %d: available", self.name, version)

    def _unload(self, version: int) -> None:
        with self._changed:
            entry = self._versions[version]
            entry.state = State.UNLOADING
            self._changed.wait_for(lambda: entry.users == 0)
            servable, entry.servable = entry.servable, None
        if servable is not None:
            servable.close()
        with self._changed:
            entry.state = State.END
        log.info("%s %d: unloaded", self.name, version)

    @contextmanager
    def use(self, version: int | None) -> Iterator[tuple[int, S]]:
        """A version that stays loaded meanwhile, the newest when `version` is None.

        Raises:
          StatusError: NOT_FOUND, it does not answer.
        """
        with self._changed:
            number = version if version is not None else max(self.available(), default=None)
            entry = self._versions.get(number) if number is not None else None
            if number is None or entry is None or entry.state is not State.AVAILABLE or entry.servable is None:
                asked = f"Latest({self.name})" if version is None else f"Specific({self.name}, {version})"
                raise StatusError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {asked}")
            entry.users += 1
        try:
            yield number, entry.servable
        finally:
            with self._changed:
                entry.users -= 1
                if entry.users == 0:
                    self._changed.notify_all()

    def available(self) -> list[int]:
        """Versions that answer, oldest first."""
        with self._changed:
            return sorted(v for v, entry in self._versions.items() if entry.state is State.AVAILABLE)

    def is_available(self, version: int) -> bool:
        """Whether that version answers."""
        return version in self.available()

    def status(self, version: int | None = None) -> list[VersionStatus]:
        """All versions that were ever wanted and are remembered, newest first, or one.

        Raises:
          StatusError: NOT_FOUND, there is none.
        """
        with self._changed:
            wanted = sorted(self._versions, reverse=True) if version is None else [v for v in [version] if v in self._versions]
            listed = [VersionStatus(v, self._versions[v].state, self._versions[v].error) for v in wanted]
        if not listed:
            what = "any versions" if version is None else f"version {version}"
            raise StatusError(grpc.StatusCode.NOT_FOUND, f"Could not find {what} of model {self.name}")
        return listed

    def close(self) -> None:
        """Lets every version go, each when its last call has ended."""
        for version in self.available():
            self._unload(version)
