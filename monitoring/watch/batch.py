"""A long archive at once, on many machines: what is decided in the order of its parts, apart from what can be told of each.

    look     each part by itself: how many decisions in which hour, how often which value of a slice
    plan     one after the other, as the watch takes them: sampling rates, watched values, which hour comes to which stage
    tally    each part and each hour's stage by itself: summaries, that merge in any order

Only `plan` writes, and it reads no part. How the others are spread over machines is somebody else's: pipelines/summaries.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from domain.errors import ContractError
from features.log_archive import DECISIONS, EVENTS, Part, parts_after
from features.market import Market
from monitoring.watch import events
from monitoring.watch.finishing import HourFinisher, HourLabels
from monitoring.watch.part import Late, PartAtHand, read_part
from monitoring.watch.reading import ArchiveReader
from monitoring.watch.slicing import Tally, request_dimensions, slice_columns, slot_dimensions
from monitoring.watch.store import MonitorStore
from monitoring.watch.watched import Choice, Fixed

Place = tuple[str, int]
"""Log, and number of a part."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a part; all but `log`, `part` and `trouble` is 0 of one that cannot be read."""

    log: str
    part: Part
    trouble: str = ""
    """Why it cannot be read, or summarised."""
    rows: int = 0
    complete_ms: int = 0
    between: tuple[int, int] = (0, 0)
    hour_ms: int = 0
    pages: Mapping[int, int] = field(default_factory=dict)
    late: Sequence[Late] = ()
    values: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Of each slice of the market, how often which of its values came."""


@dataclass(frozen=True, slots=True)
class PartTask:
    """A part that is to be summarised."""

    log: str
    part: Part
    rates: Mapping[int, float]
    choice: Fixed

    def tally(self, market: Market) -> Tally:
        """Raises ContractError for a part that is damaged, or gone."""
        return read_part(market, self.log, self.part).tally(self.rates, self.choice)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be told, in any order."""

    parts: list[PartTask] = field(default_factory=list)
    labels: list[HourLabels] = field(default_factory=list)


def parts_between(log_dir: Path, store: MonitorStore, since_ms: int, until_ms: int) -> list[tuple[str, Part]]:
    """The parts that the store does not have, with what was logged between two times, both ends included.

    Raises:
      ContractError: the store has some already, and would lose those before `since_ms`.
    """
    found = []
    for log in (DECISIONS, EVENTS):
        taken = store.taken(log)
        new = parts_after(log_dir, log, taken)
        wanted = [part for part in new if part.last_ms >= since_ms and part.first_ms <= until_ms]
        if taken and wanted and any(part.number < wanted[0].number for part in new):
            raise ContractError(
                f"summaries: parts of {log} from {taken + 1} on were not read yet; expected no `since` after them"
            )
        found += [(log, part) for part in wanted]
    return found


def look(market: Market, log: str, part: Part) -> Look:
    """Reads what a plan has to know of a part."""
    values: dict[str, Mapping[str, int]] = {}

    def counted(by: str, counts: Mapping[str, int]) -> Sequence[str]:
        values[by] = counts
        return ()

    try:
        read = read_part(market, log, part, ("time_ms", *slice_columns(market)) if log == DECISIONS else None)
        if not read.rows:
            return Look(log, part, complete_ms=read.complete_ms, between=read.between)
        if log == DECISIONS:
            request_dimensions(market, read.columns, counted)
            slots, _ = read.columns.unnested("slots")
            if slots.rows:
                slot_dimensions(market, slots, counted)
        return Look(log, part, "", read.rows, read.complete_ms, read.between, read.hour_ms, read.pages, read.late, values)
    except ContractError as e:
        return Look(log, part, str(e))
    except Exception as e:  # our bug, or a part that somebody else wrote: the rest goes on
        return Look(log, part, f"cannot be summarised: {type(e).__name__}: {e}")


def plan(market: Market, log_dir: Path, store: MonitorStore, looks: Mapping[Place, Look]) -> Plan:
    """Takes parts into a store as the watch does, and says what is left to be told of them.

    A log that has no more parts is as complete as the other: the archive is at rest.
    """
    found = Plan()
    for log in (DECISIONS, EVENTS):
        if not store.taken(log) and (numbers := [number for of, number in looks if of == log]):
            with store.writing():
                store.begin(log, min(numbers) - 1)
    reader = ArchiveReader(market, log_dir, store, quiet_s=0, source=_Looks(market, looks, found.parts))
    finisher, more = HourFinisher(market, log_dir, store), True
    while more:
        more = reader.take(1)
        while (due := finisher.next_due(reader.complete_ms)) is not None:
            found.labels.append(finisher.labels(*due))
            with store.writing():
                store.reach(due[0].hour_ms, due[1])
    return found


@dataclass(frozen=True, slots=True)
class _Looks:
    """As `Source`: parts that were looked at, each told later."""

    market: Market
    looks: Mapping[Place, Look]
    tasks: list[PartTask]

    def after(self, log: str, number: int) -> list[Part]:
        found = [at.part for at in self.looks.values() if at.log == log and at.part.number > number]
        return sorted(found, key=lambda part: part.number)

    def read(self, log: str, part: Part) -> PartAtHand:
        at = self.looks[log, part.number]
        if at.trouble:
            raise ContractError(at.trouble)
        return _Planned(self.market, at, self.tasks)


@dataclass(frozen=True, slots=True)
class _Planned:
    """As `PartAtHand`: what it comes to is told later."""

    market: Market
    at: Look
    tasks: list[PartTask]

    @property
    def rows(self) -> int:
        return self.at.rows

    @property
    def complete_ms(self) -> int:
        return self.at.complete_ms

    @property
    def between(self) -> tuple[int, int]:
        return self.at.between

    @property
    def hour_ms(self) -> int:
        return self.at.hour_ms

    @property
    def pages(self) -> Mapping[int, int]:
        return self.at.pages

    @property
    def late(self) -> Sequence[Late]:
        return self.at.late

    def promised(self) -> pa.Table:
        raise NotImplementedError("service levels are counted by the watch, as time passes")

    def tally(self, rates: Mapping[int, float], choice: Choice) -> Tally:
        if self.at.log == DECISIONS:
            values = {by: choice(by, counts) for by, counts in self.at.values.items()}
        else:
            values = {by: choice.chosen(by, {}) for by in self.market.watched_slices if by in events.SLICES}
        self.tasks.append(PartTask(self.at.log, self.at.part, rates, Fixed(values)))
        return Tally()
