"""The page's web application and process: no state but what it has counted, and who has logged in."""

import logging
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import orjson
import uvicorn
from fastapi import FastAPI, Response
from fastapi.middleware.gzip import GZipMiddleware
from prometheus_client import CONTENT_TYPE_LATEST

from catalogue.current_market import current_market
from domain.clock import now_ms
from domain.keys import Keys
from features.market import Market
from monitoring.dashboard.access import Access, Looking
from monitoring.dashboard.answers import json_answer
from monitoring.dashboard.archive import Archive
from monitoring.dashboard.archive_routes import archive_routes
from monitoring.dashboard.board import Board
from monitoring.dashboard.campaign_routes import campaign_routes
from monitoring.dashboard.fault_routes import fault_routes
from monitoring.dashboard.feature_routes import feature_routes
from monitoring.dashboard.incident_light import tell_incidents
from monitoring.dashboard.incident_routes import IncidentFile, incident_routes
from monitoring.dashboard.ledger_light import exposition
from monitoring.dashboard.lineage import Lineage
from monitoring.dashboard.page_routes import answer_errors, page_routes, plotly_bundle
from monitoring.dashboard.pipeline_routes import pipeline_routes
from monitoring.dashboard.prediction_routes import prediction_routes
from monitoring.dashboard.reasons import MEANING
from monitoring.dashboard.release_routes import release_routes
from monitoring.dashboard.settings import DashboardSettings
from monitoring.dashboard.state import StateReader
from monitoring.dashboard.statistics import Statistics
from monitoring.dashboard.summary import summarise
from monitoring.dashboard.tail import Tail
from monitoring.dashboard.today_routes import today_routes
from store import connect


def run(settings: DashboardSettings) -> None:
    """Serves the page until SIGTERM or SIGINT.

    Raises:
      InvalidMarket: the market file is wrong.
      Unavailable: the plotly package lacks its browser bundle.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    app = create_app(settings)
    if threading.current_thread() is threading.main_thread():
        # uvicorn raises the signal that ended it once more, for whoever listened before: nobody should die of it here.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
    config = uvicorn.Config(app, settings.host, settings.port, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    uvicorn.Server(config).run()


def create_app(settings: DashboardSettings) -> FastAPI:
    """The application; its two reading threads live as long as it is served."""
    # Open as long as the application is, and its thread no longer than that.
    following = ExitStack()
    campaign_of: dict[str, str] = {}

    def know(sold: Market) -> None:
        campaign_of.update((offer.id, offer.campaign) for offer in sold.offers)

    market = following.enter_context(current_market(settings.market, settings.catalogue, know))
    know(market)
    board, lock = Board(settings.page_bucket_s, settings.page_window_s, campaign_of), threading.Lock()
    client = connect(settings.redis_url, 5)
    tail = Tail(client, Keys(market.name), board, lock, settings.page_window_s)
    reader = StateReader(client, market, settings.gateway_url)
    incidents = IncidentFile(settings.log_dir, market.policy.day_length_s * 1000 // 24)
    statistics = Statistics(settings.log_dir, market.policy.day_length_s)
    archive, lineage = Archive(settings.log_dir), Lineage(settings.releases, settings.log_dir)
    plotly_bundle()

    @asynccontextmanager
    async def reading(_: FastAPI) -> AsyncIterator[None]:
        tail.start()
        reader.start()
        yield
        reader.stop()
        tail.stop()
        client.close()
        following.close()

    app = FastAPI(title="OfferRank page", lifespan=reading, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.access = Access(settings)
    app.add_middleware(GZipMiddleware, minimum_size=2000, compresslevel=3)
    answer_errors(app)
    app.include_router(page_routes())
    app.include_router(incident_routes(incidents, statistics))
    app.include_router(feature_routes(statistics))
    app.include_router(prediction_routes(statistics))
    app.include_router(today_routes(statistics))
    app.include_router(archive_routes(market, archive, board, lock, lineage))
    app.include_router(campaign_routes(market, statistics, board, lock, reader))
    app.include_router(release_routes(settings.releases, board, lock, reader))
    app.include_router(pipeline_routes(settings.releases))
    app.include_router(fault_routes(settings.faults))

    @app.get("/api/summary")
    def summary(_: Looking) -> Response:
        with lock:
            figures = summarise(market, board, reader.state, now_ms())
        return json_answer(figures | {"caught_up": tail.caught_up, "redis": tail.connected})

    @app.get("/api/decisions")
    def decisions(who: Looking) -> Response:
        """The last decisions, newest first, exactly as they were logged, but for what is not for everybody's eyes."""
        with lock:
            raw = list(board.recent)
        if not who.sees_shoppers:
            raw = [orjson.dumps(orjson.loads(one) | {"shopper_key": "hidden"}) for one in raw]
        return json_answer(b"[" + b",".join(raw) + b"]")

    @app.get("/api/market")
    def described(_: Looking) -> Response:
        return json_answer(_described(market))

    @app.get("/metrics")
    def exported() -> Response:
        tell_incidents(incidents, now_ms())
        return Response(exposition(reader.state.ledger if reader.state else None), media_type=CONTENT_TYPE_LATEST)

    @app.get("/healthz")
    def healthz() -> Response:
        return json_answer({"status": "ok"})

    return app


def _described(market: Market) -> dict[str, object]:
    """What does not change while the page is open."""
    return {
        "name": market.name,
        "currency": market.currency,
        "tasks": [task.name for task in market.served_tasks],
        "titles": {offer.id: offer.title for offer in market.offers},
        "campaigns": {offer.id: offer.campaign for offer in market.offers},
        "reasons": {str(int(reason)): {"name": reason.name, "meaning": text} for reason, text in MEANING.items()},
    }
