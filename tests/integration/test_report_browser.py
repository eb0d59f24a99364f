"""The report in a real browser, opened from disk as someone to whom it was mailed would."""

import asyncio
import shutil
from pathlib import Path

import pytest
from chromium import Chromium

from models import release
from tests.integration.conftest import TrainedRelease

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("width", "phone"), [(1280, False), (390, True)], ids=["desk", "phone"])
def test_it_opens_from_disk_and_fits(coupon_release: TrainedRelease, tmp_path: Path, width: int, phone: bool) -> None:
    alone = tmp_path / "mailed.html"
    shutil.copy(coupon_release.path / release.REPORT, alone)

    async def look() -> None:
        async with Chromium(tmp_path / "chromium") as browser:
            await browser.look(width, 900, phone=phone)
            await browser.open(alone.as_uri())
            assert "Released:" in await browser.text()
            assert await browser.run("document.documentElement.scrollWidth") == width
            drawn = "[...document.querySelectorAll('figure svg')].map(e => e.getBoundingClientRect())"
            assert await browser.run(f"{drawn}.every(r => r.height > 100 && r.right <= {width})")
            assert await browser.run("document.querySelectorAll('figure svg').length") == 3
            assert browser.complaints == []

    asyncio.run(look())
