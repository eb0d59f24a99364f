"""The page in a real browser: what a person sees, light and dark, on a desk and on a phone, and when things break."""

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from chromium import Chromium
from log_entries import MARKET_TOML, decision, decision_fields, event_fields, slot
from page_process import PageProcess

from domain.clock import budget_day, now_ms
from domain.keys import Keys
from domain.outcome import Reason

pytestmark = pytest.mark.browser
KEYS = Keys("corner")
EVIL = '<img src=x onerror="document.title=1">'


@pytest.fixture
def client(redis_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(redis_url) as made:
        yield made


def log_some(client: "redis.Redis") -> None:
    """20 decisions and 4 clicks of 0.25 EUR half a minute ago, by a cold start and then a release."""
    start = now_ms() - 30_000
    for i in range(20):
        at, name = start + i * 500, f"d{i:02d}"
        shown = (slot(f"i{i}"), slot(f"j{i}", "card", 1, price_micros=900))
        made = decision(name, at, *shown, release="1700000010" if i > 9 else "cold-start", total_us=4_000 + 100 * i)
        # Red wine was removed before ranking, so nobody knows what it would have been worth.
        for worth in (made.candidates.ecpm_micros, *made.candidates.probability.values()):
            worth[1] = None
        made.candidates.reason[1] = Reason.TARGETING
        client.xadd(KEYS.decisions, decision_fields(made), id=f"{at}-0")
        client.xadd(KEYS.events(0), event_fields("impression", f"i{i}", name, at), id=f"{at + 1}-0")
        if i % 5 == 4:
            click = event_fields("click", f"i{i}", name, at, status="settled", charged_micros=250_000)
            client.xadd(KEYS.events(0), click, id=f"{at + 2}-0")
    day = budget_day(now_ms(), 86_400)
    for d in (day, day + 1):
        client.hset(KEYS.budget("tea", d), mapping={"spent": 1_000_000, "held": 500_000})
        client.hset(KEYS.budget("wine", d), mapping={"spent": 50_000_001, "held": 0})


async def open_page(browser: Chromium, page: PageProcess) -> None:
    await browser.look(1280, 900)
    await browser.open(f"{page.url}/live")


def test_an_empty_market_says_that_it_waits(redis_url: str, tmp_path: Path) -> None:
    async def look() -> None:
        async with Chromium(tmp_path / "chromium") as browser:
            await open_page(browser, page)
            await browser.until("document.querySelector('#live').textContent.startsWith('live')")
            text = await browser.text()
            assert text.count("waiting for the first decision") >= 6  # head, four charts, releases, decisions
            assert browser.complaints == []

    with PageProcess(redis_url, tmp_path) as page:
        asyncio.run(look())


def test_figures_charts_and_reasons_are_shown(client: "redis.Redis", redis_url: str, tmp_path: Path) -> None:
    async def look() -> None:
        async with Chromium(tmp_path / "chromium") as browser:
            await open_page(browser, page)
            await browser.until("document.querySelectorAll('details.decision').length === 20")
            await browser.until("document.querySelectorAll('.chart path.js-line').length === 6")
            text = await browser.text()
            # 4 clicks of 20 impressions, each 0.25: 1.00 EUR for 20 decisions is 50 per thousand.
            for seen in ("20.00 % in all, 4 clicks", "50.00 EUR", "1.00 EUR in all", "100.0 %"):
                assert seen in text, text
            marks = await browser.run("[...document.querySelectorAll('#chart-ctr .annotation-text')].map((e) => e.textContent)")
            assert "1700000010" in marks
            assert await browser.run("document.querySelectorAll('#chart-ctr .shapelayer path').length") == len(marks)
            tea, wine = await browser.run(
                "[...document.querySelectorAll('#campaigns tbody tr')].slice(0, 2).map((e) => e.innerText)"
            )
            assert "1.00" in tea
            assert "100.00" in tea
            assert "overspent 50.00" in wine

            await browser.click("details.decision summary")
            await browser.until("document.querySelector('.inside table') !== null")
            rows = await browser.run(
                "[...document.querySelectorAll('.inside tbody tr')]"
                ".map((e) => e.innerText.replaceAll('\\n', '').replaceAll('\\t', '|'))"
            )
            # Shown ones by slot, the others by eCPM. A cpm price is per thousand impressions, as it was bid.
            assert rows[0].startswith("1|Green tea green|15.00|0.25 cpc|4.00|20.00|shown won · 0|tea|ann")
            assert rows[1].startswith("2|Loyalty card card|0.0010|0.90 cpm|2.00|5.00|shown won · 0|own|new")
            assert rows[2].startswith("|Red wine red|–||–|–|not meant for this shopper or purchase targeting · 502|wine|popular")
            # While it is read, the list stands still.
            client.xadd(KEYS.decisions, decision_fields(decision("newest", now_ms(), slot("n"))))
            await browser.until("document.querySelector('#frozen').textContent.includes('stands still')")
            assert "21 in all" not in await browser.run("document.querySelector('#decisions').innerText")
            await browser.until("document.querySelector('#tiles').innerText.includes('21 in all')")
            assert await browser.run("document.querySelector('details.decision').innerText.includes('newest')") is False
            assert browser.complaints == []

            for width, dark, phone in ((1280, False, False), (1280, True, False), (390, False, True)):
                await browser.look(width, 900, dark=dark, phone=phone)
                await asyncio.sleep(0.5)
                assert await browser.run("document.documentElement.scrollWidth") == width  # nothing hangs over the side
                await browser.screenshot(tmp_path / f"page-{width}-{dark}.png")
            light, night = (tmp_path / f"page-1280-{dark}.png" for dark in (False, True))
            assert light.read_bytes() != night.read_bytes()

    log_some(client)
    with PageProcess(redis_url, tmp_path) as page:
        asyncio.run(look())


def test_data_is_text_and_never_markup(client: "redis.Redis", redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "market.toml").write_text(MARKET_TOML.replace('"Green tea"', f"'{EVIL}'"))
    at = now_ms() - 10_000
    made = decision(EVIL, at, slot("i"), shopper_key=EVIL, release=EVIL, policy_id=EVIL, degraded=[EVIL], stage_us={EVIL: 4_000})
    made = replace(made, features={EVIL: EVIL}, candidates=replace(made.candidates, source=[EVIL] * 3))
    client.xadd(KEYS.decisions, decision_fields(made), id=f"{at}-0")

    async def look() -> None:
        async with Chromium(tmp_path / "chromium") as browser:
            await open_page(browser, page)
            await browser.until("document.querySelector('details.decision') !== null")
            await browser.click("details.decision summary")
            await browser.until("document.querySelector('.inside table') !== null")
            await browser.until("document.querySelector('#chart-rate .annotation-text') !== null")
            assert await browser.run("document.querySelectorAll('img').length") == 0
            assert (await browser.text()).count(EVIL) >= 6
            assert await browser.run("document.title") == "OfferRank / corner"
            assert browser.complaints == []

    with PageProcess(redis_url, tmp_path) as page:
        asyncio.run(look())


def test_a_lost_connection_is_said_and_its_return_noticed(client: "redis.Redis", redis_url: str, tmp_path: Path) -> None:
    async def look() -> None:
        async with Chromium(tmp_path / "chromium") as browser:
            await open_page(browser, page)
            await browser.until("document.querySelector('#tiles').innerText.includes('20 in all')")
            assert await browser.run("document.querySelector('#banner').hidden")
            os.kill(page.process.pid, signal.SIGKILL)
            page.process.wait()
            await browser.until("!document.querySelector('#banner').hidden")
            banner = await browser.run("document.querySelector('#banner').innerText")
            assert banner.startswith("Connection lost, figures are from ")
            assert "20 in all" in await browser.text()  # the last figures stay
            with PageProcess(redis_url, tmp_path, port=page.port):
                await browser.until("document.querySelector('#banner').hidden")

    log_some(client)
    with PageProcess(redis_url, tmp_path) as page:
        asyncio.run(look())
