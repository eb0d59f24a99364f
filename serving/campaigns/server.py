"""Runs the campaign API until SIGTERM or SIGINT."""

import logging
import signal
import sys
import threading

import uvicorn

from catalogue.database import Database
from domain.addresses import host_port
from domain.clock import now_ms
from domain.errors import DependencyError, OfferRankError
from domain.refusals import read_settings
from features.market import load_market
from serving.campaigns.app import create_app
from serving.campaigns.desk import Desk
from serving.campaigns.settings import CampaignSettings
from store.keyring import KeyFile

GRACE_S = 5

log = logging.getLogger(__name__)


def run(settings: CampaignSettings) -> None:
    """Serves until SIGTERM or SIGINT; then answers what is under way.

    Raises:
      InvalidMarket, InvalidKeys: market.toml or the keys file cannot be used.
      ContractError: the database has the catalogue of another market.
    """
    market = load_market(settings.market, listed=False)
    keys = KeyFile(settings.keys)
    database = Database(settings.catalogue)
    try:
        database.bring_up_to_date(market.name)
    except DependencyError as e:
        log.warning("the first write brings the catalogue's tables up to date, the database is away: %s", e)
    app = create_app(Desk(database, market, now_ms), keys)
    if threading.current_thread() is threading.main_thread():
        # uvicorn raises the signal that ended it once more, for whoever listened before: nobody should die of it here.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
    config = uvicorn.Config(
        app,
        settings.host,
        settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=settings.max_requests,
        timeout_graceful_shutdown=GRACE_S,
    )
    log.info("campaign API of market %s on http://%s", market.name, host_port(settings.host, settings.port))
    uvicorn.Server(config).run()


def main() -> None:
    """Entry point; exits with 2 on wrong settings, market or keys."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        run(read_settings(CampaignSettings))
    except OfferRankError as e:
        print(e, file=sys.stderr)
        raise SystemExit(2) from None
