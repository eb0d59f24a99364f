"""The page's Pipeline in a real browser: nothing trained, every outcome, a link to one run; on a desk and on a phone."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chromium import Chromium
from known_market import EVIL
from page_process import PageProcess

from domain.clock import now_ms
from store.runs import SILENT_MS, Run, Step, write_run

pytestmark = pytest.mark.browser
NAMES = ("join", "read", "import TFX", "ExampleGen", "StatisticsGen", "Transform", "Trainer", "Assessor", "Pusher")
GATE = {"key": "training.gates.ctr.min_auc", "value": 0.61234, "bound": 0.7, "verdict": "failed", "where": "device = phone"}
WHY = "the model was not released: AUC of ctr is 0.6123, training.gates.ctr.min_auc asks for 0.7"


def know_runs(releases: Path) -> None:
    """A full training, one that was refused, one that was killed, and one that runs, on data of an evil name."""
    now, mib = now_ms(), 2**20
    steps = tuple(Step(name, now, 3.25 * i, False, 900, 900, (300 + 90 * i) * mib) for i, name in enumerate(NAMES))
    full = Run("full-1", "full", "corner", EVIL, now - 2 * SILENT_MS, heard_ms=now - SILENT_MS, details={"rows": {"train": 700}})
    ended = now - SILENT_MS - 60_000
    write_run(releases, replace(full, release=1795701932, outcome="released", ended_ms=ended, steps=steps))
    write_run(releases, replace(full, id="killed-1", began_ms=full.began_ms + 1, steps=steps[:3]))
    anomaly = {"split": "train", "column": "country", "what": "3 % of the values are of no vocabulary"}
    known: dict[str, Any] = {
        "details": {"rows": {"train": 700, "eval": 200}, "gates": [GATE | {"note": ""}], "anomalies": [anomaly]}
    }
    refused = replace(full, id="refused-1", began_ms=now - 600_000, ended_ms=now - 300_000, outcome="refused", why=WHY, **known)
    write_run(releases, replace(refused, steps=(*steps[:-1], replace(steps[-1], failed=True))))
    write_run(
        releases, replace(full, id="running-1", kind="incremental", previous=7, began_ms=now, heard_ms=now, steps=steps[:2])
    )


def test_every_run_is_shown_with_its_steps_and_why_it_brought_no_release(redis_url: str, tmp_path: Path) -> None:
    (releases := tmp_path / "releases").mkdir()

    async def look(browser: Chromium, page: PageProcess) -> None:
        await browser.look(1400, 900)
        await browser.open(f"{page.url}/pipeline")
        await browser.until("document.body.innerText.includes('there is none; `offerrank train`')")
        know_runs(releases)
        await browser.open(f"{page.url}/pipeline")
        await browser.until("document.querySelectorAll('#runs tbody tr').length === 4")
        states = "[...document.querySelectorAll('#runs .badge')].map((e) => e.innerText)"
        assert await browser.run(states) == ["running", "refused", "killed", "released"]
        assert await browser.run("document.querySelectorAll('#steps tbody tr').length") == 2
        assert EVIL in await browser.text()

        await browser.open(f"{page.url}/pipeline#refused-1")
        await browser.until("document.querySelectorAll('#steps tbody tr').length === 9")
        assert WHY in await browser.text()
        last = await browser.run("document.querySelector('#steps tbody tr:last-child').innerText")
        assert last.split("\t") == ["Pusherfailed", "26.0", "900", "900", "1,020 MiB"]
        assert await browser.run("document.querySelector('#gates-sum').innerText") == "gates: 1, 1 missed"
        assert "device = phone" in await browser.run("document.querySelector('#gates').textContent")
        assert "no vocabulary" in await browser.run("document.querySelector('#anomalies').textContent")
        for width, dark, phone in ((1400, False, False), (390, True, True)):
            await browser.look(width, 900, dark=dark, phone=phone)
            await browser.open(f"{page.url}/pipeline#refused-1")
            await browser.until("document.querySelectorAll('#steps tbody tr').length === 9")
            assert await browser.run("document.documentElement.scrollWidth") == width
            await browser.screenshot(tmp_path / f"pipeline-{width}.png")
        assert browser.complaints == []

    async def all_of_it(page: PageProcess) -> None:
        async with Chromium(tmp_path / "chromium") as browser:
            await look(browser, page)

    with PageProcess(redis_url, tmp_path, releases=releases) as page:
        asyncio.run(all_of_it(page))
