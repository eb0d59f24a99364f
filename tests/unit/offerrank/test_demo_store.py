"""The demo's store: what becomes of a market's landing pages, what a page holds, what is refused."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import tomli
from aiohttp.test_utils import TestClient, TestServer

from features.market import parse_market
from offerrank.demo_store import Store, StoreSettings, to_the_store

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
SETTINGS = StoreSettings(
    gateway_url="http://127.0.0.1:1",
    publisher_key="publisher",
    server_key="server",
    store_placement="main",
    store_features=frozenset(("amount", "device")),
)


def visit(what: Callable[["TestClient"], Awaitable[None]]) -> None:
    async def visiting() -> None:
        async with TestClient(TestServer(Store(SETTINGS).app())) as client:
            await what(client)

    asyncio.run(visiting())


def test_pages_that_lead_nowhere_lead_to_the_store_and_others_where_they_did():
    text = (EXAMPLES / "confirmation" / "market.toml").read_text(encoding="utf-8")
    real = 'landing_url = "https://northbank.example/cashback-card"'
    assert real in text
    changed = to_the_store(text.replace(real, 'landing_url = "https://bank.com/card.example/x"'), "http://127.0.0.1:9")
    was, now = (parse_market(tomli.loads(t)).offers for t in (text, changed))
    led = {o.id: o.landing_url for o in now}
    assert led.pop("northbank-cashback-card") == "https://bank.com/card.example/x"
    assert led["streamly-basic-month"] == "http://127.0.0.1:9/advertisers/streamly/basic-month?token={token}"
    assert all(url.startswith("http://127.0.0.1:9/advertisers/") for url in led.values())
    assert [o.model_copy(update={"landing_url": ""}) for o in was] == [o.model_copy(update={"landing_url": ""}) for o in now]


def test_a_purchase_leads_to_a_page_that_asks_with_what_the_market_wants_to_know():
    async def shop(client: "TestClient") -> None:
        form = {"item": ["boots", "nonsense", "mat"]}
        answer = await client.post("/orders", data=[("item", i) for i in form["item"]])
        page = await answer.text()
        assert (answer.status, answer.url.parts[1]) == (200, "orders")
        assert """data-context='{"amount": 248.0}'""" in page
        assert """data-shopper='{"attributes": {"device": "desktop"}}'""" in page
        assert "server" not in page.replace("server of", "")
        assert (await client.get("/orders/none")).status == 404

    visit(shop)


def test_hostile_addresses_and_forms_of_other_sites_come_to_nothing():
    evil = '"><script>alert(1)</script>'

    async def attack(client: "TestClient") -> None:
        page = await (await client.get("/advertisers/x/y", params={"token": evil})).text()
        assert "<script>" not in page
        for path in ("/advertisers/x/y", "/orders"):
            foreign = await client.post(path, data={"token": "t"}, headers={"sec-fetch-site": "cross-site"})
            assert foreign.status == 403
        for path in ("/static/base.html", "/static/..%2Foffers.js", "/static/none"):
            assert (await client.get(path)).status == 404
        assert "default-src 'none'" in (await client.get("/")).headers["content-security-policy"]

    visit(attack)
