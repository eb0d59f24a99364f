"""What the watch looks at beside the log, once in the 60th part of an hour: money in Redis, and whether others do their work."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

import redis

from features.market import Market
from monitoring.incidents import Keeper
from monitoring.incidents.standing import Lasting, Standing
from monitoring.incidents.store import MONEY, PROCESS
from monitoring.learning_beat import LearningBeat
from monitoring.skew_beat import SkewBeat
from monitoring.summaries import Series
from monitoring.watch.money import MoneyLook
from monitoring.watch.revenue import revenue_micros_per_day

if TYPE_CHECKING:
    from monitoring.watch.store import MonitorStore

log = logging.getLogger("offerrank.watch")
LOOKS_AN_HOUR: Final = 60


class Surroundings:
    """Hands what it sees to the incidents; what it cannot see opens and closes none."""

    def __init__(
        self, client: "redis.Redis", market: Market, log_dir: Path, incidents: Keeper, releases: Path | None = None
    ) -> None:
        self._money, self._log_dir, self._incidents = MoneyLook(client, market), log_dir, incidents
        self._releases = releases
        self._hour_ms = market.policy.day_length_s * 1000 // 24
        self._lasting = {MONEY: Lasting(), PROCESS: Lasting()}
        self._looked_ms = 0
        self._revenue = (0, 0)
        """The newest hour, and what a day brings as of then."""

    def turn(self, store: "MonitorStore", at_ms: int) -> None:
        """Looks, if it is time to.

        Raises:
          FileUnavailable: of the incidents or statistics.
        """
        if 0 <= at_ms - self._looked_ms < self._hour_ms // LOOKS_AN_HOUR:
            return
        self._looked_ms = at_ms
        self._tell(PROCESS, self._processes(at_ms), at_ms)
        try:
            found = self._money.look(at_ms, self._revenue_micros_per_day(store))
        except (redis.RedisError, ValueError, KeyError) as e:  # away, or something else than money is there
            log.debug("money cannot be looked at: %s", e)
            return
        self._tell(MONEY, found, at_ms)

    def _tell(self, series_kind: str, found: list[Standing], at_ms: int) -> None:
        self._incidents.observe_standing(series_kind, self._lasting[series_kind](found, at_ms), at_ms)

    def _processes(self, at_ms: int) -> list[Standing]:
        skew, learning = SkewBeat.read(self._log_dir), self._releases and LearningBeat.read(self._releases)
        found = []
        if skew is not None and skew.is_over(at_ms):
            found.append(_late("skew_unchecked", "skew", at_ms - skew.checked_ms, skew.longest_ms, skew.why))
        if learning and learning.is_over(at_ms):
            found.append(_late("not_learning", "training", at_ms - learning.learned_ms, learning.longest_ms, learning.why))
        return found

    def _revenue_micros_per_day(self, store: "MonitorStore") -> int:
        newest_ms = store.first_and_last_hour()[1]
        if self._revenue[0] != newest_ms:
            self._revenue = newest_ms, sum(revenue_micros_per_day(store, self._hour_ms).values())
        return self._revenue[1]


def _late(kind: str, process: str, since_ms: int, longest_ms: int, why: str) -> Standing:
    hours, allowed = since_ms / 3_600_000, longest_ms / 3_600_000
    return Standing(kind, Series(PROCESS, process), hours, allowed, detail={"why": why} if why else {})
