"""Which values of a slice are watched each on its own: those with the most traffic the day before, then who comes first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from monitoring.watch.store import MonitorStore

_CANDIDATES = 20
"""So many times as many values are counted, for the next day's choice, as are watched."""


class Choice(Protocol):
    """Which values those are."""

    def __call__(self, by: str, counts: Mapping[str, int]) -> Sequence[str]:
        """The values of a slice that are watched.

        Args:
          counts: how often which of its values came in the rows at hand.
        """

    def chosen(self, by: str, counts: Mapping[str, int]) -> Sequence[str]:
        """Those that are watched as of now; the rows at hand change nothing."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A choice that was made: values by slice."""

    values: Mapping[str, Sequence[str]]

    def __call__(self, by: str, counts: Mapping[str, int]) -> Sequence[str]:
        """As in `Choice`."""
        del counts
        return self.values[by]

    chosen = __call__


class Watched:
    """The choice for one budget day, from what came so far: the same after a restart, as it is written with the part."""

    def __init__(self, store: MonitorStore, day: int, most: int) -> None:
        self._store, self._day, self._most = store, day, most
        self._known: dict[str, dict[str, tuple[int, bool]]] = {}

    def __call__(self, by: str, counts: Mapping[str, int]) -> Sequence[str]:
        """The values of a slice that are watched.

        Args:
          counts: how often which of its values came in the rows at hand.
        """
        known = self._known.setdefault(by, self._store.watched(self._day, by) or self._chosen(by))
        room = self._most - sum(is_watched for _, is_watched in known.values())
        for value in sorted(counts, key=lambda v: (-counts[v], v)):
            if value in known:
                known[value] = (known[value][0] + counts[value], known[value][1])
            elif len(known) < _CANDIDATES * self._most:
                known[value] = (counts[value], room > 0)
                room -= 1
        return self._names(known)

    def chosen(self, by: str, counts: Mapping[str, int]) -> Sequence[str]:
        """Those that are watched as of now; the rows at hand change nothing."""
        del counts
        return self._names(self._known.setdefault(by, self._store.watched(self._day, by) or self._chosen(by)))

    def write(self) -> None:
        """Within the transaction of what was summarised by it."""
        for by, values in self._known.items():
            self._store.watch(self._day, by, values)

    @staticmethod
    def _names(known: Mapping[str, tuple[int, bool]]) -> list[str]:
        return [value for value, (_, is_watched) in known.items() if is_watched]

    def _chosen(self, by: str) -> dict[str, tuple[int, bool]]:
        """From the day before."""
        before = self._store.day_before(self._day, by)
        if before is None:
            return {}
        rows = self._store.watched(before, by)
        ranked = sorted(rows, key=lambda v: (-rows[v][0], not rows[v][1], v))
        return dict.fromkeys(ranked[: self._most], (0, True))
