"""Runs the gateway until SIGTERM or SIGINT."""

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import uvicorn
import uvloop

from domain.addresses import host_port
from domain.errors import OfferRankError, Unavailable
from domain.refusals import read_settings
from features.kept_market import name_of
from features.market import load_market
from serving.gateway.admission import Gate, Limits
from serving.gateway.app import create_app
from serving.gateway.cors import PageOrigins
from serving.gateway.market_view import MarketView
from serving.gateway.protocol import BUSY, Leaving, LimitedProtocol
from serving.gateway.service import open_service
from serving.gateway.settings import GatewaySettings
from store import refuse_unsafe
from store.key_records import read_keys

GRACE_S = 5
GARBAGE = 20_000
"""Objects made and kept before the collector looks at them."""
SPARE_FILES = 256
"""Kept for Redis, the model server, releases and logs."""

if TYPE_CHECKING:
    from catalogue.follower import Follower

log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """Ends on a signal without passing it on, so that the process exits with 0 after its last answer."""

    def __init__(self, config: uvicorn.Config, gate: Gate) -> None:
        super().__init__(config)
        self._gate = gate

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        self._gate.tick()
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        handled = (signal.SIGTERM, signal.SIGINT)
        before = {s: signal.signal(s, self.handle_exit) for s in handled}
        try:
            yield
        finally:
            for s, handler in before.items():
                signal.signal(s, handler)


def run(settings: GatewaySettings) -> None:
    """Serves until SIGTERM or SIGINT; then answers what is under way and writes what waits.

    Raises:
      InvalidMarket, InvalidKeys: market.toml or the keys file cannot be used.
      ContractError: money is not safe in this Redis.
      Unavailable: a port cannot be listened on.
    """
    if settings.keys:
        read_keys(settings.keys)
    view, follower = _catalogue(settings)
    refuse_unsafe(settings.redis_url)
    app = create_app(view.market, lambda: open_service(settings, view, follower))
    gate = Gate(_limits(settings))
    busy = PageOrigins(BUSY, lambda origin: app.state.service.access.allows_origin(origin))
    config = uvicorn.Config(
        Leaving(app, gate),
        host=settings.host,
        port=settings.port,
        http=partial(LimitedProtocol, gate, busy),  # type: ignore[arg-type]
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        forwarded_allow_ips=settings.trusted_proxies,
    )
    sockets = [_bound(settings.host, settings.port)]
    if settings.operator_port:
        sockets.append(_bound(settings.operator_host, settings.operator_port))
    # What exists now lives as long as the process: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    # A decision makes hundreds of objects and leaves next to none in cycles; by default they are looked through at every 700.
    gc.set_threshold(GARBAGE, 10, 10)
    log.info("gateway of market %s on http://%s", view.market.name, host_port(settings.host, settings.port))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Server(config, gate).serve(sockets))


def _catalogue(settings: GatewaySettings) -> "tuple[MarketView, Follower | None]":
    if settings.catalogue is None:
        return MarketView.of(load_market(settings.market), file=name_of(settings.market)), None
    from catalogue.checks import check_offers
    from catalogue.follower import Follower

    follower = Follower(settings.catalogue, load_market(settings.market, listed=False), settings.catalogue_snapshot)
    stock = follower.start()
    try:
        return MarketView.of(stock.market, stock.version, name_of(settings.market)), follower
    except ValueError:
        check_offers(stock.market, stock.market.offers)  # says which does not fit, and takes too long where all do
        raise


def _limits(settings: GatewaySettings) -> Limits:
    """As set, with no more connections than this process may have files."""
    files, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_connections + SPARE_FILES
    if most_files != resource.RLIM_INFINITY:
        wanted = min(wanted, most_files)
    if files != resource.RLIM_INFINITY and files < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most_files))
    return Limits(
        connections=max(wanted - SPARE_FILES, 1),
        head_bytes=settings.max_header_bytes,
        body_bytes=settings.max_waiting_body_bytes,
        request_s=settings.request_timeout_s,
        decisions=settings.max_decisions,
        events=settings.max_events,
    )


def _bound(host: str, port: int) -> socket.socket:
    """A socket with an address; uvicorn listens on it once the application has started."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as e:
        raise Unavailable("network", f"cannot listen on {host}, port {port}: {e.strerror}") from None
    return bound


def main() -> None:
    """Entry point; exits with 2 on wrong settings, a wrong market or keys file, or a port that is taken."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        run(read_settings(GatewaySettings))
    except OfferRankError as e:
        print(e, file=sys.stderr)
        raise SystemExit(2) from None
