"""The web SDK in a real browser: a shopper of the demo's store and a real gateway; then pages where everything is against it."""

import asyncio
import json
import re
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis
from aiohttp import web
from chromium import Chromium
from gateway_process import REPOSITORY, GatewayProcess
from open_market import open_market
from stub_gateway import StubGateway, offer

from domain.keys import PARTITIONS, Keys
from features.market import load_market
from offerrank.demo_store import Store, StoreSettings, to_the_store
from serving.embedded_redis import EmbeddedRedis
from store.key_records import Role
from store.ports import free_port

pytestmark = pytest.mark.browser
SHOPPERS_BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
"""Headless Chromium says that it is one, and is taken for the robot that it is."""
LOAD = "<script src=/sdk/offerrank.js></script>"
OFFERS = "<div id=offers></div>"
STRICT = "default-src 'none'; script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'"
Browse = Callable[[Callable[[Chromium], Awaitable[None]]], None]


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def browse(loop: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browse]:
    """Runs what a test does with the one browser of all tests, which begins each on an empty page."""
    browser = Chromium(tmp_path_factory.mktemp("chromium"), f"--user-agent={SHOPPERS_BROWSER}")

    def run(visit: Callable[[Chromium], Awaitable[None]]) -> None:
        async def visiting() -> None:
            await browser.open("about:blank")
            browser.complaints.clear()
            await browser.look(1280, 900)
            await visit(browser)

        loop.run(visiting())

    loop.run(browser.__aenter__())
    try:
        yield run
    finally:
        loop.run(browser.__aexit__())


@pytest.fixture
def stub() -> Iterator[StubGateway]:
    with StubGateway().serving() as serving:
        yield serving


@pytest.fixture(scope="module")
def store(loop: asyncio.Runner, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the demo's store, beside a gateway whose advertisers pay by the click."""
    folder, port = tmp_path_factory.mktemp("store"), free_port()
    url = f"http://127.0.0.1:{port}"
    text = (REPOSITORY / "examples" / "confirmation" / "market.toml").read_text(encoding="utf-8").replace('"cpa"', '"cpc"')
    # Days and windows of people, not of simulated shoppers.
    text, changed = re.subn(r"(?m)^(hold_ttl_s|day_length_s|click_window_s|conversion_window_s) = .*$", "", text)
    assert changed == 4
    (folder / "market.toml").write_text(to_the_store(text, url), encoding="utf-8")
    market = load_market(folder / "market.toml")
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    open_market(redis_server.url, market)
    gateway = GatewayProcess(folder / "market.toml", redis_server.url, folder / "gateway.log")
    settings = StoreSettings(
        gateway_url=gateway.url,
        publisher_key=gateway.keys[Role.PUBLISHER],
        server_key=gateway.keys[Role.SERVER],
        store_placement="main",
        store_features=frozenset(f.name for f in market.request_features),
    )
    runner = web.AppRunner(Store(settings).app())

    async def serve() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()

    try:
        gateway.start()
        loop.run(serve())
        yield url
    finally:
        loop.run(runner.cleanup())
        if gateway.child is not None:
            gateway.end(signal.SIGKILL)


def mounted(stub: StubGateway, **options: Any) -> str:
    """JavaScript that mounts the one placement, and keeps what the page is told in `said`."""
    given = {
        "key": "k",
        "gateway": stub.url,
        "timeout": 20_000,
        "placements": [{"name": "main", "into": "#offers", "count": 2}],
    } | options
    return (
        f"window.said = []; window.shown = OfferRank.mount({{...{json.dumps(given)}, onEvent: (e) => said.push(e)}}); shown.done"
    )


def said(kind: str) -> str:
    return f"said.filter((e) => e.type === {kind!r}).length"


def test_a_shopper_buys_sees_offers_clicks_and_converts_and_the_spend_shows_it(
    store: str, redis_server: EmbeddedRedis, browse: Browse
) -> None:
    async def shop(browser: Chromium) -> None:
        await browser.open(store)
        await browser.click(".products button")
        await browser.until("location.pathname === '/basket' && document.readyState === 'complete'")
        await browser.click("#buy")
        await browser.until("document.querySelectorAll('#offers li').length === 3")
        # Under a policy that allows no inline script or style, with an integrity that is checked, and nothing has moved.
        shifts = (
            "new Promise((done) => { setTimeout(done, 300, []); new PerformanceObserver((list) => done(list.getEntries().map("
            "(e) => e.value))).observe({type: 'layout-shift', buffered: true}) })"
        )
        assert await browser.run(shifts) == []
        await browser.run("document.querySelector('#offers').scrollIntoView()")
        await browser.until("document.querySelector('#events').innerText.match(/an impression/g)?.length === 3")
        await browser.click("#offers li a")
        await browser.until("location.pathname.startsWith('/advertisers/') && document.readyState === 'complete'")
        await browser.click("#buy")
        await browser.until("document.querySelector('#outcome') !== null")
        assert await browser.run("document.querySelector('#outcome').textContent") == "logged"
        assert browser.complaints == []

    browse(shop)
    keys = Keys("confirmation")
    with redis.Redis.from_url(redis_server.url, decode_responses=True) as client:
        # Who leaves a page gives back what was not clicked. A click may overtake the beacon of its impression: it is pending
        # until that has come, which is one entry more, its charge.
        wanted, deadline = {"impression": 3, "click": 1, "conversion": 1, "dismiss": 2}, time.monotonic() + 30
        events: list[dict[str, str]] = []
        while Counter(e["type"] for e in events if e["type"] != "charge") != wanted:
            assert time.monotonic() < deadline, events
            events = [fields for p in range(PARTITIONS) for _, fields in client.xrange(keys.events(p))]
        assert {e["status"] for e in events} <= {"logged", "settled", "released", "pending"}
        assert sum(e["status"] == "pending" for e in events) == sum(e["type"] == "charge" for e in events)
        budgets = {keys.budget(e["campaign_id"], int(e["day"])) for e in events}
        spent = sum(int(client.hget(budget, "spent") or 0) for budget in budgets)
        assert spent == sum(int(e["charged_micros"]) for e in events) > 0
        assert [client.hget(budget, "held") or "0" for budget in budgets] == ["0"] * 3


def test_mounted_twice_is_asked_once_and_a_route_that_is_left_gives_back(stub: StubGateway, browse: Browse) -> None:
    async def visit(browser: Chromium) -> None:
        await browser.open(stub.page("spa", LOAD + OFFERS))
        assert await browser.run(mounted(stub)) == 2
        assert await browser.run(f"{{ const first = shown; {mounted(stub)}.then(() => shown === first) }}")
        assert len(stub.asked) == 1
        # Another purchase in the same place; then the framework takes the place away without a word, and makes it anew.
        await browser.run(mounted(stub, context={"amount": 2}))
        stub.until_told("dismiss", ["t0.1", "t1.1"])
        await browser.run("document.querySelector('#offers').remove(); document.body.innerHTML = '<div id=offers></div>'")
        await browser.run(mounted(stub, context={"amount": 3}))
        stub.until_told("dismiss", ["t0.1", "t1.1", "t0.2", "t1.2"])
        assert await browser.run("document.querySelectorAll('#offers li').length") == 2
        await browser.run("shown.unmount(); shown.unmount()")
        assert (
            await browser.run("document.querySelector('#offers').outerHTML.replace(' style=\"\"', '')")
            == '<div id="offers"></div>'
        )
        # Unmounted while the answer is under way: what it reserves goes back, and nothing is drawn.
        stub.open.clear()
        await browser.run(f"{mounted(stub, context={'amount': 4})}; 0")
        stub.until_asked(4)
        await browser.run("shown.unmount()")
        stub.open.set()
        stub.until_told("dismiss", [f"t{i}.{number}" for i in range(2) for number in range(1, 5)])
        assert await browser.run("document.querySelector('#offers').childElementCount") == 0
        assert len({body["id"] for body in stub.asked}) == 4
        # The page leaves as soon as it is told of the first of two placements.
        await browser.run("document.body.append(Object.assign(document.createElement('div'), {id: 'more'}))")
        both = json.dumps([{"name": "main", "into": "#offers"}, {"name": "side", "into": "#more"}])
        leaves = f"{{key: 'k', gateway: location.origin, placements: {both}, onEvent: () => both.unmount()}}"
        await browser.run(f"window.both = OfferRank.mount({leaves}); both.done")
        stub.until_told("dismiss", [f"t{i}.{number}" for i in range(2) for number in range(1, 6)])
        assert await browser.run("document.querySelectorAll('#offers *, #more *').length") == 0
        assert browser.complaints == []

    browse(visit)


def test_an_impression_is_half_in_view_for_a_second_and_counts_once(stub: StubGateway, browse: Browse) -> None:
    async def visit(browser: Chromium) -> None:
        below = "<style>#offers { margin-top: 3000px }</style>"
        await browser.open(stub.page("long", LOAD + below + OFFERS))
        await browser.run(mounted(stub))
        await browser.run("new Promise((done) => setTimeout(done, 1200))")
        assert await browser.run(said("impression")) == 0
        await browser.run(
            "window.at = []; document.addEventListener('offerrank', (e) => at.push([e.detail.type, performance.now()]));"
            "window.scrolled = performance.now(); document.querySelector('#offers').scrollIntoView(); 0"
        )
        stub.until_told("impression", ["t0.1", "t1.1"])
        assert await browser.run("Math.min(...at.map((a) => a[1])) - scrolled") >= 1000
        await browser.run("scrollTo(0, 0); new Promise((done) => setTimeout(done, 100))")
        await browser.run("document.querySelector('#offers').scrollIntoView(); new Promise((done) => setTimeout(done, 1200))")
        stub.until_told("impression", ["t0.1", "t1.1"])
        # Who clicks before a second has passed has seen it all the same.
        stub.offers = [offer(2)]
        await browser.run(mounted(stub, target="_self", context={"amount": 2}))
        await browser.click("#offers a")
        await browser.until("document.title === 'advertiser'")
        stub.until_told("impression", ["t0.1", "t1.1", "t2.2"])
        assert stub.events("dismiss") == ["t0.1", "t1.1"]  # not what was clicked

    browse(visit)


def test_hostile_text_is_text_and_a_script_address_leads_nowhere(stub: StubGateway, browse: Browse) -> None:
    evil = "</span><img src=x onerror=document.title='evil'><script>document.title='evil'</script>"
    stub.offers = [
        offer(0, title=evil, body=evil, advertiser=evil),
        *(offer(i, click_url=url) for i, url in enumerate(("javascript:document.title='evil'", "data:text/html,evil", None), 1)),
        offer(4, title=["not", {"text": 1}], body=None, click_url="//" + stub.url.partition("//")[2] + "/v1/c/t4"),
    ]

    async def visit(browser: Chromium) -> None:
        own = "<template id=own><b data-offer=title></b><i data-offer=advertiser></i><a data-offer=link>go</a></template>"
        await browser.open(stub.page("hostile", LOAD + own + OFFERS))
        for template in ({}, {"template": "#own"}):
            assert await browser.run(mounted(stub, **template)) == 3
            links = await browser.run("[...document.querySelectorAll('#offers a')].map((a) => [a.href, a.target, a.rel])")
            kept = [f"{stub.url}/v1/c/t0", f"{stub.url}/null", f"{stub.url}/v1/c/t4"]
            assert links == [[url, "_blank", "sponsored noopener nofollow"] for url in kept]
            assert evil in await browser.run("document.querySelector('#offers').innerText")
            assert await browser.run("document.querySelectorAll('#offers :is(img, script)').length") == 0
            assert await browser.run(said("error")) == 2
            await browser.run("shown.unmount()")
        assert await browser.run("document.title") == "hostile"
        assert browser.complaints == []

    browse(visit)


def test_a_template_shows_the_picture_of_an_offer_that_has_one_and_keeps_its_room(stub: StubGateway, browse: Browse) -> None:
    picture = {"url": "data:image/gif;base64,R0lGODlhAQABAAAAACw=", "alt": 'A "red" shoe', "width": 120, "height": 90}
    stub.offers = [offer(0, image=picture), offer(1)]

    async def visit(browser: Chromium) -> None:
        own = "<template id=own><img data-offer=image><a data-offer=link><b data-offer=title></b></a></template>"
        await browser.open(stub.page("pictures", LOAD + own + OFFERS))
        assert await browser.run(mounted(stub, template="#own")) == 2
        images = "[...document.querySelectorAll('#offers li')].map((li) => [...li.querySelectorAll('img')].map("
        shown = await browser.run(images + "(i) => [i.src, i.alt, i.width, i.height]))")
        assert shown == [[[picture["url"], 'A "red" shoe', 120, 90]], []]
        assert await browser.run("shown.unmount()") is None

    browse(visit)


def test_a_gateway_that_is_away_slow_or_wrong_leaves_the_page_whole(stub: StubGateway, browse: Browse) -> None:
    async def nothing_comes(browser: Chromium, **options: Any) -> None:
        script = f"(() => {{ {mounted(stub, **{'timeout': 1000} | options)}; return shown.done }})()"
        assert await browser.run(script) == 0
        assert await browser.run("document.querySelector('#offers').getBoundingClientRect().height") == 0
        assert await browser.run(said("empty")) == 1
        await browser.run("shown.unmount()")

    async def visit(browser: Chromium) -> None:
        await browser.open(stub.page("away", LOAD + OFFERS + "<main>the shop</main>"))
        await nothing_comes(browser, gateway=f"http://127.0.0.1:{free_port()}", timeout=300)
        stub.open.clear()
        await nothing_comes(browser, timeout=300)
        stub.open.set()
        stub.until_told("dismiss", ["t0.1", "t1.1"])  # the answer came too late
        for wrong in ("not JSON", "{}", '{"placements": [null]}', "[]", 422, 500):
            stub.decision = wrong
            await nothing_comes(browser)
        stub.decision, stub.offers = 200, []
        await nothing_comes(browser)
        for options in (
            {"placements": None},
            {"placements": [{"name": "main", "into": "#nowhere"}]},
            {"key": ""},
            {"gateway": "::"},
        ):
            assert await browser.run(mounted(stub, timeout=300, **options)) == 0
        assert await browser.run("OfferRank.mount() && OfferRank.mount(7) && OfferRank.push(() => { throw 1 }) === undefined")
        # A page with something of its own to show shows that.
        await browser.run("document.querySelector('#offers').innerHTML = '<p>our newsletter</p>'")
        assert await browser.run(mounted(stub)) == 0
        assert "our newsletter" in await browser.text()
        assert [c for c in browser.complaints if not c.startswith("Failed to load resource")] == []

    browse(visit)


def test_a_busy_gateway_is_asked_again_and_offline_waits(stub: StubGateway, browse: Browse) -> None:
    async def visit(browser: Chromium) -> None:
        stub.busy = {"decisions": 1, "events": 2}
        await browser.open(stub.page("busy", LOAD + OFFERS))
        assert await browser.run(mounted(stub)) == 2
        stub.until_told("impression", ["t0.1", "t1.1"])
        assert len({body["id"] for body in stub.asked}) == 1  # the same page, asked for again
        offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        await browser.call("Network.enable")
        await browser.call("Network.emulateNetworkConditions", offline=True, **offline)
        await browser.run("document.querySelector('[data-offer=dismiss]').click()")
        assert await browser.run("navigator.onLine") is False
        assert await browser.run(mounted(stub, context={"amount": 2}, timeout=300)) == 0
        assert stub.events("dismiss") == []
        await browser.call("Network.emulateNetworkConditions", offline=False, **offline)
        stub.until_told("dismiss", ["t0.1", "t1.1"])

    browse(visit)


def test_without_storage_or_consent_nothing_is_kept_or_said_of_the_shopper(stub: StubGateway, browse: Browse) -> None:
    async def visit(browser: Chromium) -> None:
        who = {"shopper": {"key": "s-1", "attributes": {"country": "DE"}}}
        await browser.open(stub.page("consent", LOAD + OFFERS))
        asked = []
        for amount, options in enumerate(
            (
                who | {"consent": False},
                who,
                {},
                {"consent": True},
                {"consent": True},
                who | {"consent": "true"},
                {"consent": True},
            )
        ):
            await browser.run(mounted(stub, context={"amount": amount}, **options))
            asked.append(stub.asked[-1].get("shopper", {}))
        # Only with consent is the key that was made kept, and only as long as there is consent.
        assert asked == [{}, who["shopper"], {}, {}, {"key": "made"}, {}, {}]
        # What another script has left there is no key that the gateway would take.
        await browser.run("localStorage.setItem('offerrank.shopper', ' '.repeat(300))")
        assert await browser.run(mounted(stub, context={"amount": 9}, consent=True)) == 2
        assert stub.asked[-1].get("shopper", {}) == {}
        for block in (
            "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('denied', 'SecurityError') }})",
            "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {value: true})",
        ):
            script = await browser.call("Page.addScriptToEvaluateOnNewDocument", source=block)
            await browser.open(stub.page("blocked", LOAD + OFFERS))
            assert await browser.run(mounted(stub, consent=True, **who)) == 2
            asked.append(stub.asked[-1].get("shopper", {}))
            await browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script["identifier"])
        assert asked[-2:] == [who["shopper"], {}]
        assert browser.complaints == []

    browse(visit)


def test_a_browser_that_keeps_no_request_alive_sends_a_beacon_when_the_page_is_left(stub: StubGateway, browse: Browse) -> None:
    async def visit(browser: Chromium) -> None:
        await browser.open(stub.page("old", "<script>delete Request.prototype.keepalive</script>" + LOAD + OFFERS))
        assert await browser.run(mounted(stub)) == 2
        await browser.open("about:blank")
        stub.until_told("dismiss", ["t0.1", "t1.1"])

    browse(visit)


def test_a_page_that_is_rendered_ahead_asks_once_somebody_looks_at_it(stub: StubGateway, browse: Browse) -> None:
    async def visit(browser: Chromium) -> None:
        await browser.open(stub.page("ahead", LOAD + OFFERS))
        await browser.run("Object.defineProperty(document, 'prerendering', {value: true})")
        await browser.run(f"{mounted(stub)}; new Promise((done) => setTimeout(done, 50))")
        assert stub.asked == []
        await browser.run("document.dispatchEvent(new Event('prerenderingchange'))")
        assert await browser.run("shown.done") == 2

    browse(visit)


def test_the_page_draws_offers_itself_and_its_mistakes_stay_its_own(stub: StubGateway, browse: Browse) -> None:
    async def visit(browser: Chromium) -> None:
        await browser.open(
            stub.page("own", "<script>OfferRank = [(sdk) => { window.early = sdk.version }]</script>" + LOAD + OFFERS)
        )
        assert await browser.run("early") == "1.0"
        drawn = (
            "{key: 'k', gateway: location.origin, placements: [{name: 'main', into: '#offers'}],"
            "onEvent: () => Promise.reject(1),"
            "render: (offer, attach) => {"
            "  if (offer.offer_id === 'o0') throw new Error('a mistake');"
            "  const card = document.querySelector('#offers').appendChild(document.createElement('article'));"
            "  card.append(offer.title); attach(card) }}"
        )
        assert await browser.run(f"window.shown = OfferRank.mount({drawn}); shown.done") == 1
        stub.until_told("dismiss", ["t0.1"])  # could not be drawn
        stub.until_told("impression", ["t1.1"])
        await browser.run("shown.unmount()")
        assert await browser.run("document.querySelector('#offers').innerText") == "Offer 1"  # the page's own to take away
        stub.until_told("dismiss", ["t0.1", "t1.1"])
        assert browser.complaints == []

    browse(visit)


def test_it_can_be_used_by_ear_and_keyboard_and_from_right_to_left(stub: StubGateway, browse: Browse) -> None:
    async def visit(browser: Chromium) -> None:
        tag = """<script async src=/sdk/offerrank.js data-key=k data-label=Anzeige data-context='{"amount": 1.5}'></script>"""
        body = f"<div dir=rtl id=offers data-offerrank=main data-count=2 data-dismiss-label='Ausblenden'></div>{tag}"
        await browser.open(stub.page("ear", body, STRICT))
        await browser.until("document.querySelectorAll('#offers li').length === 2")
        assert stub.asked[-1]["context"] == {"amount": 1.5}
        assert stub.asked[-1]["placements"] == [{"name": "main", "count": 2}]
        tree = (await browser.call("Accessibility.getFullAXTree"))["nodes"]
        heard = [(n["role"]["value"], n["name"]["value"]) for n in tree if not n["ignored"] and n.get("name", {}).get("value")]
        assert {("region", "Anzeige"), ("button", "Ausblenden: Offer 0")} <= set(heard)
        assert ("link", "Offer 0 Ten percent off.") in {(role, " ".join(name.split())) for role, name in heard}
        left, right = await browser.run(
            "['dismiss', 'link'].map((n) => document.querySelector(`[data-offer=${n}]`).getBoundingClientRect().left)"
        )
        assert left < right
        await browser.run("document.querySelector('[data-offer=dismiss]').focus()")
        for _ in range(2):
            for kind in ("keyDown", "keyUp"):
                await browser.call(
                    "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
                )
            if await browser.run("document.querySelectorAll('#offers li').length"):
                assert await browser.run("document.activeElement.ariaLabel") == "Ausblenden: Offer 1"
        assert await browser.run("document.querySelector('#offers').checkVisibility()") is False
        stub.until_told("dismiss", ["t0.1", "t1.1"])
        assert browser.complaints == []

    browse(visit)
