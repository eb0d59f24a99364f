"""Names of the Redis keys, one market to a prefix. docs/redis.md describes each; a test holds the two together.

The money of a campaign lives in one partition, whose keys share the hash tag `{market:partition}`: one script may touch all of
them in Redis Cluster, while the partitions of a market spread over its slots.
"""

import zlib
from dataclasses import dataclass
from functools import lru_cache

PARTITIONS = 16
"""Costly to change: what is in Redis and in the archive is named by it."""
LIFETIME = -1
"""In the place of a budget day: all days of a campaign together."""


@lru_cache(maxsize=100_000)
def partition_of(campaign: str) -> int:
    """The partition that holds a campaign's money, in [0, PARTITIONS)."""
    return zlib.crc32(campaign.encode()) % PARTITIONS


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names of one market."""

    market: str

    def budget(self, campaign: str, day: int) -> str:
        """Hash of one campaign and budget day: `limit`, `spent`, `held`, and a field for every live hold; int micros.

        Of `LIFETIME`: `limit` and `spent` of all days, where the campaign has such a budget.
        """
        return f"{self.budget_prefix(partition_of(campaign))}{campaign}:{day}"

    def budget_prefix(self, partition: int) -> str:
        """What the name of every budget hash of a partition starts with; scripts that sweep holds build the rest."""
        return f"{self._money(partition)}:budget:"

    def holds(self, partition: int) -> str:
        """Sorted set of live holds; member from `hold_member`, score is the expiry in ms."""
        return f"{self._money(partition)}:holds"

    def impression(self, campaign: str, impression_id: str) -> str:
        """Hash of what was accepted of an impression: makes events idempotent."""
        return f"{self._money(partition_of(campaign))}:imp:{impression_id}"

    def events(self, partition: int) -> str:
        """Stream of a partition's accepted events; fields in docs/redis.md."""
        return f"{self._money(partition)}:events"

    def due(self, campaign: str) -> str:
        """List of the campaign's conversions that wait for a budget with room."""
        return f"{self._money(partition_of(campaign))}:due:{campaign}"

    def probe(self, partition: int) -> str:
        """Written by gateways every second, to see whether the partition's server takes writes."""
        return f"{self._money(partition)}:probe"

    def _money(self, partition: int) -> str:
        return f"or:{{{self.market}:{partition}}}"

    @property
    def decisions(self) -> str:
        """Stream of `domain.events.Decision`, as features/log_entry.py writes them."""
        return f"or:{{{self.market}}}:decisions"

    def batch(self, sender: str) -> str:
        """Number of the last batch a gateway process appended to `decisions`: a batch sent twice is logged once."""
        return f"or:{{{self.market}}}:batch:{sender}"

    def answer(self, decision_id: str) -> str:
        """The answer to a request that brought its own id, replayed to retries."""
        return f"or:{{{self.market}}}:answer:{decision_id}"

    @property
    def pacing(self) -> str:
        """Hash campaign -> pacing multiplier in [0, 1]."""
        return f"or:{{{self.market}}}:pacing"

    @property
    def pacer_lock(self) -> str:
        """Name of the one pacer that leads; expires."""
        return f"or:{{{self.market}}}:pacer"

    @property
    def archiver(self) -> str:
        """Hash that the archiver writes when it has flushed, or failed to: docs/redis.md has its fields."""
        return f"or:{{{self.market}}}:archiver"

    @property
    def watch(self) -> str:
        """Hash that the watch writes at every turn: docs/redis.md has its fields."""
        return f"or:{{{self.market}}}:watch"

    @property
    def releases(self) -> str:
        """Hash release version -> ms when a gateway first served it."""
        return f"or:{{{self.market}}}:releases"

    @property
    def beats(self) -> str:
        """Hash process -> JSON of its last beat: which market file it has, and how far its clock is off."""
        return f"or:{{{self.market}}}:beats"

    @property
    def verified(self) -> str:
        """Set of the run ids of Redis servers whose money has been reconciled with the ledger."""
        return f"or:{{{self.market}}}:verified"

    @property
    def repairing(self) -> str:
        """Name of the process that rebuilds lost money; expires."""
        return f"or:{{{self.market}}}:repairing"

    @property
    def ledger(self) -> str:
        """Hash of what was found when the books were last held against Redis."""
        return f"or:{{{self.market}}}:ledger"

    @property
    def snapshot(self) -> str:
        """What the pacer last read of all budgets: `serving.budget_snapshot`."""
        return f"or:{{{self.market}}}:snapshot"

    def shopper(self, shopper_key: str) -> str:
        """Hash of a shopper's counters: `impression`, `click`, `conversion`, and `cap:<campaign>:<day>`."""
        return f"or:{self.market}:shopper:{{{_tag(shopper_key)}}}"

    def shown(self, shopper_key: str) -> str:
        """Sorted set `campaign|decision` of what a shopper was shown and has not reported, score the expiry in ms."""
        return f"or:{self.market}:shown:{{{_tag(shopper_key)}}}"

    def order(self, shopper_key: str, order_id: str) -> str:
        """The impression, as `campaign|impression`, that an order of the shopper counts for."""
        return f"or:{self.market}:order:{{{_tag(shopper_key)}}}:{order_id}"


def _tag(shopper_key: str) -> str:
    """A key of any characters within the braces of a hash tag, which must not hold any."""
    return shopper_key.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")


def hold_member(campaign: str, day: int, decision_id: str) -> str:
    """Names a live hold; a decision has at most one per campaign. The budget's field `h:<decision_id>` has its micros."""
    return f"{campaign}|{day}|{decision_id}"
