"""The page's Campaigns, Releases and Decisions in a real browser: empty, normal, alarming; by keyboard, on a desk and a phone."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
from chromium import Chromium
from known_market import EVIL, know
from known_releases import FULL, MORE, WHY, know_releases
from log_entries import decision, decision_fields, slot
from page_process import PageProcess
from watched_archive import BEGIN_MS, WatchedArchive

from domain.clock import budget_day, now_ms
from domain.events import EventType
from domain.keys import Keys

pytestmark = pytest.mark.browser
Look = Callable[[Chromium, PageProcess], Awaitable[None]]
LOOKS = ((1400, False, False), (390, True, True))


def looking(redis_url: str, tmp_path: Path, look: Look, **settings: object) -> None:
    async def all_of_it() -> None:
        async with Chromium(tmp_path / "chromium") as browser:
            await browser.look(1400, 900)
            await look(browser, page)
            assert browser.complaints == []

    (tmp_path / "log").mkdir(exist_ok=True)
    with PageProcess(redis_url, tmp_path, log_dir=tmp_path / "log", **settings) as page:
        asyncio.run(all_of_it())


async def fits(browser: Chromium, page: PageProcess, path: str, ready: str, picture: Path) -> None:
    """Looks at a view on a desk and, in the dark, on a phone; every control has a name."""
    for width, dark, phone in LOOKS:
        await browser.look(width, 900, dark=dark, phone=phone)
        await browser.open(page.url + path)
        await browser.until(ready)
        await asyncio.sleep(0.3)
        await browser.screenshot(picture.with_name(f"{picture.name}-{width}.png"))
        assert await browser.run("document.documentElement.scrollWidth") == width, path
        nameless = (
            "[...document.querySelectorAll('input, select, button, a')].filter((e) => e.offsetParent !== null"
            " && !(e.innerText || e.labels?.length || e.getAttribute('aria-label'))).map((e) => e.outerHTML)"
        )
        assert await browser.run(nameless) == [], path
        assert await browser.run("document.querySelectorAll('nav a[aria-current=page]').length") == 1, path
    await browser.look(1400, 900)


def spend(redis_url: str) -> None:
    """Tea delivers, wine has spent more than it may, and both have decided."""
    at, keys = now_ms(), Keys("corner")
    day = budget_day(at, 86_400)
    with redis.Redis.from_url(redis_url) as client:
        client.hset(keys.budget("tea", day), mapping={"spent": 41_000_000, "held": 3_500_000})
        client.hset(keys.budget("wine", day), mapping={"spent": 50_250_000, "held": 0})
        client.hset(keys.pacing, mapping={"tea": 0.62, "wine": 1.0})
        for i in range(20):
            made = decision(f"d{i}", at - 1000 * i, slot(f"d{i}-0"), slot(f"d{i}-1", "red", 1))
            client.xadd(keys.decisions, decision_fields(made))  # type: ignore[arg-type]


def test_campaigns_are_found_sorted_and_opened(redis_url: str, tmp_path: Path) -> None:
    async def look(browser: Chromium, page: PageProcess) -> None:
        await browser.open(f"{page.url}/campaigns")
        await browser.until("document.querySelectorAll('#campaigns tbody tr').length === 3")
        first = "document.querySelector('#campaigns tbody tr').innerText"
        assert (await browser.run(first)).startswith("wine")  # it has spent most
        assert "overspent" in await browser.run(first)
        await browser.until("document.querySelector('#campaigns .tag.bad')?.innerText === 'calibration'")
        await browser.run("document.getElementById('by-campaign').focus()")
        await browser.call("Input.dispatchKeyEvent", type="char", text="\r")
        await browser.until("location.search === '?sort=campaign&rising=true'")
        await browser.until(f"{first}.startsWith('own')")
        assert await browser.run("document.activeElement.id") == "by-campaign"
        await browser.open(f"{page.url}/campaigns?find=leaf")
        await browser.until("document.querySelectorAll('#campaigns tbody tr').length === 1")
        assert (await browser.run(first)).startswith("tea")

        await browser.open(f"{page.url}/campaigns/wine")
        await browser.until("document.querySelectorAll('.chart.js-plotly-plot').length === 4")
        text = await browser.text()
        assert "50.25 EUR overspent" in text
        assert "Paid of what was bid" in text
        for figure in ("charged", "share", "price", "pcoc"):
            await browser.click(f"#figure-{figure} summary")
            await browser.until(f"document.querySelectorAll('#figure-{figure} tbody tr').length === 72")
        assert "shown" in await browser.run("document.querySelector('#fates').innerText")
        await browser.open(f"{page.url}/campaigns/own")
        await browser.until("document.body.innerText.includes('too little traffic to be watched on its own')")
        await browser.open(f"{page.url}/campaigns/nothing")
        await browser.until("document.body.innerText.includes('This market has no campaign nothing.')")

        await fits(browser, page, "/campaigns", "document.querySelector('#campaigns tbody tr') !== null", tmp_path / "campaigns")
        await fits(browser, page, "/campaigns/wine", "document.querySelector('.js-plotly-plot') !== null", tmp_path / "campaign")

    know_all(tmp_path)
    spend(redis_url)
    looking(redis_url, tmp_path, look)


def archived(log_dir: Path) -> int:
    """Sixty decisions of the hour from `BEGIN_MS`, one with a fallback and a loser; their clicks; returns when d7 was made."""
    archive = WatchedArchive(log_dir)
    for i in range(60):
        at = BEGIN_MS + 1000 * i
        shown = (slot(f"d{i}-0", features={"brand": "leaf"}), slot(f"d{i}-1", "red", 1))
        changes = {"degraded": ["caps"], "shopper_key": EVIL} if i == 7 else {}
        archive.decides(decision(f"d{i}", at, *shown, **changes))
        archive.happens(EventType.IMPRESSION, f"d{i}-0", at + 400, decision_id=f"d{i}")
        archive.happens(EventType.CLICK, f"d{i}-0", at + 900, decision_id=f"d{i}", charged_micros=250_000, status="settled")
    archive.write(3_600_000)
    (log_dir / "decisions" / "hour=2024-10-04T00" / "part-0000000002-1728000060000-1728000069000.parquet").write_bytes(b"cut")
    return BEGIN_MS + 7000


def test_decisions_are_found_and_explained(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "releases").mkdir()

    async def look(browser: Chromium, page: PageProcess) -> None:
        await browser.open(f"{page.url}/campaigns/tea")
        await browser.until("document.body.innerText.includes('The watch has not seen a whole hour yet')")
        await browser.open(f"{page.url}/decisions")
        await browser.until("document.body.innerText.includes('Nothing is archived in this time')")
        at = archived(tmp_path / "log")
        await browser.open(f"{page.url}/decisions")
        await browser.until("document.querySelectorAll('#found tbody tr').length === 50")
        assert "part-0000000002" in await browser.run("document.getElementById('unreadable').innerText")
        # By keyboard: what was left empty is not in the address, which can be sent.
        await browser.run("document.querySelector('#search [name=id]').focus()")
        await browser.call("Input.insertText", text="d7-1")
        await browser.call("Input.dispatchKeyEvent", type="char", text="\r")
        await browser.until("location.search === '?id=d7-1'")
        await browser.until("document.querySelectorAll('#found tbody tr').length === 1")
        assert EVIL in await browser.run("document.getElementById('found').innerText")
        assert "degraded: caps" in await browser.run("document.getElementById('found').innerText")
        for asked, rows in (("campaign=own", 50), ("offer=green&until=2024-10-04T00:00:09", 10), (f"shopper={quote(EVIL)}", 1)):
            await browser.open(f"{page.url}/decisions?{asked}")
            await browser.until(f"document.querySelectorAll('#found tbody tr').length === {rows}")
        await browser.open(f"{page.url}/decisions?since=yesterday")
        await browser.until("document.getElementById('nothing')?.innerText.includes('UTC time such as')")
        browser.complaints.clear()  # the 400

        await browser.open(f"{page.url}/decisions?id=d7")
        await browser.until("document.querySelectorAll('#found tbody tr').length === 1")
        await browser.click("#found a")
        await browser.until(f"location.pathname + location.search === '/decisions/d7?at_ms={at}'")
        await browser.until("document.querySelectorAll('#slots tbody tr').length === 2")
        assert await browser.run("document.querySelectorAll('#events tbody tr').length") == 2
        ranked = await browser.run("document.querySelector('#ranked tbody').innerText")
        assert "others had a higher eCPM" in ranked
        assert "0.9000" in await browser.run("document.querySelector('#slots').innerText")  # the propensity
        await browser.until("document.getElementById('lineage')?.innerText.includes('by priors, or by one that is gone')")
        await browser.open(f"{page.url}/decisions/nothing")
        await browser.until("document.body.innerText.includes('No decision nothing was found')")
        assert await browser.run("document.querySelectorAll('img').length") == 0
        await fits(browser, page, "/decisions", "document.querySelector('#found tbody tr') !== null", tmp_path / "decisions")
        ready = "document.getElementById('lineage')?.innerText.includes('Made by')"
        await fits(browser, page, f"/decisions/d7?at_ms={at}", ready, tmp_path / "decision")

    looking(redis_url, tmp_path, look, releases=tmp_path / "releases")


def test_releases_are_compared_and_go_back_to_their_data(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (releases := tmp_path / "releases").mkdir()

    async def look(browser: Chromium, page: PageProcess) -> None:
        await browser.open(f"{page.url}/releases")
        await browser.until("document.getElementById('nothing')?.innerText.includes('No release yet')")
        archived(tmp_path / "log")
        know_releases(releases)
        await browser.open(f"{page.url}/releases")
        await browser.until("document.querySelectorAll('#releases tbody tr').length === 3")
        await browser.until("document.querySelector('#releases .badge.good')?.innerText === 'decides now'")
        rows = await browser.run("[...document.querySelectorAll('#releases tbody tr')].map((e) => e.innerText)")
        assert "is damaged" in rows[0]
        assert f"incremental from {FULL}" in rows[1]
        assert WHY in await browser.run("document.getElementById('refused').innerText")
        await browser.click("#figure-auc summary")
        await browser.until("document.querySelectorAll('#figure-auc tbody tr').length === 2")
        await browser.click(f'#releases a[href="/releases/{MORE}"]')
        await browser.until(f"location.pathname === '/releases/{MORE}'")
        await browser.until("document.getElementById('lineage')?.innerText.includes('Goes back to')")
        assert "0 decisions in the archive" in await browser.run("document.getElementById('lineage').innerText")
        assert "log loss of ctr -2.10 %" in await browser.text()
        await browser.run(
            f"const a = document.getElementById('against'); a.value = '{FULL}'; a.dispatchEvent(new Event('change'))"
        )
        await browser.until(f"location.search === '?against={FULL}'")
        await browser.until("document.querySelectorAll('#metrics thead th').length === 4")
        assert "+0.0300" in await browser.run("document.getElementById('metrics').innerText")
        assert "2.16.1" in await browser.run("document.getElementById('differences').innerText")
        await browser.open(f"{page.url}/releases/{MORE}/report")
        await browser.until(f"document.body.innerText.includes('Report of {MORE}')")
        await browser.open(f"{page.url}/releases/5")
        await browser.until("document.body.innerText.includes('There is no release 5')")
        await browser.open(f"{page.url}/decisions/d7")
        await browser.until(f"document.getElementById('lineage')?.innerText.includes('{FULL}')")  # it has learned from it
        assert "learned" in await browser.run("document.getElementById('lineage').innerText")
        chart = "document.querySelector('#chart-pcoc.js-plotly-plot') !== null"
        await fits(browser, page, "/releases", chart, tmp_path / "releases-view")
        ready = "document.getElementById('lineage')?.innerText.includes('Goes back to')"
        await fits(browser, page, f"/releases/{MORE}?against={FULL}", ready, tmp_path / "release")

    with redis.Redis.from_url(redis_url) as client:
        fields = decision_fields(decision("now", now_ms(), slot("now-0"), release=str(MORE)))
        client.xadd(Keys("corner").decisions, fields)  # type: ignore[arg-type]
    looking(redis_url, tmp_path, look, releases=releases)


def know_all(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    know(tmp_path / "log", now_ms(), days=4, alarming=True)
