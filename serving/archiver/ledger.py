"""The money ledger: what the event log says was charged must be what Redis says was spent, to the micro."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import redis

from domain.keys import PARTITIONS, Keys, partition_of
from features.log_archive import EVENTS, archived, read_log
from features.log_schema import event_schema
from features.market import Market

Spender = tuple[str, int]
"""Campaign and budget day."""


@dataclass(frozen=True, slots=True)
class Account:
    """One campaign and budget day: charged according to the log, spent according to Redis."""

    campaign: str
    day: int
    charged_micros: int
    spent_micros: int


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """All accounts with a charge or a budget hash, by day and campaign."""

    accounts: tuple[Account, ...]

    @property
    def charged_micros(self) -> int:
        """Sum over all accounts, according to the log."""
        return sum(a.charged_micros for a in self.accounts)

    @property
    def differences(self) -> tuple[Account, ...]:
        """Accounts on which log and Redis disagree; empty when every micro is accounted for."""
        return tuple(a for a in self.accounts if a.charged_micros != a.spent_micros)


def reconcile(client: "redis.Redis", market: Market, log_dir: Path, since_day: int = 0) -> Reconciliation:
    """Compares the archive plus the part of the streams not yet archived with the budgets, exactly, also while events arrive.

    The tail of a partition's stream and its budgets are read in one transaction, and settling writes both in one script, so the
    two sides of a campaign are of the same instant. A budget hash that has expired counts as nothing spent, hence `since_day`.

    Args:
      since_day: budget days before it are left out.
    Raises:
      redis.RedisError: Redis cannot be read.
      KeyError, ValueError: a stream's tail holds a malformed entry.
    """
    keys = Keys(market.name)
    pattern = keys.budget_prefix(0).replace(":0}", ":*}") + "*"
    budgets = {_account(key.decode()) for key in client.scan_iter(match=pattern, count=1000)}
    while True:
        before = archived(log_dir, EVENTS)
        charged, spent_of = Counter[Spender](), dict[Spender, int]()
        for partition in range(PARTITIONS):
            known = [(campaign, day) for campaign, day in sorted(budgets) if partition_of(campaign) == partition]
            with client.pipeline(transaction=True) as snapshot:
                snapshot.xrange(keys.events(partition), min=f"({before.to(partition)}")
                for campaign, day in known:
                    snapshot.hget(keys.budget(campaign, day), "spent")
                tail, *spent = snapshot.execute()
            charged.update(_charges_of(tail))
            spent_of |= {account: int(value or 0) for account, value in zip(known, spent, strict=True)}
        charged.update(_archived_charges(log_dir))
        if archived(log_dir, EVENTS) != before:
            continue  # the archiver moved on meanwhile: entries could be on both sides, or on neither
        if charged.keys() <= budgets:
            break
        budgets |= charged.keys()
    return Reconciliation(
        tuple(
            Account(campaign, day, charged[campaign, day], spent_of[campaign, day])
            for campaign, day in sorted(budgets, key=lambda account: (account[1], account[0]))
            if day >= since_day
        )
    )


def _archived_charges(log_dir: Path) -> Counter[Spender]:
    columns = [f for f in event_schema() if f.name in ("campaign_id", "day", "charged_micros")]
    events = read_log(log_dir, EVENTS, pa.schema(columns))
    events = events.filter(pc.not_equal(events["charged_micros"], 0)).combine_chunks()
    sums = events.group_by(["campaign_id", "day"]).aggregate([("charged_micros", "sum")]).to_pylist()
    return Counter({(row["campaign_id"], row["day"]): row["charged_micros_sum"] for row in sums})


def _charges_of(tail: list[tuple[bytes, dict[bytes, bytes]]]) -> Counter[Spender]:
    charges: Counter[Spender] = Counter()
    for _, fields in tail:
        charged = int(fields[b"charged_micros"])
        if charged:
            charges[fields[b"campaign_id"].decode(), int(fields[b"day"])] += charged
    return charges


def _account(key: str) -> Spender:
    campaign, day = key.rsplit(":", 2)[1:]
    return campaign, int(day)
