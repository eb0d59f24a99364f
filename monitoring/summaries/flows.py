"""Counters of the traffic and its money."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from monitoring.summaries.coding import packed, unpacked

_KIND = b"f"


@dataclass(frozen=True, slots=True)
class Flows:
    """Counters by name, as docs/monitoring.md lists them; what was not counted is 0."""

    counts: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, name: str) -> int:
        return self.counts.get(name, 0)

    def merge(self, other: Self) -> Self:
        """Of both together."""
        counts = Counter(self.counts)
        counts.update(other.counts)  # `+` would drop what fell below 0, as money given back
        return type(self)(dict(counts))

    def to_bytes(self) -> bytes:
        """For `from_bytes`."""
        return packed(_KIND, self.counts)

    @classmethod
    def from_bytes(cls, text: bytes) -> Self:
        """Raises ContractError for what `to_bytes` did not write."""
        return cls(unpacked(_KIND, text))
