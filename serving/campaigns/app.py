"""The HTTP routes of the campaign API."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote

import orjson
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from catalogue.kinds import TABLES, Kind
from domain.campaign import Status
from domain.errors import DependencyError
from serving.campaigns import asking, lists
from serving.campaigns.access import Access
from serving.campaigns.bodies import MAX_BULK, read_json
from serving.campaigns.bulk import read_bulk
from serving.campaigns.desk import Desk, Make, patching
from serving.campaigns.openapi import describe, document
from serving.campaigns.shown import Json
from serving.gateway.api_page import api_page, asset
from serving.gateway.wire import HttpError, PlainRoute, answer
from store.keyring import KeyFile

RETRY_AFTER = {"retry-after": "2"}

log = logging.getLogger(__name__)


def create_app(desk: Desk, keys: KeyFile) -> FastAPI:
    """The application over one catalogue."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(keys.watch())
        yield
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        desk.database.close()

    no_pages: dict[str, Any] = {"openapi_url": None, "docs_url": None, "redoc_url": None}
    app = FastAPI(title="OfferRank campaigns", lifespan=lifespan, redirect_slashes=False, **no_pages)
    app.router.route_class = PlainRoute
    access = Access(lambda: keys.ring, desk.clock)
    for table, kind in TABLES.items():
        _entry_routes(app, desk, access, table, kind)
    _switch_routes(app, desk, access)
    _change_routes(app, desk, access)

    @app.get("/healthz", **describe("healthz"))
    async def healthz(_: Request) -> Response:
        return answer({"status": "ok"})

    @app.get("/readyz", **describe("readyz"))
    async def readyz(_: Request) -> Response:
        head = await run_in_threadpool(desk.repository.head)
        return answer({"ready": True, "market": desk.market.name, "catalogue": None if head is None else head.version})

    @app.get("/openapi.json", include_in_schema=False)
    async def described(_: Request) -> Response:
        return answer(document(app, desk.market))

    @app.get("/docs", include_in_schema=False)
    async def documented(_: Request) -> Response:
        return api_page()

    @app.get("/docs/{name}", include_in_schema=False)
    async def documented_by(name: str, _: Request) -> Response:
        found = asset(name)
        if found is None:
            raise HTTPException(404)
        return found

    app.add_exception_handler(HttpError, _on_http_error)
    app.add_exception_handler(HTTPException, _on_routing_error)
    app.add_exception_handler(DependencyError, _on_away)
    app.add_exception_handler(Exception, _on_bug)
    return app


def _entry_routes(app: FastAPI, desk: Desk, access: Access, table: str, kind: Kind) -> None:
    """What there is of each kind. An offer's id may have slashes in it."""
    path = f"/v1/{table}/{{entry_id:path}}" if kind == "offer" else f"/v1/{table}/{{entry_id}}"

    @app.get(f"/v1/{table}", **describe(f"list {table}"))
    async def listed(request: Request) -> Response:
        who = access.admit(request)
        return answer(await run_in_threadpool(lists.entries, desk, who, kind, request))

    @app.post(f"/v1/{table}", **describe(f"create {kind}"))
    async def create(request: Request) -> Response:
        who = access.admit(request)
        given = await read_json(request)
        asked = asking.asked(request, who, orjson.dumps(given))
        name = given.get("id") if isinstance(given, dict) else None
        entry_id = str(name) if asking.is_id(name, kind) else ""
        shown, _ = await run_in_threadpool(desk.put, asked, kind, entry_id, lambda _: given, 0, given)
        return _entry(shown, 201, {"location": f"/v1/{table}/{quote(entry_id, safe='')}"})

    if kind == "campaign":
        _campaign_routes(app, desk, access)

    @app.get(path, **describe(f"get {kind}"))
    async def one(entry_id: str, request: Request) -> Response:
        who, _ = access.admit(request), asking.check_id(entry_id, kind)
        asking.only(request, ("at_version",))
        return _entry(await run_in_threadpool(desk.one, who, kind, entry_id, asking.number(request, "at_version", 1)))

    async def write(entry_id: str, request: Request, make: Callable[[object], Make]) -> Response:
        who, _ = access.admit(request), asking.check_id(entry_id, kind)
        asking.only(request, ("why",))
        version, given = asking.seen_version(request), await read_json(request)
        asked = asking.asked(request, who, orjson.dumps(given))
        shown, new = await run_in_threadpool(desk.put, asked, kind, entry_id, make(given), version, given)
        return _entry(shown, 201 if new else 200)

    @app.put(path, **describe(f"put {kind}"))
    async def put(entry_id: str, request: Request) -> Response:
        return await write(entry_id, request, lambda given: lambda _: given)

    @app.patch(path, **describe(f"patch {kind}"))
    async def patch(entry_id: str, request: Request) -> Response:
        return await write(entry_id, request, patching)

    @app.delete(path, **describe(f"delete {kind}"))
    async def delete(entry_id: str, request: Request) -> Response:
        who, _ = access.admit(request), asking.check_id(entry_id, kind)
        asking.only(request, ("why", "whole"))
        whole, version = asking.text(request, "whole") in ("1", "true"), asking.seen_version(request)
        made = await run_in_threadpool(desk.remove, asking.asked(request, who), kind, entry_id, version, whole)
        return answer({"version": made.version, "entries": made.entries})


def _campaign_routes(app: FastAPI, desk: Desk, access: Access) -> None:
    for verb, status in (("pause", Status.PAUSED), ("resume", Status.LIVE)):

        def switching(status: Status) -> Callable[[str, Request], Awaitable[Response]]:
            async def switch(entry_id: str, request: Request) -> Response:
                who, _ = access.admit(request), asking.check_id(entry_id, "campaign")
                asking.only(request, ("why",))
                return _entry(await run_in_threadpool(desk.switch, asking.asked(request, who), entry_id, status))

            return switch

        app.post(f"/v1/campaigns/{{entry_id}}/{verb}", **describe(f"{verb} campaign"))(switching(status))

    @app.get("/v1/campaigns/{entry_id}/changes", **describe("changes of campaign"))
    async def changes(entry_id: str, request: Request) -> Response:
        who, _ = access.admit(request), asking.check_id(entry_id, "campaign")
        return answer(await run_in_threadpool(lists.changes, desk, who, request, ("campaign", entry_id)))


def _switch_routes(app: FastAPI, desk: Desk, access: Access) -> None:
    """The same for all campaigns of an advertiser, or of the market."""

    async def pause(request: Request, advertiser: str | None) -> Response:
        who = access.admit(request)
        asking.only(request, ("why",))
        made = await run_in_threadpool(desk.pause_all, asking.asked(request, who), advertiser)
        return answer({"version": made.version, "entries": made.entries})

    async def resume(request: Request, advertiser: str | None) -> Response:
        who = access.admit(request)
        asking.only(request, ("why", "version"))
        version = asking.number(request, "version", 1)
        if version is None:
            raise HttpError(422, "version", "expected the version that paused them: others may be paused for other reasons")
        made = await run_in_threadpool(desk.resume_all, asking.asked(request, who), advertiser, version)
        return answer({"version": made.version, "entries": made.entries})

    @app.post("/v1/advertisers/{entry_id}/pause", **describe("pause advertiser"))
    async def pause_advertiser(entry_id: str, request: Request) -> Response:
        return await pause(request, asking.check_id(entry_id, "advertiser"))

    @app.post("/v1/advertisers/{entry_id}/resume", **describe("resume advertiser"))
    async def resume_advertiser(entry_id: str, request: Request) -> Response:
        return await resume(request, asking.check_id(entry_id, "advertiser"))

    @app.post("/v1/pause", **describe("pause market"))
    async def pause_market(request: Request) -> Response:
        return await pause(request, None)

    @app.post("/v1/resume", **describe("resume market"))
    async def resume_market(request: Request) -> Response:
        return await resume(request, None)


def _change_routes(app: FastAPI, desk: Desk, access: Access) -> None:
    @app.post("/v1/bulk", **describe("bulk"))
    async def bulk(request: Request) -> Response:
        who = access.admit(request)
        asking.only(request, ("why",))
        given = await read_json(request, MAX_BULK)
        asked = asking.asked(request, who, orjson.dumps(given))
        made = await run_in_threadpool(lambda: desk.bulk(asked, read_bulk(given)))
        return answer({"version": made.version, "entries": made.entries})

    @app.post("/v1/import", **describe("import"))
    async def take_over(request: Request) -> Response:
        who = access.admit(request)
        asking.only(request, ("why",))
        made = await run_in_threadpool(desk.take_over, asking.asked(request, who))
        return answer({"version": made.version, "entries": made.entries})

    @app.get("/v1/changes", **describe("changes"))
    async def changes(request: Request) -> Response:
        return answer(await run_in_threadpool(lists.changes, desk, access.admit(request), request, None))

    @app.get("/v1/changes/{version}", **describe("change"))
    async def change(version: str, request: Request) -> Response:
        who = access.admit(request)
        asking.only(request, ())
        known = int(version) if version.isdecimal() and len(version) < 18 else 0
        return answer(await run_in_threadpool(lists.change, desk, who, known))

    @app.get("/v1/me", **describe("me"))
    async def me(request: Request) -> Response:
        who = access.admit(request)
        of = {"name": who.name, "role": who.role, "advertisers": None if who.owners is None else sorted(who.owners)}
        return answer(of | {"market": desk.market.name, "currency": desk.market.currency})


def _entry(shown: Json, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return answer(shown, status, {"etag": f'"{shown["version"]}"', "cache-control": "no-store", **(headers or {})})


async def _on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HttpError)
    return error.response()


async def _on_routing_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    got = f"{request.method} {request.url.path}"
    return HttpError(error.status_code, "url", error.detail, got, dict(error.headers or {})).response()


async def _on_away(_: Request, error: Exception) -> Response:
    assert isinstance(error, DependencyError)
    log.warning("a request is answered with 503: %s", error)
    return HttpError(503, "catalogue", "the database is away, try again; what is sold goes on", None, RETRY_AFTER).response()


async def _on_bug(request: Request, error: Exception) -> Response:
    log.error("unforeseen error in %s %s", request.method, request.url.path, exc_info=error)
    return HttpError(500, "server", "our mistake; it was logged").response()
