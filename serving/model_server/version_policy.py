"""Which of the versions in a folder should answer. Pure.

Source: ServableVersionPolicy in tensorflow_serving/config/file_system_storage_path_source.proto.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Latest:
    """The `count` newest."""

    count: int = 1

    def choose(self, versions: Sequence[int]) -> list[int]:
        """Newest first, so that the one everybody waits for is loaded first."""
        return sorted(versions, reverse=True)[: self.count]


@dataclass(frozen=True, slots=True)
class All:
    """Every one."""

    def choose(self, versions: Sequence[int]) -> list[int]:
        """Newest first."""
        return sorted(versions, reverse=True)


@dataclass(frozen=True, slots=True)
class Specific:
    """These, when they exist."""

    versions: tuple[int, ...]

    def choose(self, versions: Sequence[int]) -> list[int]:
        """Newest first."""
        return sorted(set(versions) & set(self.versions), reverse=True)


Policy = Latest | All | Specific
