"""How full Redis is, and how far behind the archive: the page's lights of both, and what Prometheus is told."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import redis

from domain.keys import PARTITIONS, Keys
from features.log_archive import DECISIONS, EVENTS
from monitoring import metrics

FULL_AT = 0.8
"""Share of `maxmemory` beyond which the light is red: the rest is for what a busy hour needs until somebody comes."""
MB = 2**20


@dataclass(frozen=True, slots=True)
class RedisMemory:
    """What Redis says of its memory, and how long it took to say it."""

    answered_s: float
    used_bytes: int
    """Of a cluster, by the server with the least room."""
    limit_bytes: int
    """0 for none."""
    stream_bytes: Mapping[str, int]
    """Log -> memory that its streams take, estimated by Redis from a sample."""

    @classmethod
    def read(cls, client: "redis.Redis", keys: Keys) -> Self:
        """Raises redis.RedisError."""
        begun = time.perf_counter()
        used_bytes, limit_bytes = _fullest(client)
        answered_s = time.perf_counter() - begun
        streams = {DECISIONS: [keys.decisions], EVENTS: [keys.events(p) for p in range(PARTITIONS)]}
        with client.pipeline(transaction=False) as sizes:
            for names in streams.values():
                for name in names:
                    sizes.memory_usage(name)
            replies = iter(sizes.execute())
        of_log = {log: sum(int(next(replies) or 0) for _ in names) for log, names in streams.items()}
        return cls(answered_s, used_bytes, limit_bytes, of_log)

    @property
    def ok(self) -> bool:
        """There is room."""
        return not self.limit_bytes or self.used_bytes <= FULL_AT * self.limit_bytes

    @property
    def detail(self) -> str:
        """The light's text."""
        share = f"{self.used_bytes / self.limit_bytes:.0%} of {self.limit_bytes / MB:,.0f} MB" if self.limit_bytes else ""
        held = " and ".join(f"{size / MB:,.0f} MB of {log}" for log, size in self.stream_bytes.items())
        trouble = "" if self.ok else f", nothing with a budget is sold once it is full; it holds {held}"
        return f"answers in {self.answered_s * 1000:.1f} ms, {share or f'{self.used_bytes / MB:,.0f} MB'} used{trouble}"


def _fullest(client: "redis.Redis") -> tuple[int, int]:
    """Used and limit, in bytes."""
    if isinstance(client, redis.RedisCluster):
        told = list(client.info("memory", target_nodes=redis.RedisCluster.PRIMARIES).values())
    else:
        told = [client.info("memory")]
    sizes = [(int(one["used_memory"]), int(one.get("maxmemory", 0))) for one in told]
    return max(sizes, key=lambda size: size[0] / (size[1] or 1 << 62))


@dataclass(frozen=True, slots=True)
class ArchiveState:
    """What the archiver said last, and what waits for it; docs/redis.md, archiver."""

    lag_s: float
    """Age of the oldest entry that is in no file yet."""
    age_s: float | None
    """Since it last wrote everything that it had read; None where it never has."""
    interval_s: float
    rejected: int
    fault: str

    @classmethod
    def read(cls, client: "redis.Redis", keys: Keys, at_ms: int) -> Self:
        """Raises redis.RedisError."""
        said = {name.decode(): value.decode() for name, value in client.hgetall(keys.archiver).items()}
        streams = {DECISIONS: keys.decisions} | {f"{EVENTS}:{p}": keys.events(p) for p in range(PARTITIONS)}
        with client.pipeline(transaction=False) as waiting:
            for name, key in streams.items():
                waiting.xrange(key, min=f"({said.get(name, '0-0')}", count=1)
            oldest_ms = [int(entries[0][0].split(b"-")[0]) for entries in waiting.execute() if entries]
        return cls(
            lag_s=max(at_ms - min(oldest_ms, default=at_ms), 0) / 1000,
            age_s=max(at_ms - int(said["beat_ms"]), 0) / 1000 if "beat_ms" in said else None,
            interval_s=float(said.get("interval_s", 60)),
            rejected=int(said.get("rejected", 0)),
            fault=said.get("fault", ""),
        )

    @property
    def ok(self) -> bool | None:
        """It writes what comes, all of it, and in time; None where it may just have been started."""
        overdue_s = 3 * self.interval_s + 5
        if self.rejected or self.fault or self.lag_s > overdue_s + self.interval_s:
            return False
        return None if self.age_s is None else self.age_s <= overdue_s

    @property
    def detail(self) -> str:
        """The light's text."""
        wrote = "has not written yet" if self.age_s is None else f"wrote {self.age_s:.0f} s ago"
        trouble = [f"{self.rejected} entries rejected" if self.rejected else "", self.fault]
        return ", ".join(filter(None, [f"{self.lag_s:.0f} s behind", wrote, *trouble]))


def tell(memory: RedisMemory, archive: ArchiveState) -> None:
    """Sets the metrics."""
    metrics.REDIS_MEMORY_BYTES.set(memory.used_bytes)
    metrics.REDIS_MEMORY_LIMIT_BYTES.set(memory.limit_bytes)
    for log, size in memory.stream_bytes.items():
        metrics.STREAM_BYTES.labels(log).set(size)
    metrics.ARCHIVER_LAG_SECONDS.set(archive.lag_s)
    metrics.ARCHIVER_AGE_SECONDS.set(math.nan if archive.age_s is None else archive.age_s)
    metrics.ARCHIVER_REJECTED.set(archive.rejected)
