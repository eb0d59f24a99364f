"""Archives the streams of a market from within a test, when it says so."""

from pathlib import Path

import redis

from domain.keys import PARTITIONS, Keys
from features.log_archive import EVENTS
from features.market import Market
from serving.archiver.rows import log_formats
from serving.archiver.stream import LogArchiver


class EventArchiver:
    """The archiver's way from the event streams to files, without its process."""

    def __init__(self, url: str, market: Market, log_dir: Path) -> None:
        self.client = redis.Redis.from_url(url)
        keys = Keys(market.name)
        (events,) = (f for f in log_formats(market) if f.name == EVENTS)
        self.log = LogArchiver(self.client, [keys.events(p) for p in range(PARTITIONS)], events, log_dir, 20_000)

    def archive(self, retention_ms: int = 0) -> None:
        """Everything there is; and trims what is older."""
        self.log.read()
        self.log.flush()
        self.log.trim(retention_ms)

    def close(self) -> None:
        self.client.close()
