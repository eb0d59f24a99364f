"""`offerrank retrain` when a turn goes wrong: that is said in a line, noted, and the next one tried. None loads TensorFlow."""

import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import log_entries
import numpy as np
import pytest
from found import Found
from growing_archive import GrowingArchive

from domain.clock import now_ms
from features.log_archive import parts
from features.market import Market, load_market
from models import release
from models.calibration import Calibrator, TaskCalibration
from models.release import FinalLabels
from models.turns import read_turns
from monitoring.incidents import Change, IncidentStore, incidents_path, reading
from monitoring.learning_beat import LearningBeat

HOUR_MS = 3_600_000
LINE = r"\d{4}-\d\d-\d\d [\d:,]+ ERROR offerrank.retraining no release this time: "


class Shop:
    """A market, its archive of pages of yesterday and of the last hour, and a folder of releases."""

    def __init__(self, folder: Path) -> None:
        self.market_toml, self.log_dir, self.releases, self.tmp = (folder / n for n in ("market.toml", "log", "releases", "tmp"))
        self.market_toml.write_text(log_entries.MARKET_TOML)
        self.releases.mkdir()
        self.tmp.mkdir()
        self.market: Market = load_market(self.market_toml)
        self.now_ms = now_ms()
        archive = GrowingArchive(self.market, self.log_dir)
        for hours_ago in (26, 1):
            for i in range(20):
                at = self.now_ms - hours_ago * HOUR_MS + i
                archive.shows(f"{hours_ago}-{i}", at, at if i % 2 else None, at if i % 4 == 1 else None)
            archive.until(self.now_ms - hours_ago * HOUR_MS + 60_000)
        archive.until(self.now_ms)

    def part(self, hours_ago: int) -> Path:
        """The part of that hour's events."""
        return next(p.path for p in parts(self.log_dir, "events") if p.last_ms > self.now_ms - hours_ago * HOUR_MS)

    def retrain(self, *options: str) -> list[str]:
        command = [sys.executable, "-m", "offerrank", "retrain", "--market", str(self.market_toml)]
        return [*command, "--log", str(self.log_dir), "--out", str(self.releases), *options]

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"TMPDIR": str(self.tmp)}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def write_release(shop: Shop, version: int, full_ms: int, as_of_ms: int) -> None:
    """A sealed release that has learned from the log; its model is a few bytes."""
    folder = shop.releases / str(version)
    for name in (*release.REQUIRED, release.WEIGHTS):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    (folder / release.FEATURE_SPEC).write_text(release.FeatureSpecs.of(shop.market).model_dump_json())
    calibrator = Calibrator(tasks={t.name: TaskCalibration() for t in shop.market.tasks})
    (folder / release.CALIBRATOR).write_text(calibrator.model_dump_json())
    np.savez(folder / release.OFFERS, ids=np.array(["o"]))
    manifest = release.Manifest(
        rows={"train": 1},
        trained_through_ms=as_of_ms - 1,
        labels=FinalLabels.of(shop.market, as_of_ms),
        full_ms=full_ms,
        version=version,
        market=shop.market.name,
        created_ms=as_of_ms,
        inputs=release.inputs_of(shop.market),
        tasks=tuple(t.name for t in shop.market.tasks),
        embedding_dim=2,
        packages={},
    )
    release.seal(folder, manifest)


def cut_short(part: Path) -> bytes:
    """Leaves half of a file; returns what it was."""
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    return whole


def test_a_full_training_that_brings_no_release_stops_no_incremental_one(shop: Shop) -> None:
    write_release(shop, 9, full_ms=shop.now_ms - 30 * HOUR_MS, as_of_ms=shop.now_ms - 2 * HOUR_MS)
    cut_short(shop.part(hours_ago=26))

    def turn() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            shop.retrain("--doubted", "learn"), capture_output=True, text=True, timeout=60, env=shop.environment
        )

    little = shop.market_toml.read_text()
    shop.market_toml.write_text(little.replace("[training]", '[training]\nmin_rows = 10\ngates.ctr.unjudged = "release"'))
    first = turn()
    shop.market_toml.write_text(little)
    second = turn()
    # The last full training was 30 hours ago, so this was one, and all of the log was read.
    assert first.returncode == 2
    why, line = first.stderr.splitlines()
    assert why == "full training: the last full training was 30.0 h ago"
    assert f"{shop.part(hours_ago=26)}: expected a readable Parquet file" in line
    # A minute later, by cron: the last hour is whole, and it gets to its 20 rows.
    went_on = "incremental training: release 9 goes on from what it has learned; the full training 0.0 h ago brought no release"
    assert went_on in second.stderr.splitlines()
    assert "expected at least 200 rows (training.min_rows), got '20 rows'" in second.stderr
    noted = read_turns(shop.releases)
    assert (noted.full.failed, noted.full.at_work) == (1, False)
    assert "readable Parquet file" in noted.full.why
    # Too few rows are no failure.
    assert (noted.incremental.failed, noted.incremental.refused) == (0, 0)
    assert "20 rows" in noted.incremental.why
    assert list(shop.tmp.iterdir()) == []


@contextmanager
def scheduled(shop: Shop, every: str = "1s", **how: object) -> Iterator[Callable[[str], str]]:
    """`retrain --every 1s`; gives a function that waits for a line that matches, after those it has given before."""
    output = shop.tmp.parent / "stderr"
    with output.open("wb") as err:
        run = subprocess.Popen(shop.retrain("--every", every), stderr=err, env=shop.environment, **how)  # type: ignore[call-overload]
    read = 0

    def line(pattern: str) -> str:
        nonlocal read
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for n, found in enumerate(output.read_text().splitlines()[read:], read + 1):
                if re.search(pattern, found):
                    read = n
                    return found
            assert run.poll() is None, output.read_text()
            time.sleep(0.05)
        raise AssertionError(f"no line {pattern!r} in\n{output.read_text()}")

    try:
        yield line
        run.send_signal(signal.SIGTERM)
        assert run.wait(30) == 0
        assert "Traceback" not in output.read_text()
    finally:
        run.kill()
        run.wait()


def test_a_full_training_that_has_too_little_to_be_judged_by_has_not_been_tried(shop: Shop) -> None:
    """The next turn is a full one again: else a market of little traffic would never have any."""
    write_release(shop, 9, full_ms=shop.now_ms - 30 * HOUR_MS, as_of_ms=shop.now_ms - 2 * HOUR_MS)
    shop.market_toml.write_text(shop.market_toml.read_text().replace("[training]", "[training]\nmin_rows = 10"))
    began_ms, first_ended_ms = now_ms(), 0
    for _ in range(2):
        turn = subprocess.run(
            shop.retrain("--doubted", "learn"), capture_output=True, text=True, timeout=60, env=shop.environment
        )
        assert turn.returncode == 2
        why, line = turn.stderr.splitlines()
        assert why == "full training: the last full training was 30.0 h ago"
        assert (
            "expected enough rows to judge by (min_positives) that release 9 has not learned from, got 'ctr: 10 positives" in line
        )
        first_ended_ms = first_ended_ms or now_ms()
    noted = read_turns(shop.releases)
    assert (noted.full.began_ms, noted.full.failed, noted.full.refused) == (None, 0, 0)
    assert "enough rows to judge by" in noted.full.why
    # One may wait for ever: the monitor knows since when, and why.
    beat = LearningBeat.read(shop.releases)
    assert beat is not None
    assert "enough rows to judge by" in beat.why
    assert began_ms <= beat.learned_ms < first_ended_ms


def test_on_a_schedule_one_bad_turn_is_a_line_and_the_next_is_tried(shop: Shop) -> None:
    market, part = shop.market_toml.read_text(), shop.part(hours_ago=1)
    whole = cut_short(part)
    with scheduled(shop) as line:
        line(LINE + re.escape(str(part)))
        shop.market_toml.write_text("name = 'x'")
        line(LINE + "currency: ")
        shop.market_toml.write_text(market)
        part.unlink()
        part.mkdir()  # a disk that gives nothing back
        line(LINE + re.escape(str(part)))
        part.rmdir()
        part.write_bytes(whole)
        line("40 impressions, 20 clicks and 10 conversions to learn from")
        # Nothing is wrong any more, but for too few rows.
        line("INFO offerrank.retraining no release this time: .*rows.parquet: expected at least 200 rows")
    assert list(shop.tmp.iterdir()) == []


def test_a_disk_without_room_ends_no_schedule(shop: Shop) -> None:
    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))  # no file may grow beyond

    with scheduled(shop, preexec_fn=no_room) as line:
        for _ in range(2):
            line(LINE + r"OSError: .*File too large")
    assert read_turns(shop.releases).full.failed >= 2
    assert list(shop.tmp.iterdir()) == []


def test_a_market_that_is_wrong_at_the_start_ends_it(shop: Shop) -> None:
    shop.market_toml.write_text("name = 'x'")
    run = subprocess.run(shop.retrain("--every", "1s"), capture_output=True, text=True, timeout=60, env=shop.environment)
    assert run.returncode == 2
    assert [line[: len("offerrank: currency")] for line in run.stderr.splitlines()] == ["offerrank: currency"]


def test_between_two_turns_incidents_are_heard(shop: Shop) -> None:
    def ask(change: Change) -> None:
        store = IncidentStore(incidents_path(shop.log_dir))
        if not reading.live_incidents(store.connection):
            store.observe(shop.now_ms, [Found("calibration")], now_ms())
        (incident,) = reading.live_incidents(store.connection)
        with store.writing():
            store.append(incident.id, change, now_ms(), note="click is not what comes")
        store.close_file()

    def once(*command: str) -> subprocess.CompletedProcess[str]:
        run = [
            sys.executable,
            "-m",
            "offerrank",
            *command,
            "--if-asked",
            "--market",
            str(shop.market_toml),
            "--log",
            str(shop.log_dir),
        ]
        return subprocess.run(run, capture_output=True, text=True, timeout=60, env=shop.environment)

    nothing = once("retrain", "--out", str(shop.releases))
    assert (nothing.returncode, nothing.stderr) == (0, "")
    with scheduled(shop, every="1h") as line:
        line("no release this time: .*rows.parquet: expected at least 200 rows")
        ask(Change.ASKED_RECALIBRATE)
        line("asks to recalibrate: click is not what comes")
        line("no release this time: .*at least one release")
        ask(Change.ASKED_RETRAIN)
        line("asks to retrain: click is not what comes")
        line("no release this time: .*rows.parquet: expected at least 200 rows")
    # Both are answered by runs that have begun since.
    for command in (("retrain", "--out", str(shop.releases)), ("recalibrate", "--releases", str(shop.releases))):
        answered = once(*command)
        assert (answered.returncode, answered.stderr) == (0, "")
    ask(Change.ASKED_RETRAIN)
    asked = once("retrain", "--out", str(shop.releases))
    assert asked.returncode == 2
    assert "asks to retrain: click is not what comes" in asked.stderr.splitlines()[0]
