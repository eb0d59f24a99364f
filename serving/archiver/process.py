"""The archiver process: a loop around two logs that outlives Redis and stops when told to."""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

import redis

from catalogue.current_market import current_market
from domain.clock import now_ms
from domain.keys import PARTITIONS, Keys
from domain.signals import told_to_stop
from features.kept_market import keep
from features.log_archive import DECISIONS, EVENTS
from features.market import Market
from serving.archiver.files import sole_archiver
from serving.archiver.rows import log_formats
from serving.archiver.settings import ArchiverSettings
from serving.archiver.stream import LogArchiver
from serving.ledger.keeper import LedgerKeeper
from serving.repair.servers import run_ids
from store import connect, forget_connections, refuse_unsafe

log = logging.getLogger("offerrank.archiver")
READ_EVERY_S = 1.0  # often and little, so that a flush is no burst of parsing


def run(settings: ArchiverSettings) -> None:
    """Archives until SIGTERM or SIGINT, then writes what it can still read and returns.

    Raises:
      InvalidMarket: the market file is wrong.
      ContractError: the folder is taken by another archiver or another market, or entries are not safe in this Redis.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    with told_to_stop() as stop:
        archive(settings, stop)


def archive(settings: ArchiverSettings, stop: threading.Event) -> None:
    """`run` without signals: archives until `stop` is set."""
    with current_market(settings.market, settings.catalogue) as market:
        _archive(settings, market, stop)


def _archive(settings: ArchiverSettings, market: Market, stop: threading.Event) -> None:
    keys = Keys(market.name)
    refuse_unsafe(settings.redis_url)
    client = connect(settings.redis_url, 10, for_money=True)
    keeper = LedgerKeeper(client, market, settings.log_dir, settings.reconcile_interval_s)
    with client, sole_archiver(settings.log_dir, market.name), keeper:
        _keep_market(settings)
        streams = {EVENTS: [keys.events(p) for p in range(PARTITIONS)], DECISIONS: [keys.decisions]}
        logs = [
            LogArchiver(client, streams[f.name], f, settings.log_dir, settings.archive_batch_rows) for f in log_formats(market)
        ]
        log.info("archiving %s to %s, so far %s", market.name, settings.log_dir, _progress(logs))
        loop = _Loop(client, keys, logs, settings)
        loop.turn()
        while not stop.wait(min(READ_EVERY_S, settings.archive_interval_s)):
            loop.turn()
        loop.turn(last=True)
        log.info("stopped, archived %s", _progress(logs))


def _keep_market(settings: ArchiverSettings) -> None:
    try:
        keep(settings.market, settings.log_dir)
    except OSError as e:
        log.error("%s: no copy is kept beside the log, replays need it: %s", settings.market, e.strerror)


class _Loop:
    """What a turn of the loop remembers from the one before."""

    def __init__(self, client: "redis.Redis", keys: Keys, logs: list[LogArchiver], settings: ArchiverSettings) -> None:
        self._client, self._keys, self._logs, self._settings = client, keys, logs, settings
        self._connected: bool | None = None
        self._checked = False
        """Whether the streams have been looked at since Redis was reached."""
        self._flush_at = time.monotonic() + settings.archive_interval_s

    def turn(self, last: bool = False) -> None:
        """Reads; writes when it is time to. A fault of Redis or of the disk is logged, and met again next turn."""
        self._with_redis(self._meet)
        self._with_redis(self._read)
        if last or time.monotonic() >= self._flush_at or any(one.full for one in self._logs):
            self._flush_at = time.monotonic() + self._settings.archive_interval_s
            faults = self._flush()
            self._with_redis(partial(self._tidy, faults))

    def _meet(self) -> None:
        """Tells a server that nothing an earlier one may have lost is in memory only: who repairs it waits for that."""
        servers = ",".join(run_ids(self._client))
        if self._client.hget(self._keys.archiver, "servers") == servers.encode():
            return
        if any(one.lost() for one in self._logs):
            log.warning("Redis has lost entries that are in no file yet: they are written now")
            if self._flush():
                return
        self._client.hset(self._keys.archiver, "servers", servers)

    def _read(self) -> None:
        if not self._checked:
            for one in self._logs:
                one.check()
            self._checked = True
        for one in self._logs:
            one.read()

    def _flush(self) -> list[str]:
        """Writes what has been read; what went wrong."""
        faults = []
        for one in self._logs:
            before = one.rejected
            try:
                for path in one.flush():
                    log.info("wrote %s", path)
            except OSError as e:
                log.error("%s: %d entries wait, nothing is lost: %s", one.log.name, one.waiting, e)
                faults.append(f"{one.log.name}: {e}")
            if one.rejected > before:
                log.error("%s: rejected %d malformed entries, see rejected/", one.log.name, one.rejected - before)
        return faults

    def _tidy(self, faults: list[str]) -> None:
        """Trims, and says how far the archive is; only a flush that wrote everything counts as a beat."""
        for one in self._logs:
            one.trim(int(self._settings.archive_retention_s * 1000))
        said: dict[str, str | int | float] = {"interval_s": self._settings.archive_interval_s, "fault": "; ".join(faults)[:500]}
        if not faults:
            said["beat_ms"] = now_ms()
        said["rejected"] = sum(one.rejected for one in self._logs)
        for one in self._logs:
            said |= one.position
        self._client.hset(self._keys.archiver, mapping=said)

    def _with_redis(self, step: Callable[[], None]) -> None:
        try:
            step()
        except redis.RedisError as e:
            if self._connected is not False:
                log.warning("Redis is away, will try again every second: %s", e)
            self._connected = self._checked = False
            forget_connections(self._client)  # after a fail-over the next connection leads to the new master
        else:
            if self._connected is False:
                log.info("Redis is back")
            self._connected = True


def _progress(logs: list[LogArchiver]) -> str:
    """Log times up to which everything is archived."""
    return ", ".join(f"{one.log.name} to {one.archived.complete_ms}" for one in logs)
