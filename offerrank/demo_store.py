"""The demo's store: a product, a basket and a confirmation page with the web SDK on it, and the advertisers' shops beyond.

Two servers in one, as a person meets them: the store's, which writes pages, and that of the advertiser whose offer was
followed, which reports a purchase with the token that the click brought.
"""

import asyncio
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from jinja2 import Environment, PackageLoader
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

import sdk
from domain.errors import Unavailable
from domain.money import MICROS

STATIC = Path(sdk.__file__).parent / "store"
SERVED = frozenset((".css", ".js", ".svg"))
STORE_PORT = 8083
MAX_ITEMS = 20
MAX_ORDERS = 1000
ATTEMPTS = 5
CALL_TIMEOUT = aiohttp.ClientTimeout(total=10)
ADVERTISERS_PRICE_MICROS = 19_900_000
LANDING = re.compile(r'(?<=landing_url = ")https?://([\w-]+)\.example/([\w-]+)(?=")')
"""Hosts under .example, which lead nowhere."""
MEANING = {
    "settled": "The advertiser pays for it, from what was reserved when the offer was shown.",
    "logged": "It is counted, and learned from; this advertiser had paid for the click already, or the view.",
    "expired": "It came later after the click than this market's conversion window: counted, and free.",
    "pending": "It waits for its click, or for a budget with room.",
}


class StoreSettings(BaseSettings):
    """Read from `OFFERRANK_*`; docs/sdk.md describes each."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="OFFERRANK_", use_attribute_docstrings=True)

    gateway_url: str
    """Where decisions are asked for, by the shopper's browser and by the advertiser's server."""
    publisher_key: str
    """In the page."""
    server_key: str
    """The advertiser's server reports purchases with it."""
    store_placement: str
    """The market's placement on the confirmation page."""
    store_features: frozenset[str] = frozenset()
    """What the market asks of shoppers and purchases; the store says of these what it knows."""
    port: int = Field(default=STORE_PORT, ge=1, le=65_535)
    """On 127.0.0.1."""


@dataclass(frozen=True, slots=True)
class Product:
    """Something the store has."""

    id: str
    name: str
    about: str
    category: str
    price_micros: int

    @property
    def price(self) -> str:
        """As people read it."""
        return _price(self.price_micros)


PRODUCTS = {
    p.id: p
    for p in (
        Product("headphones", "Walnut headphones", "Forty hours a charge, pads you can replace.", "electronics", 129_000_000),
        Product("lamp", "Reading lamp", "Warm light, a switch that clicks.", "home", 49_000_000),
        Product("boots", "Resoleable boots", "Stitched, oiled, good for ten winters.", "fashion", 189_000_000),
        Product("mat", "Cork yoga mat", "Grips when it is wet.", "sports", 59_000_000),
        Product("serum", "Rosehip serum", "Pressed in March, used by May.", "beauty", 28_000_000),
        Product("train", "Wooden train", "Three carriages, no batteries.", "toys", 35_000_000),
    )
}


def _price(micros: int) -> str:
    return f"${micros / MICROS:.2f}"


def to_the_store(market: str, store_url: str) -> str:
    """A market file's text, whose offers of advertisers under .example lead to their pages in the store."""
    return LANDING.sub(rf"{store_url}/advertisers/\1/\2?token={{token}}", market)


class Store:
    """The routes. Orders are kept in memory, the last thousand."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._orders: OrderedDict[str, list[Product]] = OrderedDict()
        self._pages = Environment(loader=PackageLoader("sdk", "store"), autoescape=True)
        self._static = {p.name: p.read_bytes() for p in STATIC.iterdir() if p.suffix in SERVED}
        self._integrity = sdk.integrity(sdk.SCRIPT.read_bytes())
        gateway = settings.gateway_url
        self._headers = {
            # As strict as it gets: no inline script or style, nothing from elsewhere but the gateway.
            "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
            f"script-src 'self' {gateway}; connect-src {gateway}; frame-ancestors 'none'; base-uri 'none'; "
            "require-trusted-types-for 'script'",
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cache-control": "no-store",
        }

    def app(self) -> web.Application:
        """The application."""
        app = web.Application(client_max_size=64 * 1024)
        app.add_routes(
            [
                web.get("/", self._products),
                web.get("/basket", self._basket),
                web.post("/orders", self._order),
                web.get("/orders/{order}", self._confirmation),
                web.get("/advertisers/{brand}/{offer}", self._advertiser),
                web.post("/advertisers/{brand}/{offer}", self._sale),
                web.get("/static/{name}", self._file),
            ]
        )
        return app

    def _page(self, name: str, **shown: Any) -> web.Response:
        text = self._pages.get_template(name).render(**shown)
        return web.Response(text=text, content_type="text/html", headers=self._headers)

    async def _products(self, request: web.Request) -> web.Response:
        return self._page(
            "products.html", products=PRODUCTS.values(), items=[p.id for p in _items(request.query.getall("item", []))]
        )

    async def _basket(self, request: web.Request) -> web.Response:
        lines = _items(request.query.getall("item", []))
        query = "".join(f"{'&' if i else '?'}item={p.id}" for i, p in enumerate(lines))
        return self._page("basket.html", lines=lines, total=_price(_total(lines)), query=query)

    async def _order(self, request: web.Request) -> web.Response:
        _refuse_foreign(request)
        lines = _items([str(v) for v in (await request.post()).getall("item", [])])
        if not lines:
            raise web.HTTPSeeOther("/basket")
        order = f"OE-{secrets.randbelow(10**6):06d}"
        self._orders[order] = lines
        while len(self._orders) > MAX_ORDERS:
            self._orders.popitem(last=False)
        raise web.HTTPSeeOther(f"/orders/{order}")

    async def _confirmation(self, request: web.Request) -> web.Response:
        order = request.match_info["order"]
        if order not in self._orders:
            raise web.HTTPNotFound(text="no such order")
        lines, settings = self._orders[order], self._settings
        return self._page(
            "confirmation.html",
            order=order,
            lines=lines,
            total=_price(_total(lines)),
            placement=settings.store_placement,
            gateway=settings.gateway_url,
            integrity=self._integrity,
            key=settings.publisher_key,
            context=self._asked_for(
                basket_category=max(lines, key=lambda p: p.price_micros).category,
                amount=_total(lines) / MICROS,
                hour=datetime.now(UTC).hour,
            ),
            shopper={
                "attributes": self._asked_for(device="mobile" if "Mobi" in request.headers.get("user-agent", "") else "desktop")
            },
        )

    def _asked_for(self, **known: Any) -> dict[str, Any]:
        return {name: value for name, value in known.items() if name in self._settings.store_features}

    async def _advertiser(self, request: web.Request) -> web.Response:
        return self._page("advertiser.html", **_offer(request), token=request.query.get("token", ""))

    async def _sale(self, request: web.Request) -> web.Response:
        """What an advertiser's server does when one buys who came by an offer."""
        _refuse_foreign(request)
        order = f"A-{secrets.randbelow(10**6):06d}"
        token = str((await request.post()).get("token", ""))
        event = {"type": "conversion", "token": token, "order_id": order, "value_micros": ADVERTISERS_PRICE_MICROS}
        status, answer = await self._report(event)
        if answer.get("results"):
            result = answer["results"][0]
            outcome, charged = result["status"], result["charged_micros"]
            meaning = MEANING.get(outcome, "") + (f" Charged: {_price(charged)}" if charged else "")
        else:
            errors = [e["error"] for e in answer.get("errors", [])] or [answer.get("error", {"message": "no answer"})]
            outcome, meaning = f"refused ({status})", errors[0]["message"]
        return self._page("advertiser.html", **_offer(request), order=order, outcome=outcome, meaning=meaning)

    async def _report(self, event: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and answer. An event counts once, so one that got none is sent again."""
        headers = {"authorization": f"Bearer {self._settings.server_key}"}
        url = f"{self._settings.gateway_url}/v1/events"
        status = 0
        answer: dict[str, Any] = {}
        async with aiohttp.ClientSession(timeout=CALL_TIMEOUT, headers=headers) as session:
            for attempt in range(ATTEMPTS):
                try:
                    async with session.post(url, json={"events": [event]}) as response:
                        status, answer = response.status, await response.json()
                except (aiohttp.ClientError, TimeoutError, ValueError):
                    status = 503
                if status != 503:
                    break
                await asyncio.sleep(0.5 * 2**attempt)
        return status, answer

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self._static:
            raise web.HTTPNotFound(text="no such file")
        types = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
        return web.Response(body=self._static[name], content_type=types[Path(name).suffix], headers=self._headers)


def _items(ids: list[str]) -> list[Product]:
    return [PRODUCTS[i] for i in ids if i in PRODUCTS][:MAX_ITEMS]


def _total(lines: list[Product]) -> int:
    return sum(p.price_micros for p in lines)


def _offer(request: web.Request) -> dict[str, str]:
    brand, offer = (request.match_info[part].replace("-", " ").capitalize() for part in ("brand", "offer"))
    return {"brand": brand, "offer": offer, "here": request.path, "price": _price(ADVERTISERS_PRICE_MICROS)}


def _refuse_foreign(request: web.Request) -> None:
    """A form of another site's page is none of the shopper's doing."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise web.HTTPForbidden(text="this form is not the store's")


def run(settings: StoreSettings) -> None:
    """Serves until SIGTERM or SIGINT.

    Raises:
      Unavailable: the port is taken.
    """
    try:
        web.run_app(Store(settings).app(), host="127.0.0.1", port=settings.port, print=None, access_log=None)
    except OSError as e:
        raise Unavailable("network", f"cannot listen on 127.0.0.1, port {settings.port}: {e.strerror}") from None
