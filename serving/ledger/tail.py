"""One partition of Redis against the books: the tail of its stream and its budgets, at one instant."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import redis

from domain.keys import LIFETIME, Keys
from features.log_archive import StreamId
from serving.budget_days import NO_LIMIT
from serving.ledger.books import At, Charged
from store import server_of

ENTRIES_AT_ONCE = 1000
BUDGETS_AT_ONCE = 500
"""Budgets read in one transaction, some 2 ms during which Redis serves nobody else."""


@dataclass(frozen=True, slots=True)
class BudgetRead:
    """A budget as Redis has it; all None where it has none."""

    limit: str | None
    spent_micros: int | None
    held_micros: int

    @property
    def open(self) -> bool:
        """Whether it may be sold from."""
        return self.limit is not None

    @property
    def limit_micros(self) -> int | None:
        """None where there is no limit."""
        return None if self.limit in (None, NO_LIMIT) else int(str(self.limit))


@dataclass(slots=True)
class PartitionRead:
    """The budgets, and what each was charged according to the log at the instant at which it was read."""

    budgets: dict[At, BudgetRead] = field(default_factory=dict)
    charged_micros: dict[At, int] = field(default_factory=dict)
    entries: int = 0
    unreadable: int = 0


def read_partition(client: "redis.Redis", keys: Keys, partition: int, charged: Charged, wanted: Iterable[At]) -> PartitionRead:
    """Reads what a partition was charged beyond the books, and its budgets.

    Settling writes money and entry in one script, and a part of the stream is read in one transaction with the budgets that are
    compared with it: exact while events arrive. What lies further back in the stream is read before that, in pages.

    Args:
      wanted: what to compare; what the tail charges is compared as well.
    Raises:
      redis.RedisError: Redis cannot be read.
    """
    tail, stream = _Tail(charged.position(partition)), keys.events(partition)
    server = server_of(client, stream)
    while tail.take(server.xrange(stream, min=f"({tail.last}", count=ENTRIES_AT_ONCE)) == ENTRIES_AT_ONCE:
        pass
    read = PartitionRead()
    todo = sorted({*wanted, *tail.charged})
    known = set(todo)
    while todo:
        chunk, todo = todo[:BUDGETS_AT_ONCE], todo[BUDGETS_AT_ONCE:]
        with server.pipeline(transaction=True) as instant:
            instant.xrange(stream, min=f"({tail.last}")
            for at in chunk:
                instant.hmget(keys.budget(*at), "limit", "spent", "held")
            entries, *budgets = instant.execute()
        tail.take(entries)
        for at, (limit, spent, held) in zip(chunk, budgets, strict=True):
            read.budgets[at] = BudgetRead(_text(limit), None if spent is None else int(spent), int(held or 0))
            read.charged_micros[at] = charged.micros[at] + (tail.of_all[at[0]] if at[1] == LIFETIME else tail.charged[at])
        todo += sorted(tail.charged.keys() - known)
        known.update(tail.charged)
    read.entries, read.unreadable = tail.entries, tail.unreadable
    return read


@dataclass(slots=True)
class _Tail:
    last: StreamId
    charged: Counter[At] = field(default_factory=Counter)
    of_all: Counter[str] = field(default_factory=Counter)
    entries: int = 0
    unreadable: int = 0

    def take(self, entries: list[tuple[bytes | str, dict[bytes | str, bytes | str]]]) -> int:
        for entry_id, fields in entries:
            self.last = StreamId.parse(entry_id)
            self.entries += 1
            try:
                named = {_text(k): _text(v) for k, v in fields.items()}
                if micros := int(named["charged_micros"] or 0):
                    campaign, day = str(named["campaign_id"]), int(named["day"] or "")
                    self.charged[campaign, day] += micros
                    self.of_all[campaign] += micros
            except (KeyError, ValueError):
                self.unreadable += 1  # the archiver rejects it, and the difference shows
        return len(entries)


def _text(value: bytes | str | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
