"""What can be said of an hour only when it is over: which offers were seen, and how right the predictions were.

An hour comes to

    1 over                  when what was logged until its end and `policy.unseen_hold_ttl_s` after it is archived: by then pages
                            have reported what they showed
    2 clicks are final      once the click window of offers has passed that were seen within one more window (an hour at most)
    3 conversions are final once the conversion window has passed after that

"Now" is the end of the archive, which no clock moves.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from domain.clock import budget_day, hour_begin_ms, hour_of_day
from domain.errors import ContractError
from features.log_archive import DECISIONS, EVENTS, Part
from features.market import Market
from monitoring.watch.columns import Columns, opened
from monitoring.watch.labels import (
    EVENT_COLUMNS,
    Outcomes,
    Shown,
    calibrate_clicks,
    calibrate_conversions,
    count_seen,
    of_impressions,
)
from monitoring.watch.part import Late, hours_of
from monitoring.watch.sampling import sampled
from monitoring.watch.slicing import Tally, slice_columns, slot_dimensions
from monitoring.watch.store import Hour, MonitorStore, Skipped
from monitoring.watch.traffic import pages_of, valid_pages
from monitoring.watch.watched import Fixed, Watched

OVER, CLICKS_FINAL, CONVERSIONS_FINAL = 1, 2, 3
LATE_MS = 3_600_000
MOST_EMPTY_HOURS = 48
"""Hours without a page, after one with, that are hours of their own: a longer silence has been noticed by then."""
_PAGE = ("time_ms", "release", "invalid")
_SLOT = ("impression_id", "bid_kind", "price_micros", "probability", "position")


class PartLost(ContractError):
    """A part that was read before has been damaged or removed since: what it says of an hour's labels is not known."""

    def __init__(self, log: str, part: Part, why: str) -> None:
        super().__init__(f"part {part.number} of {log}: {why}")
        self.skipped = Skipped(log, part.number, why, part.first_ms, part.last_ms)


class HourFinisher:
    """Brings hours from stage to stage as the archive goes on."""

    def __init__(self, market: Market, log_dir: Path, store: MonitorStore) -> None:
        self.market, self.log_dir, self.store = market, log_dir, store
        spec = market.training
        click_ms, conversion_ms = 1000 * spec.click_window_s, 1000 * spec.conversion_window_s
        clicks_after_ms = click_ms + min(click_ms, LATE_MS)
        self._after_ms = {
            OVER: 1000 * market.policy.unseen_hold_ttl_s,
            CLICKS_FINAL: clicks_after_ms,
            CONVERSIONS_FINAL: clicks_after_ms + (conversion_ms if market.conversion_task else 0),
        }

    def next_due(self, complete_ms: int) -> tuple[Hour, int] | None:
        """The hour that was to come to its next stage first, and that stage, if the archive is that far.

        Of those at the same time labels come first: whoever judges an hour that is over knows what has become final by then.
        """
        self._fill_gaps(complete_ms)
        waiting = [
            (self.end_ms(hour.hour_ms) + self._after_ms[stage], -stage, hour)
            for stage in (CONVERSIONS_FINAL, CLICKS_FINAL, OVER)
            for hour in self.store.hours("hour_ms = (SELECT min(hour_ms) FROM hours WHERE stage = ?)", stage - 1)
        ]
        if not waiting:
            return None
        at_ms, stage, hour = min(waiting, key=lambda one: one[:2])
        return (hour, -stage) if at_ms <= complete_ms else None

    def finish(self, hour: Hour, stage: int) -> Tally:
        """What the stage adds; to be written together with `MonitorStore.reach`.

        Raises:
          PartLost: nothing can be said.
        """
        return self.labels(hour, stage).tally(self.market, self.store.late)

    def labels(self, hour: Hour, stage: int) -> "HourLabels":
        """All that has to be known to say so."""
        end_ms = self.end_ms(hour.hour_ms)
        read_ms = end_ms + self._after_ms[min(stage, CLICKS_FINAL)]
        monitoring = self.market.monitoring
        watched = Watched(self.store, budget_day(hour.hour_ms, self.market.policy.day_length_s), monitoring.slice_values)
        return HourLabels(
            hour=hour,
            stage=stage,
            read_ms=read_ms,
            as_of_ms=end_ms + self._after_ms[stage],
            # Of a flood, less than what was summarised, as it is in memory at once.
            rate=min(hour.rate, 2 * monitoring.rows_per_hour / max(hour.pages, 1)),
            choice=Fixed({by: watched.chosen(by, {}) for by in self.market.watched_slices}),
            decisions=self.store.parts_between(DECISIONS, hour.hour_ms, end_ms - 1),
            events=self.store.parts_between(EVENTS, hour.hour_ms, read_ms),
        )

    def end_ms(self, hour_ms: int) -> int:
        """When the next hour begins."""
        length_s = self.market.policy.day_length_s
        return hour_begin_ms(hour_of_day(hour_ms, length_s) + 1, length_s)

    def final_with(self, hour_ms: int, stage: int) -> int:
        """The hour whose labels become final, by a stage, while this one goes on: the last that has when this one is over."""
        length_s = self.market.policy.day_length_s
        end_ms = self.end_ms(hour_ms) + self._after_ms[OVER] - self._after_ms[stage]
        return hour_begin_ms(hour_of_day(end_ms, length_s) - 1, length_s)

    def tidy(self) -> None:
        """Forgets parts and events that no hour waits for any more; within a transaction."""
        waiting = self.store.hours("hour_ms = (SELECT min(hour_ms) FROM hours WHERE stage < ?)", CONVERSIONS_FINAL)
        if waiting:
            self.store.forget_before(waiting[0].hour_ms - LATE_MS)

    def _fill_gaps(self, complete_ms: int) -> None:
        """Makes hours of those in which nobody came."""
        newest = "SELECT max(hour_ms) FROM hours WHERE stage > 0"
        known = self.store.hours(f"hour_ms <= ? AND (stage = 0 OR hour_ms = ({newest}))", complete_ms)
        empty: list[int] = []
        for one, following in pairwise(known):
            between: list[int] = []
            at_ms = self.end_ms(one.hour_ms)
            while one.pages and at_ms < following.hour_ms and len(between) < MOST_EMPTY_HOURS:
                between.append(at_ms)
                at_ms = self.end_ms(at_ms)
            empty += between
        if empty:
            with self.store.writing():
                for at_ms in empty:
                    self.store.add_pages(at_ms, 0, 1.0)


@dataclass(frozen=True, slots=True)
class HourLabels:
    """What a stage of an hour is to be told from: it can be told anywhere where these parts can be read."""

    hour: Hour
    stage: int
    read_ms: int
    """Events until then are read from their parts; those of after, which are few, come from whoever has kept them."""
    as_of_ms: int
    """When the stage is reached."""
    rate: float
    """Share of the hour's pages that is joined."""
    choice: Fixed
    decisions: Sequence[Part]
    events: Sequence[Part]

    def tally(self, market: Market, late: Callable[[int, int], Sequence[Late]]) -> Tally:
        """What the stage adds.

        Args:
          late: events between two times, both ends included, as `MonitorStore.late` has them.
        Raises:
          PartLost: without its events an offer would look as if nobody had seen it.
        """
        tally = Tally()
        if self.hour.pages and (shown := self._shown(market)) is not None:
            outcomes = Outcomes.of(market, shown, self._events(shown, late))
            if self.stage == OVER:
                count_seen(shown, outcomes, self.rate, tally)
            elif self.stage == CLICKS_FINAL:
                calibrate_clicks(market, shown, outcomes, self.as_of_ms, tally)
            else:
                calibrate_conversions(market, shown, outcomes, self.as_of_ms, tally)
        return tally

    def _shown(self, market: Market) -> Shown | None:
        found, hour_ms = [], self.hour.hour_ms
        wanted = (*_PAGE, *(f"slots.{name}" for name in _SLOT), *slice_columns(market))
        for part in self.decisions:
            columns = _read(DECISIONS, part, wanted)
            hours = hours_of(market, columns.ints("time_ms"))
            rate = {int(h): self.rate if h == hour_ms else 0.0 for h in np.unique(hours)}
            pages = columns.take(np.flatnonzero(sampled(part.number, hours, rate) & valid_pages(columns)))
            slots, page = pages.unnested("slots")
            if slots.rows:
                of_pages = pages_of(market, pages, np.full(pages.rows, hour_ms), self.choice)
                rows = of_pages.take(page).sliced(slot_dimensions(market, slots, self.choice))
                found.append(Shown.of(market, pages, rows, slots, page))
        return Shown.concat(found) if found else None

    def _events(self, shown: Shown, late: Callable[[int, int], Sequence[Late]]) -> pa.Table:
        """All of these offers until the stage is reached."""

        def tables() -> Iterator[pa.Table]:
            for part in self.events:
                columns = _read(EVENTS, part, EVENT_COLUMNS)
                yield columns.table.filter(pc.less_equal(columns.table["time_ms"], self.as_of_ms))
            if self.stage == CONVERSIONS_FINAL and (waited := late(self.read_ms, self.as_of_ms)):
                names = ("impression_id", "type", "status", "time_ms")
                yield pa.table(dict(zip(names, zip(*waited, strict=True), strict=True)))

        return of_impressions(shown, tables())


def _read(log: str, part: Part, names: tuple[str, ...]) -> Columns:
    try:
        with opened(part) as file:
            return Columns.read(file, names)
    except ContractError as e:
        raise PartLost(log, part, str(e)) from None
