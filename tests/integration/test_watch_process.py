"""The watch as a process: killed in the middle of its work, it knows afterwards what one that was never killed knows."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import tomli
from log_entries import MARKET_TOML, decision, decision_fields, event_fields, slot
from watched_archive import BEGIN_MS, HOUR_MS, Known, WatchedArchive

from domain.clock import now_ms
from domain.events import Slot
from domain.keys import PARTITIONS, Keys
from features.market import parse_market
from monitoring.summaries import ALL, FLOW, Calibration, Flows, HourSummary, Series
from monitoring.watch.database import MonitorUnavailable
from monitoring.watch.watch import Watch
from serving.archiver.rows import log_formats
from serving.archiver.stream import LogArchiver

CTR, CVR = Series("calibration", "ctr"), Series("calibration", "cvr")


class Watches:
    """Starts watches, and ends what is left of them."""

    def __init__(self, market: Path) -> None:
        self._market, self._processes = market, list[subprocess.Popen[bytes]]()

    def start(self, log_dir: Path, redis_url: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "OFFERRANK_MARKET": str(self._market),
            "OFFERRANK_LOG_DIR": str(log_dir),
            "OFFERRANK_REDIS_URL": redis_url,
            "OFFERRANK_WATCH_INTERVAL_S": "0.05",
        }
        with (log_dir.parent / "watch.log").open("ab") as output:
            command = [sys.executable, "-m", "monitoring.watch"]
            self._processes.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
        return self._processes[-1]

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


def fill(archive: WatchedArchive, hours: int) -> None:
    rng = random.Random(3)
    for hour in range(hours):
        for i in range(200):
            name, at_ms = f"{hour}-{i}", BEGIN_MS + hour * HOUR_MS + rng.randrange(HOUR_MS)
            features = {"country": rng.choice(["DE", "NL"]), "amount": rng.lognormvariate(3, 1), "past_clicks": rng.randrange(4)}
            archive.decides(decision(name, at_ms, slot(name), features=features))
            archive.happens("impression", name, at_ms + 900)
            if rng.random() < 0.5:
                archive.happens("click", name, at_ms + 5_000)
        for part in range(1, 13):
            archive.write(hour * HOUR_MS + part * HOUR_MS // 12)


def taken(log_dir: Path) -> int:
    try:
        with Known(log_dir).store() as store:
            return store.taken("events")
    except MonitorUnavailable:  # not there yet
        return 0


def eventually(log_dir: Path, number: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while taken(log_dir) < number:
        assert process.poll() is None, (log_dir.parent / "watch.log").read_text()
        assert time.monotonic() < deadline, f"{taken(log_dir)} of {number} parts"
        time.sleep(0.01)


@pytest.fixture
def watches(tmp_path: Path) -> Iterator[Watches]:
    path = tmp_path / "market.toml"
    path.write_text(MARKET_TOML, encoding="utf-8")
    started = Watches(path)
    yield started
    started.close()


def test_killed_in_the_middle_of_its_work_it_loses_and_doubles_nothing(tmp_path: Path, watches: Watches, redis_url: str) -> None:
    killed, whole = WatchedArchive(tmp_path / "killed"), WatchedArchive(tmp_path / "whole")
    fill(killed, hours=4)
    shutil.copytree(killed.log_dir, whole.log_dir)
    for number in (5, 30):
        process = watches.start(killed.log_dir, redis_url)
        eventually(killed.log_dir, number, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    process = watches.start(killed.log_dir, redis_url)
    eventually(killed.log_dir, 48, process)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert Known(killed.log_dir).everything() == whole.watched().everything()

    client = redis.Redis.from_url(redis_url)
    said = {k.decode(): v.decode() for k, v in client.hgetall(Keys("corner").watch).items()}
    client.close()
    assert (said["fault"], said["skipped"], int(said["complete_ms"])) == ("", "0", BEGIN_MS + 4 * HOUR_MS)


def test_what_the_archiver_writes_as_shoppers_come_is_all_known_in_the_end(tmp_path: Path, redis_url: str) -> None:
    # Hours of a second, in which labels are final after three more.
    raw = tomli.loads(MARKET_TOML)
    raw["policy"] |= {"day_length_s": 24, "unseen_hold_ttl_s": 1}
    raw["training"] = {"click_window_s": 1, "conversion_window_s": 1}
    market, keys = parse_market(raw), Keys("corner")
    streams = {"decisions": [keys.decisions], "events": [keys.events(p) for p in range(PARTITIONS)]}
    with redis.Redis.from_url(redis_url) as client, Watch(market, tmp_path, quiet_s=0) as watch:
        archivers = [LogArchiver(client, streams[log.name], log, tmp_path, 1000) for log in log_formats(market)]

        def comes(name: str, *slots: Slot) -> int:
            at_ms = now_ms()
            client.xadd(keys.decisions, decision_fields(decision(name, at_ms, *slots)))
            return at_ms

        def known() -> list[HourSummary]:
            for archiver in archivers:
                archiver.read()
                archiver.flush()
            while watch.turn():
                pass
            store = watch.opened.store
            return [summary for hour in store.hours("stage = 3") for summary in store.summaries(hour.hour_ms)]

        for i in range(120):
            at_ms = comes(f"d{i}", slot(f"i{i}"))
            for kind in ("impression", "click", "conversion")[: i % 4]:
                client.xadd(keys.events(i % PARTITIONS), event_fields(kind, f"i{i}", f"d{i}", at_ms + 1))
            if i % 10 == 0:
                known()
            time.sleep(0.01)
        rows = -1
        deadline = time.monotonic() + 60
        while rows < 90 and time.monotonic() < deadline:
            comes(f"later-{now_ms()}")
            summaries = [h.by for h in known()]
            rows = sum(by[ALL, CTR].rows for by in summaries if (ALL, CTR) in by)
            time.sleep(0.05)
    calibrated = [c for by in summaries if isinstance(c := by.get((ALL, CTR)), Calibration)]
    converted = [c for by in summaries if isinstance(c := by.get((ALL, CVR)), Calibration)]
    filled = sum(f["filled"] for by in summaries if isinstance(f := by.get((ALL, FLOW)), Flows))
    # Of 120 offers a quarter each was unseen, seen, clicked, converted.
    assert (filled, rows, sum(c.sum_y for c in calibrated)) == (120, 90, 60)
    assert (sum(c.rows for c in converted), sum(c.sum_y for c in converted)) == (60, 30)


def test_a_second_watch_of_an_archive_is_refused(tmp_path: Path, watches: Watches, redis_url: str) -> None:
    archive = WatchedArchive(tmp_path / "log")
    fill(archive, hours=1)
    first = watches.start(archive.log_dir, redis_url)
    eventually(archive.log_dir, 12, first)
    second = watches.start(archive.log_dir, redis_url)
    assert second.wait(30) == 1
    assert "another process watches this archive" in (tmp_path / "watch.log").read_text()
    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == 0


def test_without_redis_it_watches_all_the_same(tmp_path: Path, watches: Watches) -> None:
    archive = WatchedArchive(tmp_path / "log")
    fill(archive, hours=1)
    process = watches.start(archive.log_dir, "redis://127.0.0.1:1/0")
    eventually(archive.log_dir, 12, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_a_log_whose_clock_is_ahead_is_named(tmp_path: Path, watches: Watches, redis_url: str) -> None:
    archive = WatchedArchive(tmp_path / "log")
    fill(archive, hours=1)
    archive.write(now_ms() - BEGIN_MS + 30 * 24 * HOUR_MS)
    process = watches.start(archive.log_dir, redis_url)
    eventually(archive.log_dir, 13, process)
    with redis.Redis.from_url(redis_url) as client:
        deadline = time.monotonic() + 20
        while b"is 720 h ahead" not in (client.hget(Keys("corner").watch, "fault") or b""):
            assert time.monotonic() < deadline, client.hgetall(Keys("corner").watch)
            time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
