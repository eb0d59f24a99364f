"""The process around the watch: it ends when told to, and says that it is alive."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from catalogue.current_market import current_market
from domain.clock import now_ms
from domain.errors import Unavailable
from domain.keys import Keys
from domain.refusals import read_settings
from domain.signals import told_to_stop
from features.market import Market
from monitoring.incidents import Keeper, Objectives, incidents_path
from monitoring.incidents.alerts import AlertSettings
from monitoring.watch.database import set_aside, sole_writer
from monitoring.watch.settings import WatchSettings
from monitoring.watch.surroundings import Surroundings
from monitoring.watch.watch import Seen, Watch
from store import connect
from store.sqlite import FileDamaged

log = logging.getLogger("offerrank.watch")


def run(settings: WatchSettings) -> None:
    """Watches until SIGTERM or SIGINT.

    Raises:
      InvalidMarket: the market file is wrong.
      ContractError: another process watches this archive.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    with told_to_stop() as stop:
        watch_until(settings, stop)


def watch_until(settings: WatchSettings, stop: threading.Event) -> None:
    """`run` without signals: watches until `stop` is set."""
    with current_market(settings.market, settings.catalogue) as market:
        _watch_until(settings, market, stop)


def _watch_until(settings: WatchSettings, market: Market, stop: threading.Event) -> None:
    client = connect(settings.redis_url, 1, 1)
    beat = _Beat(client, settings, Keys(market.name))
    with (
        sole_writer(settings.log_dir),
        _incidents(settings, market) as incidents,
        Watch(market, settings.log_dir, stop, incidents, settings.releases) as watch,
    ):
        log.info("watching %s in %s", market.name, settings.log_dir)
        surroundings = Surroundings(client, market, settings.log_dir, incidents, settings.releases)
        fault = ""
        while not stop.is_set():
            more, before = False, fault
            try:
                more = watch.turn()
                surroundings.turn(watch.opened.store, now_ms())
                seen = watch.seen()
                fault = _ahead(seen, now_ms())
            except FileDamaged:
                raise  # of the incidents: set aside at the next start
            except (Unavailable, OSError) as e:
                fault, seen = str(e), None
            if fault and fault != before:
                log.error("nothing is lost, but: %s", fault)
            elif before and not fault:
                log.info("goes on")
            beat(seen, fault)
            if not more:
                stop.wait(settings.watch_interval_s)
        log.info("stopped")


@contextmanager
def _incidents(settings: WatchSettings, market: Market) -> Iterator[Keeper]:
    hour_ms = market.policy.day_length_s * 1000 // 24
    alerts, objectives = read_settings(AlertSettings), read_settings(Objectives)
    path = incidents_path(settings.log_dir)
    response = market.monitoring.response
    of_market = (settings.log_dir, market.name, market.currency, hour_ms, alerts, objectives)
    try:
        keeper = Keeper(*of_market, settings.gateway_url, response, settings.releases)
    except FileDamaged as e:
        log.error("%s: moved to %s; incidents begin anew", e, set_aside(path))
        keeper = Keeper(*of_market, settings.gateway_url, response, settings.releases)
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.stop()


def _ahead(seen: Seen, at_ms: int) -> str:
    """What is wrong with the log's clock; "" for nothing. Streams never go back, so that all that follows is at its end."""
    hours = (seen.complete_ms - at_ms) / 3_600_000
    if hours < 1:
        return ""
    return f"the log's clock, which is Redis', is {hours:.0f} h ahead of this machine's: hours cannot be told apart until then"


class _Beat:
    """Says in Redis how far the watch is; goes without where Redis is away."""

    def __init__(self, client: redis.Redis, settings: WatchSettings, keys: Keys) -> None:
        self._client = client
        self._key, self._interval_s = keys.watch, settings.watch_interval_s

    def __call__(self, seen: Seen | None, fault: str) -> None:
        said: dict[str, str | int | float] = {"interval_s": self._interval_s, "fault": fault[:500]}
        if seen is not None:
            said |= {"beat_ms": now_ms(), "complete_ms": seen.complete_ms, "hour_ms": seen.hour_ms, "skipped": seen.skipped}
        try:
            self._client.hset(self._key, mapping=said)
        except redis.RedisError as e:
            log.debug("could not say so: %s", e)
