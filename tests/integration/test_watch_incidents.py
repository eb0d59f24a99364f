"""From the archive to the person on call: a release promises more clicks than come, and the incident says what that costs."""

import os
import random
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

from log_entries import MARKET_TOML, decision, slot
from watched_archive import BEGIN_MS, HOUR_MS, WatchedArchive

from domain.clock import now_ms
from features.market import load_market
from monitoring.incidents import INCIDENTS, Keeper, Objectives, incidents_path
from monitoring.incidents.alerts import AlertSettings
from monitoring.incidents.requests import request
from store.sqlite import FileUnavailable

HOURS, PAGES = 12, 110
PROMISED, TRUE, PRICE = 0.3, 0.1, 250_000


def promise_too_much(archive: WatchedArchive) -> None:
    """Half a day of it."""
    rng = random.Random(11)
    for hour in range(HOURS):
        for i in range(PAGES):
            name, at_ms = f"{hour}-{i}", BEGIN_MS + hour * HOUR_MS + rng.randrange(HOUR_MS)
            shown = slot(name, probability={"ctr": PROMISED, "cvr": 0.2}, price_micros=PRICE)
            archive.decides(decision(name, at_ms, shown, release="7"))
            archive.happens("impression", name, at_ms + 900)
            if rng.random() < TRUE:
                archive.happens("click", name, at_ms + 5_000, status="settled", charged_micros=PRICE)
        archive.write((hour + 1) * HOUR_MS)


def test_a_release_that_promises_too_much_is_an_incident_with_its_cost(tmp_path: Path) -> None:
    archive = WatchedArchive(tmp_path)
    promise_too_much(archive)
    keeper = Keeper(tmp_path, "corner", "EUR", HOUR_MS, AlertSettings(), Objectives())
    keeper.start()
    try:
        archive.watched(keeper)
    finally:
        keeper.stop()
    with closing(INCIDENTS.open_to_read(incidents_path(tmp_path))) as db:
        opened = db.execute("SELECT kind, series_name, size, cost_micros_per_day FROM incidents").fetchall()
    ((kind, task, pcoc, cost_micros),) = opened
    assert (kind, task) == ("calibration", "ctr")
    # 110 pages an hour at (0.3 - 0.1) * 0.25 a click: 132 a day, as far as the clicks of one hour tell it.
    a_day = 24 * PAGES * (PROMISED - TRUE) * PRICE
    assert 0.7 * a_day < cost_micros < 1.3 * a_day
    assert 2 < pcoc < 5


def test_the_watch_asks_for_a_recalibration_if_its_market_lets_it(tmp_path: Path) -> None:
    policy = '[monitoring.response]\nrecalibrate = ["calibration"]\n'
    market, log_dir, releases = tmp_path / "market.toml", tmp_path / "log", tmp_path / "releases"
    market.write_text(MARKET_TOML + policy)
    releases.mkdir()
    promise_too_much(WatchedArchive(log_dir, load_market(market)))
    environment = {"OFFERRANK_MARKET": str(market), "OFFERRANK_LOG_DIR": str(log_dir), "OFFERRANK_RELEASES": str(releases)}
    environment |= {"OFFERRANK_REDIS_URL": "redis://127.0.0.1:1/0", "OFFERRANK_WATCH_INTERVAL_S": "0.05"}
    with (tmp_path / "said").open("wb") as said:
        watch = subprocess.Popen([sys.executable, "-m", "monitoring.watch"], env=os.environ | environment, stderr=said)
    try:
        deadline = time.monotonic() + 60
        asked = None
        while asked is None:
            with suppress(FileUnavailable):  # the file may just be being made
                asked = request(log_dir, releases, "recalibrate", now_ms())
            assert watch.poll() is None, (tmp_path / "said").read_text()
            assert time.monotonic() < deadline, (tmp_path / "said").read_text()
            time.sleep(0.1)
        watch.terminate()
        assert watch.wait(30) == 0
    finally:
        watch.kill()
        watch.wait()
    assert asked.why.startswith("Predicted ctr is not what comes")
