"""The page's web application and process: read-only, no state but what it has counted."""

import gzip
import importlib.util
import logging
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST

from domain.clock import now_ms
from domain.errors import Unavailable
from domain.keys import Keys
from features.market import Market, load_market
from monitoring.dashboard.board import Board
from monitoring.dashboard.ledger_light import exposition
from monitoring.dashboard.reasons import MEANING
from monitoring.dashboard.settings import DashboardSettings
from monitoring.dashboard.state import StateReader
from monitoring.dashboard.summary import summarise
from monitoring.dashboard.tail import Tail
from store import connect

STATIC = Path(__file__).parent / "static"
# Nothing is loaded from elsewhere. Plotly writes style elements, and draws its icons from data: addresses.
CONTENT_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; frame-ancestors 'none'"


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
    market = load_market(settings.market)
    board, lock = Board(settings.page_bucket_s, settings.page_window_s), threading.Lock()
    client = connect(settings.redis_url, 5)
    tail = Tail(client, Keys(market.name), board, lock, settings.page_window_s)
    reader = StateReader(client, market, settings.gateway_url)
    plotly_bundle()

    @asynccontextmanager
    async def reading(_: FastAPI) -> AsyncIterator[None]:
        tail.start()
        reader.start()
        yield
        reader.stop()
        tail.stop()
        client.close()

    app = FastAPI(title="OfferRank page", lifespan=reading, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(GZipMiddleware, minimum_size=2000, compresslevel=3)

    @app.get("/")
    def page() -> Response:
        headers = {"Content-Security-Policy": CONTENT_POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
        return Response((STATIC / "index.html").read_bytes(), media_type="text/html", headers=headers)

    @app.get("/plotly.js")
    def plotly(request: Request) -> Response:
        headers = {"Cache-Control": "public, max-age=86400", "Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(plotly_bundle(), media_type="text/javascript", headers=headers | {"Content-Encoding": "gzip"})
        return Response(gzip.decompress(plotly_bundle()), media_type="text/javascript", headers=headers)

    @app.get("/api/summary")
    def summary() -> Response:
        with lock:
            figures = summarise(market, board, reader.state, now_ms())
        return _json(orjson.dumps(figures | {"caught_up": tail.caught_up, "redis": tail.connected}))

    @app.get("/api/decisions")
    def decisions() -> Response:
        """The last decisions, newest first, exactly as they were logged."""
        with lock:
            raw = list(board.recent)
        return _json(b"[" + b",".join(raw) + b"]")

    @app.get("/api/market")
    def described() -> Response:
        return _json(orjson.dumps(_described(market)))

    @app.get("/metrics")
    def exported() -> Response:
        return Response(exposition(reader.state.ledger if reader.state else None), media_type=CONTENT_TYPE_LATEST)

    @app.get("/healthz")
    def healthz() -> Response:
        return _json(b'{"status":"ok"}')

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


@cache
def plotly_bundle() -> bytes:
    """plotly.js from the installed package, gzipped; the package itself, which is slow to import, is not.

    Raises:
      Unavailable: it is not where it should be.
    """
    spec = importlib.util.find_spec("plotly")
    bundle = Path(spec.origin).parent / "package_data" / "plotly.min.js" if spec and spec.origin else None
    if bundle is None or not bundle.exists():
        raise Unavailable("plotly", f"no plotly.min.js in the installed package ({bundle})")
    return gzip.compress(bundle.read_bytes(), compresslevel=6)


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


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})
