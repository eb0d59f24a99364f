"""`/docs` in a real browser: the whole page, from the gateway alone."""

import asyncio
import signal
from pathlib import Path

import pytest
from chromium import Chromium
from gateway_process import GOLDEN, GatewayProcess
from open_market import open_market

from features.market import load_market
from store.ports import free_port

pytestmark = pytest.mark.browser


def test_the_documents_page_shows_every_route_and_asks_nobody_else(redis_url: str, tmp_path: Path) -> None:
    port = free_port()

    async def look() -> None:
        async with Chromium(tmp_path / "chromium") as browser:
            await browser.look(1280, 900)
            await browser.open(f"http://127.0.0.1:{port}/docs")
            await browser.until("document.querySelectorAll('.opblock').length >= 7")
            assert "Which offers to show" in await browser.text()
            await browser.click(".opblock-summary-control")
            await browser.until("document.querySelector('.opblock.is-open .response') !== null")
            asked = await browser.run("performance.getEntriesByType('resource').map(e => e.name)")
            assert [url for url in asked if not url.startswith((f"http://127.0.0.1:{port}/", "data:"))] == []
            assert browser.complaints == []

    open_market(redis_url, load_market(GOLDEN))
    gateway = GatewayProcess(GOLDEN, redis_url, tmp_path / "gateway.log", operator_port=port)
    try:
        gateway.start()
        asyncio.run(look())
    finally:
        if gateway.child is not None:
            gateway.end(signal.SIGKILL)
