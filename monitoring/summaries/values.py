"""A distribution of values: text, or numbers that only name something."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Self

from monitoring.summaries.coding import packed, unpacked

MOST_VALUES = 128
"""Values of a series that are counted each on its own."""
_KIND = b"v"


@dataclass(frozen=True, slots=True)
class Values:
    """How often which values came: the most frequent ones each, the others together.

    Counts are exact while there were at most `MOST_VALUES` different values, as `other` = 0 says. Beyond that a count is what was
    counted while the value was among the most frequent ones of each summary that was merged: at most its true one, and close to
    it at the head.
    """

    rows: int = 0
    missing: int = 0
    """Rows without a value, or with an empty list of them."""
    unknown: int = 0
    """Values outside of the vocabulary, where one is given."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Value -> how often; a list's values each, so that they may be more than the rows."""
    other: int = 0
    """Values that were not among the most frequent."""

    @classmethod
    def of(cls, counts: Mapping[str, int], rows: int, missing: int = 0, vocabulary: Collection[str] | None = None) -> Self:
        """Of values that were counted already.

        Args:
          vocabulary: what is known; None where everything is.
        """
        unknown = 0 if vocabulary is None else sum(n for value, n in counts.items() if value not in vocabulary)
        return cls(rows, missing, unknown, *_most(counts))

    @property
    def present(self) -> int:
        """Values."""
        return sum(self.counts.values()) + self.other

    def merge(self, more: Self) -> Self:
        """Of both together."""
        counts, other = _most(Counter(self.counts) + Counter(more.counts))
        return type(self)(
            self.rows + more.rows,
            self.missing + more.missing,
            self.unknown + more.unknown,
            counts,
            self.other + more.other + other,
        )

    def to_bytes(self) -> bytes:
        """For `from_bytes`."""
        return packed(_KIND, [self.rows, self.missing, self.unknown, self.counts, self.other])

    @classmethod
    def from_bytes(cls, text: bytes) -> Self:
        """Raises ContractError for what `to_bytes` did not write."""
        return cls(*unpacked(_KIND, text))


def _most(counts: Mapping[str, int]) -> tuple[dict[str, int], int]:
    """The most frequent values, and how often the others came; of equally frequent ones the first in text order."""
    if len(counts) <= MOST_VALUES:
        return dict(counts), 0
    ranked = sorted(counts, key=lambda value: (-counts[value], value))
    kept = {value: counts[value] for value in ranked[:MOST_VALUES]}
    return kept, sum(counts.values()) - sum(kept.values())
