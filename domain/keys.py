"""Names of the Redis keys, one market to a prefix. docs/redis.md describes each; a test holds the two together.

All money keys of a market share the hash tag `{market}`, so that one script may touch them in Redis Cluster.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names of one market."""

    market: str

    def budget(self, campaign: str, day: int) -> str:
        """Hash `spent`, `held`: int micros of one campaign and budget day."""
        return f"{self.budget_prefix}{campaign}:{day}"

    @property
    def budget_prefix(self) -> str:
        """What the name of every budget hash starts with; scripts that sweep holds build the rest."""
        return f"or:{{{self.market}}}:budget:"

    @property
    def holds(self) -> str:
        """Sorted set of live holds; member from `hold_member`, score is the expiry in ms."""
        return f"or:{{{self.market}}}:holds"

    def impression(self, impression_id: str) -> str:
        """Hash of the event types seen for an impression -> micros charged: makes events idempotent."""
        return f"or:{{{self.market}}}:imp:{impression_id}"

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
    def events(self) -> str:
        """Stream of accepted events; fields in docs/redis.md."""
        return f"or:{{{self.market}}}:events"

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
        """Hash the archiver writes when it has flushed: `beat_ms`, `interval_s`, `rejected`, the last archived id of each log."""
        return f"or:{{{self.market}}}:archiver"

    @property
    def releases(self) -> str:
        """Hash release version -> ms when a gateway first served it."""
        return f"or:{{{self.market}}}:releases"

    def shopper(self, shopper_key: str) -> str:
        """Hash of a shopper's counters: `impression`, `click`, `conversion`, and `cap:<campaign>:<day>`."""
        return f"or:{self.market}:shopper:{{{shopper_key}}}"


def hold_member(campaign: str, day: int, micros: int, impression_id: str) -> str:
    """A live hold as one string, so that releasing it needs no second look-up."""
    return f"{campaign}|{day}|{micros}|{impression_id}"
