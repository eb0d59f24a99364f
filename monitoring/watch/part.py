"""One part of the archive: how it is read, and what it comes to once it is known which of its rows and slices are looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import pyarrow as pa

from domain.clock import hour_begin_ms, hour_of_day
from features.log_archive import DECISIONS, Part, archived_with, parts_after
from features.market import Market
from monitoring.watch import events, traffic
from monitoring.watch.columns import Columns, Ints, opened
from monitoring.watch.sampling import sampled
from monitoring.watch.slicing import Tally
from monitoring.watch.watched import Choice

CLOCKS_DIFFER_MS: Final = 3_600_000
"""At most, between the time in an entry and the time it was logged; what is further off is taken to have happened when logged."""
Late = tuple[str, str, str, int]
"""impression_id, type, status, time in ms."""


class PartAtHand(Protocol):
    """A part that was read."""

    @property
    def rows(self) -> int:
        """Entries."""

    @property
    def complete_ms(self) -> int:
        """Entries that were logged before are in this part or in those before it."""

    @property
    def between(self) -> tuple[int, int]:
        """When its first entry happened, and its last."""

    @property
    def hour_ms(self) -> int:
        """The hour of the first of its rows."""

    @property
    def pages(self) -> Mapping[int, int]:
        """Decisions by hour."""

    @property
    def late(self) -> Sequence[Late]:
        """Events that may come long after their clicks."""

    def promised(self) -> pa.Table:
        """What service levels are counted from."""

    def tally(self, rates: Mapping[int, float], choice: Choice) -> Tally:
        """What it comes to.

        Args:
          rates: of each hour of `pages`, the share that is looked at closely.
        """


class Source(Protocol):
    """Where parts come from."""

    def after(self, log: str, number: int) -> list[Part]:
        """Those of a log that were committed after one, in their order."""

    def read(self, log: str, part: Part) -> PartAtHand:
        """Raises ContractError for one that is damaged, or gone."""


@dataclass(frozen=True, slots=True)
class Archive:
    """The parts of a folder, each read when it is asked for."""

    market: Market
    log_dir: Path

    def after(self, log: str, number: int) -> list[Part]:
        """As in `Source`."""
        return parts_after(self.log_dir, log, number)

    def read(self, log: str, part: Part) -> "ReadPart":
        """As in `Source`."""
        return read_part(self.market, log, part)


def read_part(market: Market, log: str, part: Part, wanted: Sequence[str] | None = None) -> "ReadPart":
    """Reads some of a part's columns, all that are summarised unless said; errors as of `Source.read`."""
    wanted = (traffic.COLUMNS if log == DECISIONS else events.COLUMNS) if wanted is None else wanted
    with opened(part) as file:
        return ReadPart(market, log, part, archived_with(part, file).complete_ms, Columns.read(file, wanted))


@dataclass(frozen=True)
class ReadPart:
    """As `PartAtHand`."""

    market: Market
    log: str
    part: Part
    complete_ms: int
    columns: Columns

    @property
    def rows(self) -> int:
        """As in `PartAtHand`."""
        return self.columns.rows

    @cached_property
    def _happened(self) -> Ints:
        first_ms, last_ms = self.part.first_ms - CLOCKS_DIFFER_MS, self.part.last_ms + CLOCKS_DIFFER_MS
        return np.clip(self.columns.ints("time_ms"), first_ms, last_ms)

    @cached_property
    def _hour(self) -> Ints:
        """[R]"""
        return hours_of(self.market, self._happened)

    @property
    def between(self) -> tuple[int, int]:
        """As in `PartAtHand`."""
        if not self.rows:
            return self.part.first_ms, self.part.last_ms
        return int(self._happened.min()), int(self._happened.max())

    @property
    def hour_ms(self) -> int:
        """As in `PartAtHand`; of at least one row."""
        return int(self._hour[0])

    @property
    def pages(self) -> Mapping[int, int]:
        """As in `PartAtHand`."""
        if self.log != DECISIONS:
            return {}
        return dict(zip(*(x.tolist() for x in np.unique(self._hour, return_counts=True)), strict=True))

    @property
    def late(self) -> Sequence[Late]:
        """As in `PartAtHand`."""
        return [] if self.log == DECISIONS else events.late_events(self.columns)

    def promised(self) -> pa.Table:
        """As in `PartAtHand`."""
        return traffic.promised(self.columns)

    def tally(self, rates: Mapping[int, float], choice: Choice) -> Tally:
        """As in `PartAtHand`."""
        market, columns, hour, tally = self.market, self.columns, self._hour, Tally()
        if self.log != DECISIONS:
            events.count_events(market, columns, hour, choice.chosen, tally)
            return tally
        rows = traffic.pages_of(market, columns, hour, choice)
        traffic.count_pages(market, columns, rows, tally)
        some = np.flatnonzero(sampled(self.part.number, hour, rates) & traffic.valid_pages(columns))
        traffic.describe(market, columns, rows, choice, some, tally)
        return tally


def hours_of(market: Market, time_ms: Ints) -> Ints:
    """[R] when the hour of each time began."""
    hour = partial(hour_of_day, day_length_s=market.policy.day_length_s)
    begin = partial(hour_begin_ms, day_length_s=market.policy.day_length_s)
    return np.asarray(begin(hour(time_ms)), np.int64)  # type: ignore[arg-type]
