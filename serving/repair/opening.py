"""What the pacer does about budgets: opens them where their money is right, and repairs it where it is not."""

import logging
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import redis

from domain.errors import OfferRankError
from domain.keys import LIFETIME, Keys, partition_of
from domain.money import format_micros
from features.market import Market
from serving.budget_days import has_total, limit_micros, open_new
from serving.ledger.books import At, LedgerBooks, since_and_lifetimes
from serving.repair.budgets import open_budgets, set_limits
from serving.repair.repair import Repair, Repaired
from serving.repair.servers import UNFINISHED, run_ids, verified
from serving.repair.trust import check_books

log = logging.getLogger("offerrank.repair")
NOT_WHOLE = "this Redis is not known to be whole, nothing is sold"
EARLIER_CLOSED = "the repair of this Redis is not finished, budgets of days before yesterday stay closed"
FINISH_FOR_S = 1.0
"""Most of a turn that is spent on what a repair left for later, since pacing waits meanwhile."""
FINISH_EVERY_S = 60
"""How often that is tried again where it fails."""


class Opening:
    """Keeps today's and tomorrow's budgets open, on servers that are verified.

    Args:
      client: decodes responses.
      log_dir: the archive, with the ledger; without one, lost money cannot be rebuilt.
    """

    def __init__(self, client: "redis.Redis", market: Market, log_dir: Path | None) -> None:
        self._redis, self._market, self._log_dir = client, market, log_dir
        self._keys = Keys(market.name)
        self._repair = None if log_dir is None else Repair(client, market, log_dir)
        self._opened: tuple[list[str], Mapping[str, int]] | None = None
        """Servers and budget days when budgets were opened last."""
        self._steps: Generator[None, None, None] | None = None
        """What is left of a repair that sells already."""
        self._finish_at = 0.0
        self._said = ""

    def follow(self, market: Market) -> None:
        """Budgets take the limits of this market at the next turn. A repair that is under way ends with those it began with."""
        self._market, self._opened = market, None
        self._repair = None if self._log_dir is None else Repair(self._redis, market, self._log_dir)

    def forget(self) -> None:
        """The next turn looks at everything anew."""
        self._opened = None

    def ready(self, days: Mapping[str, int]) -> bool:
        """Whether the money of this Redis is right, so that the pacer may go on. Repairs it and opens budgets, where it can.

        Args:
          days: campaign -> budget day now.
        Raises:
          redis.RedisError: Redis is away.
        """
        servers = run_ids(self._redis)
        known = verified(self._redis, self._keys)
        if not set(servers) <= known:
            self._opened = None
            if not self._repaired():
                return False
        if self._steps or (UNFINISHED in known and time.monotonic() >= self._finish_at):
            self._finish()
        if self._opened != (servers, days) and self._open(days):
            self._opened = servers, days
        return True

    def reopen(self, closed: Sequence[At]) -> None:
        """Opens budgets of today that were open and are gone, evicted or deleted, with what the ledger says was spent."""
        if closed and self._opened is not None:
            lost = f"{len(closed)} budgets are gone, such as that of {closed[0][0]} on day {closed[0][1]}"
            if self._log_dir is None:
                self._say(lost, _no_ledger())
            else:
                log.error(lost)
                campaigns = self._market.campaign_by_id
                self._open_by_ledger({at: limit_micros(campaigns[at[0]], at[1]) for at in closed})

    def _repaired(self) -> bool:
        """Whether it may be sold again."""
        if self._repair is None:
            return self._say(NOT_WHOLE, _no_ledger())
        if self._steps:
            self._steps.close()
        done, self._steps = Repaired(), None
        steps = self._repair.steps(done)
        try:
            next(steps)
        except OfferRankError as e:
            return self._say(NOT_WHOLE, str(e))
        self._said, self._steps = "", steps
        log.warning(describe(done, self._market))
        return True

    def _finish(self) -> None:
        """Goes on with what a repair left for later, this one or one that was interrupted, for a part of this turn."""
        if self._repair is None:
            self._say(EARLIER_CLOSED, _no_ledger())
            return
        steps, self._steps = self._steps or self._repair.steps(Repaired()), None
        until = time.monotonic() + FINISH_FOR_S
        try:
            for _ in steps:
                if time.monotonic() >= until:
                    self._steps = steps
                    return
        except OfferRankError as e:
            self._finish_at = time.monotonic() + FINISH_EVERY_S
            self._say(EARLIER_CLOSED, str(e))
        else:
            self._said = ""
            log.info("what Redis had lost of earlier days is there, their budgets are open")

    def _open(self, days: Mapping[str, int]) -> bool:
        """Today's budgets and tomorrow's, so that midnight needs no pacer; all take the limits of the market file."""
        campaigns = self._market.campaigns
        limits = {(c.id, days[c.id] + d): c.daily_budget_micros for c in campaigns for d in (0, 1)}
        limits |= {(c.id, LIFETIME): c.lifetime_budget_micros for c in campaigns if has_total(c)}
        closed = set_limits(self._redis, self._market, limits)
        if not closed:
            return True
        if self._log_dir is not None and self._open_by_ledger({at: limits[at] for at in closed}):
            return True
        # Nothing is spent on tomorrow. Without a ledger today's are taken for new, on a server that has not lost anything.
        ahead = (1,) if self._log_dir else (0, 1)
        # Nobody else knows what was spent over all days.
        open_new(self._redis, self._market, ((c, days[c.id] + d) for c in campaigns for d in ahead))
        return self._log_dir is None

    def _open_by_ledger(self, limits: dict[At, int | None]) -> bool:
        assert self._log_dir is not None
        corrected: dict[At, tuple[int, int]] = {}
        try:
            with LedgerBooks(self._log_dir, must_exist=False) as books:
                charged = books.charged(*since_and_lifetimes(limits))
                check_books(self._redis, self._keys, self._log_dir, charged)
                for partition in sorted({partition_of(campaign) for campaign, _ in limits}):
                    here = {at: limit for at, limit in limits.items() if partition_of(at[0]) == partition}
                    charged, changed = open_budgets(self._redis, self._market, partition, books, charged, here)
                    corrected |= changed
        except OfferRankError as e:
            return self._say(f"{len(limits)} budgets stay closed", str(e))
        for (campaign, on), (was, now) in corrected.items():
            if on == LIFETIME and was == 0:
                continue  # until now nobody counted
            amounts = (format_micros(m, self._market.currency) for m in (was, now))
            log.warning("spent of %s on day %d was %s, and is %s by the ledger", campaign, on, *amounts)
        self._said = ""
        return True

    def _say(self, what: str, why: str) -> bool:
        """Once, until something else is the matter. Always False."""
        if (said := f"{what}: {why}") != self._said:
            log.error(said)
        self._said = said
        return False


def describe(done: Repaired, market: Market) -> str:
    """A repair in one line."""
    micros = sum(abs(now - was) for was, now in done.corrected.values())
    return (
        f"verified in {done.seconds:.1f} s: {done.budgets} budgets are open, {len(done.corrected)} had another spent, by "
        f"{format_micros(micros, market.currency)} in all; {done.entries} lost events were remembered"
    )


def _no_ledger() -> str:
    return "give the pacer the archive (OFFERRANK_LOG_DIR), or run `offerrank reconcile --repair` where it is"
