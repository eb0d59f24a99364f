"""Holds the books against Redis: what a campaign was charged on a budget day is what Redis says it has spent, to the micro."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import redis

from domain.clock import budget_day
from domain.days import UTC, day_of
from domain.errors import Unavailable
from domain.keys import LIFETIME, PARTITIONS, Keys, partition_of
from features.market import Market
from serving.budget_days import budget_ttl_ms, has_total
from serving.ledger.books import At, Charged, LedgerBooks
from serving.ledger.tail import BudgetRead, PartitionRead, read_partition
from store import server_of

ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Account:
    """One campaign and budget day: charged according to the log, spent according to Redis."""

    campaign: str
    day: int
    charged_micros: int
    spent_micros: int


@dataclass(frozen=True, slots=True)
class Days:
    """Budget days that matter at an instant.

    `first` is the oldest whose budget may still be there; `living` the oldest that a token may still charge, so that a budget
    that is gone from then on was lost.
    """

    first: int
    living: int
    today: int
    elsewhere: Mapping[str, int] = field(default_factory=dict)
    """Campaign -> its today, where that is another one."""

    @classmethod
    def at(cls, now_ms: int, market: Market) -> "Days":
        """As of `now_ms`."""
        length_s = market.policy.day_length_s
        windows_ms = 1000 * (market.training.click_window_s + market.training.conversion_window_s)
        zones = {c.time_zone for c in market.campaigns} | {UTC}
        # A day that is over in UTC may go on to the west of it.
        first, living = (
            max(min(day_of(now_ms - ms, zone, length_s) for zone in zones), 0) for ms in (budget_ttl_ms(market), windows_ms)
        )
        today = budget_day(now_ms, length_s)
        there = {c.id: day_of(now_ms, c.time_zone, length_s) for c in market.campaigns if c.time_zone != UTC}
        return cls(first, living, today, {c: day for c, day in there.items() if day != today})

    def today_of(self, campaign: str) -> int:
        """The budget day of a campaign."""
        return self.elsewhere.get(campaign, self.today)

    def current(self, campaign: str) -> range:
        """Yesterday, which is still charged by those who saw its pages, today, and tomorrow, whose budgets are opened early."""
        today = self.today_of(campaign)
        return range(max(today - 1, 0), today + 2)


@dataclass(slots=True)
class Reconciliation:
    """What was found; `accounts` by day and campaign, without those on which neither side has anything."""

    days: Days
    accounts: list[Account] = field(default_factory=list)
    budgets: dict[At, BudgetRead] = field(default_factory=dict)
    unreadable: int = 0

    @property
    def charged_micros(self) -> int:
        """Sum over all accounts, according to the log."""
        return sum(a.charged_micros for a in self.accounts if a.day != LIFETIME)

    @property
    def differences(self) -> tuple[Account, ...]:
        """Accounts on which log and Redis disagree; empty when every micro is accounted for."""
        return tuple(a for a in self.accounts if a.charged_micros != a.spent_micros)

    def closed(self, campaigns: Iterable[str]) -> list[str]:
        """Campaigns whose budget of today is not open: nothing of theirs is sold."""
        return [c for c in campaigns if not all(self.budgets[c, d].open for d in self._needed(c))]

    def _needed(self, campaign: str) -> list[int]:
        return [self.days.today_of(campaign), *([LIFETIME] if (campaign, LIFETIME) in self.budgets else [])]


def reconcile(
    client: "redis.Redis",
    market: Market,
    books: LedgerBooks,
    days: Days,
    older: Callable[[At], bool] = lambda _: True,
    also: Iterable[At] = (),
) -> Reconciliation:
    """Compares every partition, each at one instant, and reads nothing of the archive but what the books lack.

    Args:
      older: which accounts of earlier days to compare, beside those that were charged lately.
      also: budgets to compare, whatever market and books say.
    Raises:
      redis.RedisError: Redis cannot be read.
      LedgerUnavailable: the books cannot.
    """
    keys, result, also = Keys(market.name), Reconciliation(days), set(also)
    also |= {(c.id, LIFETIME) for c in market.campaigns if has_total(c)}
    charged = books.charged(days.first, {campaign for campaign, day in also if day == LIFETIME})
    for partition in range(PARTITIONS):
        wanted = {(c.id, day) for c in market.campaigns if partition_of(c.id) == partition for day in days.current(c.id)}
        wanted |= {
            at for at in charged.micros if partition_of(at[0]) == partition and at[1] not in days.current(at[0]) and older(at)
        }
        wanted |= {at for at in also if partition_of(at[0]) == partition}
        charged, read = read_settled(client, keys, partition, books, charged, wanted)
        result.unreadable += read.unreadable
        result.budgets |= read.budgets
        for (campaign, day), budget in read.budgets.items():
            on_log, spent = read.charged_micros[campaign, day], budget.spent_micros
            forgotten = spent is None and LIFETIME != day < days.living
            if (on_log or spent) and not forgotten:
                result.accounts.append(Account(campaign, day, on_log, spent or 0))
    result.accounts.sort(key=lambda a: (a.day, a.campaign))
    return result


def reconcile_now(client: "redis.Redis", market: Market, log_dir: Path) -> Reconciliation:
    """Compares every account of the books, and every budget that Redis has. Errors as in `reconcile`."""
    days = Days.at(time_ms(client, Keys(market.name)), market)
    pattern = Keys(market.name).budget_prefix(0).replace(":0}", ":*}") + "*"
    names = (name if isinstance(name, str) else name.decode() for name in client.scan_iter(match=pattern, count=1000))
    budgets = [(campaign, int(day)) for campaign, day in (name.rsplit(":", 2)[1:] for name in names)]
    with LedgerBooks(log_dir, must_exist=False) as books:
        return reconcile(client, market, books, days, also=budgets)


def time_ms(client: "redis.Redis", keys: Keys) -> int:
    """The time of Redis, which money is counted by."""
    seconds, micros = server_of(client, keys.ledger).time()
    return int(seconds) * 1000 + int(micros) // 1000


def read_settled(
    client: "redis.Redis", keys: Keys, partition: int, books: LedgerBooks, charged: Charged, wanted: Iterable[At]
) -> tuple[Charged, PartitionRead]:
    """A reading during which the archiver did not move on, which could have trimmed what was to be read; and the sums it is for.

    Raises:
      Unavailable: it moved on all the time.
    """
    for _ in range(ATTEMPTS):
        read = read_partition(client, keys, partition, charged, wanted)
        later = books.moved_on(charged)
        if later is None:
            return charged, read
        charged = later
    raise Unavailable("ledger", f"partition {partition}: the archive moved on {ATTEMPTS} times while it was compared")
