"""The page's views in a real browser: empty, calm and alarming; on a desk and on a phone; from elsewhere, behind a log-in."""

import asyncio
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import redis
from chromium import Chromium
from known_market import EVIL, dearest, know
from page_process import PageProcess

from domain.clock import now_ms
from domain.keys import Keys
from monitoring.incidents import IncidentStore, incidents_path
from offerrank.keys import create
from store.key_records import Role

pytestmark = pytest.mark.browser
VIEWS = ("/", "/features", "/features/country", "/features/amount", "/predictions", "/live")
Look = Callable[[Chromium, PageProcess], Awaitable[None]]


def looking(redis_url: str, tmp_path: Path, look: Look, **settings: object) -> None:
    async def all_of_it() -> None:
        async with Chromium(tmp_path / "chromium") as browser:
            await browser.look(1400, 900)
            await look(browser, page)
            assert browser.complaints == []

    with PageProcess(redis_url, tmp_path, log_dir=tmp_path / "log", **settings) as page:
        asyncio.run(all_of_it())


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    (tmp_path / "log").mkdir()
    return tmp_path / "log"


def test_where_nothing_is_known_every_view_says_so(redis_url: str, tmp_path: Path, log_dir: Path) -> None:
    async def look(browser: Chromium, page: PageProcess) -> None:
        for path, said in (
            ("/", "Nobody watches."),
            ("/features", "The watch has not seen a whole hour yet"),
            ("/features/country", "The watch has not seen a whole hour yet"),
            ("/predictions", "The watch has not seen a whole hour of predictions yet"),
            ("/live", "waiting for the first decision"),
        ):
            await browser.open(page.url + path)
            await browser.until(f"document.body.innerText.includes({said!r})")

    looking(redis_url, tmp_path, look)


def test_before_the_first_hour_is_over_it_says_that_the_watch_runs(redis_url: str, tmp_path: Path, log_dir: Path) -> None:
    async def look(browser: Chromium, page: PageProcess) -> None:
        await browser.open(page.url)
        await browser.until("document.body.innerText.includes('The first hour is not over yet.')")

    IncidentStore(incidents_path(log_dir)).close_file()
    with redis.Redis.from_url(redis_url) as client:
        client.hset(Keys("corner").watch, mapping={"beat_ms": now_ms(), "fault": "", "skipped": 0})
    looking(redis_url, tmp_path, look)


def test_a_calm_market_says_what_it_is_quiet_about(redis_url: str, tmp_path: Path, log_dir: Path) -> None:
    async def look(browser: Chromium, page: PageProcess) -> None:
        await browser.open(page.url)
        await browser.until("document.body.innerText.includes('All quiet. 40 series watched')")
        await browser.until("document.querySelectorAll('#totals tbody tr').length === 6")
        assert "against the same hours a week before" in await browser.text()
        assert await browser.run("document.querySelectorAll('#incidents li').length") == 0

    know(log_dir, now_ms())
    looking(redis_url, tmp_path, look)


def test_on_the_first_days_it_says_that_it_is_too_early_to_tell(redis_url: str, tmp_path: Path, log_dir: Path) -> None:
    async def look(browser: Chromium, page: PageProcess) -> None:
        await browser.open(page.url)
        await browser.until("document.body.innerText.includes('Too early to tell what is unusual.')")
        assert "All quiet" not in await browser.text()

    know(log_dir, now_ms(), days=1)
    looking(redis_url, tmp_path, look)


def test_what_costs_most_comes_first_and_is_taken_care_of(redis_url: str, tmp_path: Path, log_dir: Path) -> None:
    async def look(browser: Chromium, page: PageProcess) -> None:
        await browser.open(page.url)
        await browser.until("document.querySelectorAll('#incidents li').length === 3")
        cards = await browser.run(
            "[...document.querySelectorAll('#incidents li')].map((e) => e.innerText.replaceAll('\\n', '|'))"
        )
        assert cards[0].startswith(
            "412.35 EUR|a day|country is missing in app_version 4.2.0|90 % of rows without a value, usually 1 %"
        )
        assert [card.split(" EUR")[0] for card in cards] == ["412.35", "38.12", "1.00"]
        assert EVIL in cards[2]
        await browser.until("document.title === '(3) OfferRank / corner'")

        await browser.open(f"{page.url}/incidents/{first}")
        await browser.until("document.querySelectorAll('#chart-evidence path.js-line').length === 3")
        text = await browser.text()
        assert "A feature that used to be there is not" in text  # the runbook
        assert "app_version = 4.2.0" in text
        await browser.click("#figure-evidence summary")
        await browser.until("document.querySelectorAll('#figure-evidence tbody tr').length === 10")
        await browser.run("document.querySelector('#note').value = 'asked the app team'")
        await browser.click("#acknowledge")
        said = "acknowledged by this machine · asked the app team"
        await browser.until(f"document.querySelector('#history').innerText.includes({said!r})")
        await browser.click("#silence")
        await browser.until("document.querySelector('#head .badge').innerText.startsWith('silenced until')")
        await browser.click("#close")
        await browser.until("document.querySelector('#care').hidden")
        await browser.open(page.url)
        await browser.until("document.querySelectorAll('#incidents li').length === 2")

        await browser.open(f"{page.url}/incidents/none-such")
        await browser.until("document.body.innerText.includes('There is no incident none-such.')")
        browser.complaints.clear()  # the 404

    know(log_dir, now_ms(), alarming=True)
    first = dearest(log_dir)
    looking(redis_url, tmp_path, look)


def test_charts_have_their_numbers_a_click_away(redis_url: str, tmp_path: Path, log_dir: Path) -> None:
    async def look(browser: Chromium, page: PageProcess) -> None:
        await browser.open(f"{page.url}/features")
        await browser.until("document.querySelectorAll('#features tbody tr').length === 2")
        rows = await browser.run(
            "[...document.querySelectorAll('#features tbody tr')].map((e) => e.innerText.replaceAll('\\n', ''))"
        )
        (row,) = [row for row in rows if row.startswith("countrymissing")]
        assert "was 1.0 %" in row
        await browser.run(
            "const find = document.querySelector('#find'); find.value = 'amo'; find.dispatchEvent(new Event('input'))"
        )
        assert await browser.run("document.querySelectorAll('#features tbody tr').length") == 1

        await browser.open(f"{page.url}/features/country")
        await browser.until("document.querySelectorAll('#chart-distribution .trace.bars').length === 3")  # and the training rows
        assert EVIL in await browser.run("document.querySelector('#new').innerText")
        for figure, rows in (("distribution", 5), ("distance", 192), ("missing", 192), ("level", 192)):
            await browser.click(f"#figure-{figure} summary")
            await browser.until(f"document.querySelectorAll('#figure-{figure} tbody tr').length === {rows}")
        await browser.open(f"{page.url}/features/country?by=app_version&value=4.2.0")
        await browser.until("document.querySelector('#facts').innerText.includes('40.00 %')")  # 10 h 37 of 40, 14 h 1

        await browser.open(f"{page.url}/predictions")
        await browser.until("document.querySelectorAll('.chart.js-plotly-plot').length === 4")
        wine = await browser.run("document.querySelector('#slices tbody tr').innerText")
        assert wine.startswith("campaign wine")
        await browser.click("#figure-reliability summary")
        await browser.until("document.querySelectorAll('#figure-reliability tbody tr').length >= 4")

        await browser.open(f"{page.url}/features/nothing")
        await browser.until("document.body.innerText.includes('Nothing is known of a feature nothing.')")
        assert await browser.run("document.querySelectorAll('img').length") == 0

    know(log_dir, now_ms(), alarming=True)
    looking(redis_url, tmp_path, look)


def test_every_view_fits_a_phone_and_every_control_has_a_name(redis_url: str, tmp_path: Path, log_dir: Path) -> None:
    async def look(browser: Chromium, page: PageProcess) -> None:
        for path in (*VIEWS, f"/incidents/{first}"):
            for width, dark, phone in ((1400, False, False), (390, True, True)):
                await browser.look(width, 900, dark=dark, phone=phone)
                await browser.open(page.url + path)
                await browser.until("document.querySelector('#live').textContent.startsWith('live')")
                await asyncio.sleep(0.3)
                assert await browser.run("document.documentElement.scrollWidth") == width, path
                nameless = await browser.run(
                    "[...document.querySelectorAll('input, select, button, a')].filter((e) => e.offsetParent !== null"
                    " && !(e.innerText || e.labels?.length || e.getAttribute('aria-label'))).map((e) => e.outerHTML)"
                )
                assert nameless == [], path
            assert await browser.run("document.querySelectorAll('nav a[aria-current=page]').length") == 1, path
            charts = (
                "[...document.querySelectorAll('.chart')].filter((e) => e.offsetParent && !e.getAttribute('aria-label')).length"
            )
            assert await browser.run(charts) == 0, path

    know(log_dir, now_ms(), alarming=True)
    first = dearest(log_dir)
    looking(redis_url, tmp_path, look)


def test_from_elsewhere_a_link_leads_through_the_log_in(redis_url: str, tmp_path: Path, log_dir: Path) -> None:
    async def look(browser: Chromium, page: PageProcess) -> None:
        await browser.call("Page.navigate", url=f"{page.url}/incidents/{first}")
        await browser.until("location.pathname === '/login' && document.querySelector('#login button')?.disabled === false")
        await browser.run("document.querySelector('#key').value = 'or_operator_wrong'")
        await browser.click("#login button")
        await browser.until("document.querySelector('#refused').innerText === 'this is no operator\\'s key'")
        browser.complaints.clear()  # the 401
        await browser.run(f"document.querySelector('#key').value = {key!r}")
        await browser.click("#login button")
        await browser.until(f"location.pathname === '/incidents/{first}'")
        await browser.until("document.querySelectorAll('#chart-evidence path.js-line').length === 3")
        await browser.click("#acknowledge")
        await browser.until("document.querySelector('#history').innerText.includes('acknowledged by ann')")
        await browser.click("#leave")
        await browser.until("location.pathname === '/login'")
        assert await browser.run("document.cookie") == ""

    know(log_dir, now_ms(), alarming=True)
    first = dearest(log_dir)
    key = create(tmp_path / "keys.jsonl", "ann", Role.OPERATOR, (), None, None)
    looking(redis_url, tmp_path, look, host="0.0.0.0", keys=tmp_path / "keys.jsonl")


def test_a_demo_is_broken_and_mended_from_its_page(redis_url: str, tmp_path: Path, log_dir: Path) -> None:
    faults, at_work = tmp_path / "faults.json", tmp_path / "fault"
    faults.write_text('{"robots": "robots click on <b>everything</b>", "unit-change": "amounts are in cents"}')

    async def look(browser: Chromium, page: PageProcess) -> None:
        await browser.open(page.url)
        await browser.until("document.getElementById('broken')?.textContent === 'Nothing is broken.'")
        assert await browser.run("document.getElementById('mend').disabled")
        await browser.run("document.getElementById('fault').value = 'unit-change'; document.getElementById('break').click()")
        await browser.until("document.getElementById('broken').textContent === 'Broken: amounts are in cents.'")
        assert at_work.read_text() == "unit-change\n"
        await browser.run("document.getElementById('mend').click()")
        await browser.until("document.getElementById('mend').disabled")
        assert not at_work.exists()
        for headers, said in (
            ({}, "only the page itself may ask for this"),
            ({"origin": page.url}, "expected one of robots, unit-change, got 'fire'"),
        ):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(urllib.request.Request(f"{page.url}/api/faults/fire", method="PUT", headers=headers))
            with refused.value as answer:
                assert said in answer.read().decode()

    looking(redis_url, tmp_path, look, faults=faults)
