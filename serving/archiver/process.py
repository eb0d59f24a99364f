"""The archiver process: a loop around two streams that outlives Redis and stops when told to."""

import logging
import threading
import time
from collections.abc import Callable

import redis

from domain.clock import now_ms
from domain.keys import Keys
from features.log_archive import EVENTS
from features.market import load_market
from serving.archiver.files import sole_archiver
from serving.archiver.rows import log_formats
from serving.archiver.settings import ArchiverSettings
from serving.archiver.stream import StreamArchiver
from serving.signals import told_to_stop

log = logging.getLogger("offerrank.archiver")
READ_EVERY_S = 1.0  # often and little, so that a flush is no burst of parsing


def run(settings: ArchiverSettings) -> None:
    """Archives until SIGTERM or SIGINT, then writes what it can still read and returns.

    Raises:
      InvalidMarket: the market file is wrong.
      ContractError: the folder is taken by another archiver or another market.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    with told_to_stop() as stop:
        archive(settings, stop)


def archive(settings: ArchiverSettings, stop: threading.Event) -> None:
    """`run` without signals: archives until `stop` is set."""
    market = load_market(settings.market)
    keys = Keys(market.name)
    client = redis.Redis.from_url(settings.redis_url, socket_timeout=10, socket_connect_timeout=2)
    with sole_archiver(settings.log_dir, market.name), client:
        streams = [
            StreamArchiver(
                client, keys.events(0) if f.name == EVENTS else keys.decisions, f, settings.log_dir, settings.archive_batch_rows
            )
            for f in log_formats(market)
        ]
        log.info("archiving %s to %s, so far %s", market.name, settings.log_dir, _progress(streams))
        loop = _Loop(client, keys, streams, settings)
        while not stop.wait(min(READ_EVERY_S, settings.archive_interval_s)):
            loop.turn()
        loop.turn(last=True)
        log.info("stopped, archived %s", _progress(streams))


class _Loop:
    """What a turn of the loop remembers from the one before."""

    def __init__(self, client: "redis.Redis", keys: Keys, streams: list[StreamArchiver], settings: ArchiverSettings) -> None:
        self._client, self._keys, self._streams, self._settings = client, keys, streams, settings
        self._connected: bool | None = None
        self._flush_at = time.monotonic() + settings.archive_interval_s

    def turn(self, last: bool = False) -> None:
        """Reads; writes when it is time to. A fault of Redis or of the disk is logged, and met again next turn."""
        self._with_redis(self._read)
        if last or time.monotonic() >= self._flush_at or any(s.full for s in self._streams):
            self._flush_at = time.monotonic() + self._settings.archive_interval_s
            self._flush()
            self._with_redis(self._tidy)

    def _read(self) -> None:
        if not self._connected:
            for stream in self._streams:
                stream.check()
        for stream in self._streams:
            stream.read()

    def _flush(self) -> None:
        for stream in self._streams:
            before = stream.rejected
            try:
                for path in stream.flush():
                    log.info("wrote %s", path)
            except OSError as e:
                log.error("%s: %d entries wait, nothing is lost: %s", stream.log.name, stream.waiting, e)
            if stream.rejected > before:
                log.error("%s: rejected %d malformed entries, see rejected/", stream.log.name, stream.rejected - before)

    def _tidy(self) -> None:
        for stream in self._streams:
            stream.trim(int(self._settings.archive_retention_s * 1000))
        beat: dict[str, str | int | float] = {"beat_ms": now_ms(), "interval_s": self._settings.archive_interval_s}
        beat["rejected"] = sum(s.rejected for s in self._streams)
        self._client.hset(self._keys.archiver, mapping=beat | {s.log.name: str(s.archived) for s in self._streams})

    def _with_redis(self, step: Callable[[], None]) -> None:
        try:
            step()
        except redis.RedisError as e:
            if self._connected is not False:
                log.warning("Redis is away, will try again every second: %s", e)
            self._connected = False
        else:
            if self._connected is False:
                log.info("Redis is back")
            self._connected = True


def _progress(streams: list[StreamArchiver]) -> str:
    return ", ".join(f"{s.log.name} to {s.archived}" for s in streams)
