"""Has each hour that is over judged, in order, once: what moved goes to the incidents, what was learned into the file."""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from domain.errors import ContractError, Unavailable
from features.market import Market
from monitoring.detection.detector import Detector
from monitoring.detection.finding import Finding
from monitoring.detection.profile import Profile, profile
from monitoring.detection.reference import earlier_hours
from monitoring.summaries import HourSummary
from monitoring.watch.finishing import CLICKS_FINAL, CONVERSIONS_FINAL, HourFinisher
from monitoring.watch.store import Hour, MonitorStore

log = logging.getLogger("offerrank.watch")
Observe = Callable[[int, Sequence[Finding], int], None]
"""Hour in ms, what was found in it, and how many streams were watched."""
_DETECTOR: Final = "detector"
KINDS: Final = ("feature", "probability", "flow")
"""Of series that are compared with earlier days; calibration is judged by itself, in the hour in which it became final."""


class Judge:
    """Steps the detector of a market.

    Args:
      observe: takes what was found; may be called again for an hour, with the same, if the watch was killed in between.
      told_from_ms: hours that ended before are learned from, and told to nobody.
    """

    def __init__(
        self, market: Market, store: MonitorStore, finisher: HourFinisher, observe: Observe, told_from_ms: Callable[[], int]
    ) -> None:
        self._market, self._store, self._finisher = market, store, finisher
        self._observe, self._told_from_ms = observe, told_from_ms
        self._detector: Detector | None = None

    def judge_next(self) -> bool:
        """Judges the oldest hour that is over and was not judged; whether there was one."""
        waiting = "hour_ms = (SELECT min(hour_ms) FROM hours WHERE stage > 0 AND judged = 0)"
        for hour in self._store.hours(waiting):
            try:
                self._judge(hour)
            except BaseException:
                self._detector = None  # it may have stepped, and the file does not know
                raise
            return True
        return False

    def _judge(self, hour: Hour) -> None:
        detector = self._detector = self._detector or self._recalled()
        if missing := self._missing(hour):
            log.warning("hour %d is not judged: %s", hour.hour_ms, missing)
        else:
            findings = self._step(detector, hour)
            if self._finisher.end_ms(hour.hour_ms) > self._told_from_ms():
                self._observe(hour.hour_ms, findings, len(detector.streams))
        with self._store.writing():
            if self._detector is not None:
                self._store.remember(_DETECTOR, detector.to_bytes())
            self._store.judged(hour.hour_ms)

    def _step(self, detector: Detector, hour: Hour) -> list[Finding]:
        try:
            return detector.step(self._now(hour), self._earlier(hour))
        except Unavailable:
            raise
        except Exception:  # our bug: that hour is not judged, the rest goes on
            log.exception("hour %d cannot be judged", hour.hour_ms)
            self._detector = None
            return []

    def _recalled(self) -> Detector:
        said = self._store.recall(_DETECTOR)
        if said is not None:
            try:
                return Detector.from_bytes(said)
            except ContractError as e:
                log.error("what is usual has to be learned again: %s", e)
        return Detector(day_ms=self._market.policy.day_length_s * 1000)

    def _missing(self, hour: Hour) -> str:
        """Which part the hour's counts go without; "" for none."""
        end_ms = self._finisher.end_ms(hour.hour_ms)
        of_hour = [s for s in self._store.skipped() if s.first_ms < end_ms and s.last_ms >= hour.hour_ms]
        return f"part {of_hour[0].number} of {of_hour[0].log} {of_hour[0].reason}" if of_hour else ""

    def _now(self, hour: Hour) -> Profile:
        """The hour's traffic, and the labels that have become final in it."""
        by = {h.release: dict(h.by) for h in self._store.summaries(hour.hour_ms, kinds=KINDS)}
        for stage, task in self._tasks():
            for h in self._store.summaries(self._finisher.final_with(hour.hour_ms, stage), kinds=("calibration",)):
                of_task = {key: summary for key, summary in h.by.items() if key[1].name == task}
                by.setdefault(h.release, {}).update(of_task)
        return profile([HourSummary(hour.hour_ms, release, of) for release, of in by.items()] or [HourSummary(hour.hour_ms, "")])

    def _tasks(self) -> list[tuple[int, str]]:
        """The tasks whose labels become final, each with the stage in which they do."""
        conversion = self._market.conversion_task
        clicks = [(CLICKS_FINAL, self._market.tasks[0].name)]
        return [*clicks, (CONVERSIONS_FINAL, conversion.name)] if conversion else clicks

    def _earlier(self, hour: Hour) -> list[Profile]:
        day_ms = self._market.policy.day_length_s * 1000
        found = (self._store.summaries(at_ms, kinds=KINDS) for at_ms in earlier_hours(hour.hour_ms, day_ms))
        return [profile(summaries) for summaries in found if summaries]
