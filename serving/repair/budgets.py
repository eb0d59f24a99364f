"""Opens budgets, each with what the ledger says was spent on it."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

import redis

from domain.errors import Unavailable
from domain.keys import LIFETIME, Keys, partition_of
from features.market import Market
from serving.budget_days import NO_LIMIT, has_total, span
from serving.ledger.books import At, Charged, LedgerBooks
from serving.ledger.reconcile import read_settled
from serving.ledger.tail import PartitionRead

AT_ONCE = 100
"""Budgets that one script opens, a millisecond during which Redis serves nobody else."""
ATTEMPTS = 20
AS_IT_IS = "="
"""What is left to Redis to say: whether a campaign that has gone had a lifetime budget."""
SCRIPT = (Path(__file__).parents[1] / "lua" / "restore_budgets.lua").read_text("utf-8")


def open_budgets(
    client: "redis.Redis",
    market: Market,
    partition: int,
    books: LedgerBooks,
    charged: Charged,
    limits: Mapping[At, int | None],
) -> tuple[Charged, dict[At, tuple[int, int]]]:
    """Opens budgets of a partition with what the log says was spent on them, also while events arrive.

    Args:
      limits: of the budgets to open; None for no limit.
    Returns:
      The sums, with what was archived meanwhile; and what `spent` was and is now, where that is not the same.
    Raises:
      redis.RedisError: Redis is away; what was opened is right.
      Unavailable: the books cannot be read, or budgets change all the time.
    """
    keys, corrected, todo = Keys(market.name), dict[At, tuple[int, int]](), set(limits)
    for at in todo:
        if at[1] == LIFETIME:  # what is charged from now on is counted there, so that it is missed by neither
            client.hsetnx(keys.budget(*at), "spent", 0)
    for _ in range(ATTEMPTS):
        charged, read = read_settled(client, keys, partition, books, charged, todo)
        todo = {at for at in todo if not _is_right(read, at, limits[at])}
        if not todo:
            return charged, corrected
        wrong = {at: (read.budgets[at].spent_micros, read.charged_micros[at]) for at in todo}
        done = _restore(client, market, wrong, limits)
        corrected |= {at: (wrong[at][0] or 0, wrong[at][1]) for at in done if (wrong[at][0] or 0) != wrong[at][1]}
        todo -= done
        if not todo:
            return charged, corrected
    raise Unavailable("ledger", f"partition {partition}: {len(todo)} budgets changed {ATTEMPTS} times while they were opened")


def close_budgets(client: "redis.Redis", market: Market, budgets: Iterable[At]) -> None:
    """Closes those that are open: nothing is sold or accepted on them, and what was spent and is held stays.

    Raises:
      redis.RedisError: Redis is away.
    """
    keys = Keys(market.name)
    for chunk in _chunks(list(budgets)):
        pipe = client.pipeline(transaction=False)
        for at in chunk:
            pipe.hdel(keys.budget(*at), "limit")
        pipe.execute()


def set_limits(client: "redis.Redis", market: Market, limits: Mapping[At, int | None]) -> list[At]:
    """Gives open budgets these limits, and the days that they are of; those that are not open, which stay as they are.

    Both take effect at once. A date goes on with what was spent on it, whenever it begins and ends.

    Raises:
      redis.RedisError: Redis is away.
    """
    keys, closed, wrong = Keys(market.name), list[At](), dict[At, tuple[int | None, int]]()
    for chunk in _chunks(sorted(limits)):
        pipe = client.pipeline(transaction=False)
        for at in chunk:
            pipe.hmget(keys.budget(*at), "limit", "spent", "from_ms", "until_ms", "total")
        for at, (limit, spent, *said) in zip(chunk, pipe.execute(), strict=True):
            if limit is None:
                closed.append(at)
            elif [limit, *said] != [_limit(limits[at]), *map(str, span(market, *at)[:2]), _wanted(market, at)]:
                wrong[at] = (None, 0) if spent is None else (int(spent), int(spent))
    again = {at: limits[at] for at in wrong.keys() - _restore(client, market, wrong, limits)}  # charged in between
    return closed + (set_limits(client, market, again) if again else [])


def _restore(
    client: "redis.Redis", market: Market, spent: Mapping[At, tuple[int | None, int]], limits: Mapping[At, int | None]
) -> set[At]:
    """Runs the script; the budgets that are right now.

    Args:
      spent: as it was read, and as it has to be.
    """
    keys, done, restore = Keys(market.name), set[At](), client.register_script(SCRIPT)
    by_partition = sorted(spent, key=lambda at: (partition_of(at[0]), at))
    for _, same in groupby(by_partition, key=lambda at: partition_of(at[0])):
        for chunk in _chunks(list(same)):
            args: list[str | int] = []
            for at in chunk:
                was, now = spent[at]
                args += ["" if was is None else was, now, _limit(limits[at]), *span(market, *at), _total(market, at)]
            replies = restore(keys=[keys.budget(*at) for at in chunk], args=args)
            done |= {at for at, opened in zip(chunk, replies, strict=True) if opened}
    return done


def _wanted(market: Market, at: At) -> str | None:
    """What a budget has to say of a lifetime budget."""
    return "1" if _total(market, at) == "1" else None


def _total(market: Market, at: At) -> str:
    campaign = market.campaign_by_id.get(at[0])
    return AS_IT_IS if campaign is None or at[1] == LIFETIME else "1" if has_total(campaign) else ""


def _limit(micros: int | None) -> str:
    return NO_LIMIT if micros is None else str(micros)


def _is_right(read: PartitionRead, at: At, limit: int | None) -> bool:
    budget = read.budgets[at]
    return budget.open and budget.limit_micros == limit and (budget.spent_micros or 0) == read.charged_micros[at]


def _chunks(budgets: list[At]) -> Iterator[list[At]]:
    for start in range(0, len(budgets), AT_ONCE):
        yield budgets[start : start + AT_ONCE]
