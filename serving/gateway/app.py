"""The HTTP routes."""

import html
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson
from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from domain.campaign import FeatureValue
from domain.errors import DependencyError
from domain.events import EventStatus, EventType
from domain.luck import Luck
from domain.request import NOTHING_BLOCKED, Blocked, DecisionRequest, Placement
from features.market import Market
from serving.gateway.access import address
from serving.gateway.answer import to_answer
from serving.gateway.api_page import api_page, asset
from serving.gateway.cors import PageOrigins
from serving.gateway.counting import CountResponses, count_decision
from serving.gateway.decide import decide
from serving.gateway.events import TOKEN_STATUS, accept_batch, is_over, open_token, page_event, read_batch
from serving.gateway.openapi import describe, document
from serving.gateway.ports import Made, PageEvent
from serving.gateway.record import to_decision
from serving.gateway.reporter import Reporter
from serving.gateway.schema import decision_body
from serving.gateway.script import script_answer
from serving.gateway.service import EVENT_TIMEOUT_S, Service
from serving.gateway.tokens import Sold, TokenError
from serving.gateway.traffic import Client
from serving.gateway.wire import HttpError, PlainRoute, answer, read_json, validate
from store.key_records import Role
from store.keyring import Key

CLICK_TIMEOUT_S = 0.1
NO_STORE = {"cache-control": "no-store"}
PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c000000000100010000020144003b")

log = logging.getLogger(__name__)

OpenService = Callable[[], AbstractAsyncContextManager[Service]]


def create_app(market: Market, open_service: OpenService) -> FastAPI:
    """The application over a market file; its service is opened when the application starts and closed when it ends."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_service() as service:
            app.state.service = service
            yield

    app = FastAPI(
        title="OfferRank", lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None, telemetry={"exclude": _untraced}
    )
    app.router.route_class = PlainRoute
    body_model: Any = decision_body(market)

    @app.post("/v1/decisions", **describe("decisions"))
    async def decisions(request: Request) -> Response:
        service: Service = app.state.service
        key = service.access.admit(request, "decisions")
        wanted = validate(body_model, await read_json(request))
        _permit(wanted, key, service)
        asked = to_request(wanted, key, service.screen.of_client(_browser(wanted, key, request)), service)
        pricing = bool(wanted.include_pricing)
        if wanted.id is None:
            made = await _decide(asked, pricing, service)
            made.log()
            return _json(made.answer)
        given_key = asked.shopper_key if wanted.shopper and wanted.shopper.key else ""
        # A page that a browser has fetched ahead is the same page once it is looked at.
        same = replace(asked, shopper_key=given_key, patience=1.0, invalid="")
        written = orjson.dumps((same, pricing), option=orjson.OPT_SORT_KEYS)
        return _json(await service.answers.once(wanted.id, written, lambda: _decide(asked, pricing, service)))

    @app.get("/v1/decisions/{decision_id}/explain", **describe("explain"))
    async def explained(decision_id: str, request: Request) -> Response:
        service: Service = app.state.service
        service.access.admit_operator(request)
        if service.explainer is None:
            raise HttpError(404, "id", "past decisions are explained by a gateway with OFFERRANK_LOG_DIR", decision_id)
        return _json(await service.explainer.explained(decision_id))

    @app.post("/v1/events", **describe("events"))
    async def events(request: Request) -> Response:
        service: Service = app.state.service
        key = service.access.admit(request, "events")
        now_ms = service.clock()
        reporter = Reporter(_client(request), service.screen, key)
        batch = read_batch(await read_json(request), service.tokens, service.view.market, reporter, now_ms)
        try:
            status, content = await accept_batch(batch, service.ledger, now_ms, EVENT_TIMEOUT_S)
        except DependencyError as e:
            raise HttpError(503, "body", "try again: events cannot be stored now", e.dependency, {"retry-after": "1"}) from None
        became = {result["index"]: result["status"] for result in content["results"]}
        for i, event in zip(batch.index, batch.events, strict=True):
            _count_shown(event, became[i], service)
        return answer(content, status)

    @app.get("/v1/i/{token}", **describe("impression"))
    async def impression(token: str, request: Request) -> Response:
        service: Service = app.state.service
        try:
            sold = open_token(service.tokens, token, EventType.IMPRESSION, market, service.clock())
        except TokenError as e:
            raise HttpError.of(e, TOKEN_STATUS[e.kind]) from None
        await _accept_or_keep(service, EventType.IMPRESSION, sold, request)
        return Response(PIXEL, 200, NO_STORE, "image/gif")

    @app.get("/v1/c/{token}", **describe("click"))
    async def click(token: str, request: Request) -> Response:
        service: Service = app.state.service
        try:
            sold = open_token(service.tokens, token, EventType.CLICK, market, service.clock())
        except TokenError as e:
            return _dead_end(TOKEN_STATUS[e.kind], "This link is not valid." if e.kind == "unknown" else "This offer has ended.")
        offer = service.view.offer(sold.offer_id)
        if offer is None:
            return _dead_end(410, "This offer has ended.")
        await _accept_or_keep(service, EventType.CLICK, sold, request)
        # To an address of the catalogue only, never to one from the request.
        return RedirectResponse(offer.landing_url.replace("{token}", token), 302, NO_STORE)

    @app.get("/sdk/offerrank.js", **describe("sdk"))
    async def script(request: Request) -> Response:
        return script_answer(request)

    @app.get("/healthz", **describe("healthz"))
    async def healthz(_: Request) -> Response:
        return answer({"status": "ok"})

    @app.get("/readyz", **describe("readyz"))
    async def readyz(_: Request) -> Response:
        service: Service = app.state.service
        up = await service.dependencies()
        active = service.ports.releases.active().version
        content = {
            "ready": up["redis"],
            "market": market.name,
            "release": str(active or "cold-start"),
            "catalogue": service.views.standing(),
            "dependencies": up,
        }
        return answer(content, 200 if up["redis"] else 503)

    @app.get("/metrics", **describe("metrics"))
    async def exported(request: Request) -> Response:
        app.state.service.access.admit_operator(request)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/openapi.json", include_in_schema=False)
    async def described(request: Request) -> Response:
        app.state.service.access.admit_operator(request)
        return answer(app.openapi())

    @app.get("/docs", include_in_schema=False)
    async def documented(request: Request) -> Response:
        app.state.service.access.admit_operator(request)
        return api_page()

    @app.get("/docs/{name}", include_in_schema=False)
    async def documented_by(name: str, request: Request) -> Response:
        app.state.service.access.admit_operator(request)
        found = asset(name)
        if found is None:
            raise HTTPException(404)
        return found

    app.add_middleware(PageOrigins, allows_origin=lambda origin: app.state.service.access.allows_origin(origin))
    app.add_middleware(CountResponses)
    app.openapi = lambda: document(app, body_model)  # type: ignore[method-assign]
    app.add_exception_handler(HttpError, _on_http_error)
    app.add_exception_handler(HTTPException, _on_routing_error)
    app.add_exception_handler(Exception, _on_bug)
    return app


async def _decide(request: DecisionRequest, pricing: bool, service: Service) -> Made:
    view = service.view  # which may be another once this is decided
    decided = await decide(request, view, service.ports, Luck.draw(service.rng), service.clock())
    if service.trace is not None:
        service.trace(decided)
    decision = to_decision(decided, view, service.rng)
    content = to_answer(decided, decision, view, service.tokens, service.public_url, pricing=pricing)

    def log() -> None:
        count_decision(decided)
        if request.reserves:
            service.patience.asked(request.asked_by, len(decision.slots), time.monotonic())
        if not request.test:
            service.log_decision(decision)

    return Made(orjson.dumps(content), log)


def _untraced(scope: Any) -> bool:
    """Paths of the others hold tokens, which are worth money and belong in no trace, or are asked for every few seconds."""
    return scope.get("path") not in ("/v1/decisions", "/v1/events")


def _permit(wanted: Any, key: Key, service: Service) -> None:
    """What could be read, tried out or forged with a key that is in a page needs another.

    Floors among them: whoever may set them finds out, page by page, what each bidder would pay, and makes it pay that.
    """
    if key.role is Role.OPERATOR:
        return
    require = service.access.require
    if wanted.explain:
        require(key, Role.OPERATOR, "explain", "`explain`")
    if wanted.include_pricing:
        require(key, Role.SERVER, "include_pricing", "`include_pricing`")
    if wanted.test:
        require(key, Role.SERVER, "test", "`test`")
    if wanted.ip or wanted.user_agent is not None:
        require(key, Role.SERVER, "ip" if wanted.ip else "user_agent", "what a browser shows by itself")
    for i, placement in enumerate(wanted.placements):
        if placement.floor_ecpm_micros:
            require(key, Role.SERVER, f"placements[{i}].floor_ecpm_micros", "a floor")


def _client(request: Request) -> Client:
    return Client.of(address(request), request.scope["headers"])


def _browser(wanted: Any, key: Key, request: Request) -> Client:
    """Who will see the page: whoever asks, or whom a server asks for, as far as it says."""
    return Client(wanted.ip or "", wanted.user_agent) if key.role.includes(Role.SERVER) else _client(request)


def to_request(wanted: Any, key: Key, invalid: str, service: Service) -> DecisionRequest:
    """A validated body as the request path takes it."""
    usual = {p.name: p.count for p in service.view.market.placements}
    shopper = wanted.shopper
    attributes = shopper.attributes if shopper else None
    return DecisionRequest(
        decision_id=wanted.id or service.new_id(),
        shopper_key=(shopper and shopper.key) or service.new_id(),
        features=service.view.request_defaults | _given(attributes) | _given(wanted.context),
        placements=tuple(Placement(p.name, p.count or usual[p.name], p.floor_ecpm_micros or 0) for p in wanted.placements),
        test=bool(wanted.test),
        explain=bool(wanted.explain),
        asked_by=key.name,
        patience=service.patience.of(key.name, time.monotonic()),
        invalid=invalid,
        time_share=service.view.market.policy.deadlines_ms.share_within(wanted.tmax_ms),
        blocked=_blocked(wanted.blocked) if wanted.blocked else NOTHING_BLOCKED,
        knows_shopper=bool(shopper and shopper.key),
    )


def _blocked(given: Any) -> Blocked:
    return Blocked(given.advertisers or (), given.categories or (), given.offers or ())


def _given(attributes: dict[str, FeatureValue] | None) -> dict[str, FeatureValue]:
    return {name: value for name, value in attributes.items() if value is not None} if attributes else {}


async def _accept_or_keep(service: Service, event: EventType, sold: Sold, request: Request) -> None:
    """A shopper waits for no Redis: an event that cannot be stored now is stored later."""
    if sold.test or is_over(event, sold, service.view.market, service.clock()):
        return
    now_ms = service.clock()
    reported = Reporter(_client(request), service.screen).screened(page_event(event, sold, now_ms), now_ms)
    try:
        (settled,) = await service.ledger.accept([reported], now_ms, CLICK_TIMEOUT_S)
    except DependencyError:
        service.accept_later(reported)
        _count_shown(reported, EventStatus.PENDING, service)
    else:
        _count_shown(reported, settled.status, service)


def _count_shown(event: PageEvent, status: str, service: Service) -> None:
    if event.type is EventType.IMPRESSION and status not in (EventStatus.DUPLICATE, EventStatus.INVALID):
        service.patience.shown(event.sold.asked_by, time.monotonic())


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")


def _dead_end(status: int, text: str) -> Response:
    page = f"<!doctype html><meta charset=utf-8><title>{status}</title><p>{html.escape(text)}"
    return HTMLResponse(page, status, NO_STORE)


async def _on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HttpError)
    return error.response()


async def _on_routing_error(request: Request, error: Exception) -> Response:
    """404 and 405 in the shape of all other errors."""
    assert isinstance(error, HTTPException)
    return HttpError(
        error.status_code, "url", error.detail, f"{request.method} {request.url.path}", dict(error.headers or {})
    ).response()


async def _on_bug(request: Request, error: Exception) -> Response:
    log.error("unforeseen error in %s %s", request.method, request.url.path, exc_info=error)
    return HttpError(500, "server", "our mistake; it was logged").response()
