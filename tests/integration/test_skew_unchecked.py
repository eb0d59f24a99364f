"""Who checks for skew, and who trains, is watched as well: a beat, and an incident when there is none any more."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import redis
from log_entries import MARKET_TOML, decision, slot
from watched_archive import BEGIN_MS, HOUR_MS, WatchedArchive

from domain.clock import now_ms
from monitoring.incidents import INCIDENTS, Keeper, Objectives, incidents_path, reading
from monitoring.incidents.alerts import AlertSettings
from monitoring.incidents.standing import LASTING_MS
from monitoring.learning_beat import LearningBeat
from monitoring.skew_beat import SkewBeat
from monitoring.watch.surroundings import Surroundings


def test_a_check_that_stops_is_an_incident_and_one_that_goes_on_ends_it(tmp_path: Path) -> None:
    """A Redis that is away is in nobody's way."""
    archive = WatchedArchive(tmp_path)
    archive.write(HOUR_MS)
    keeper = Keeper(tmp_path, "corner", "EUR", HOUR_MS, AlertSettings(), Objectives())
    keeper.start()
    looks = Surroundings(redis.Redis(port=1), archive.market, tmp_path, keeper)
    db = INCIDENTS.open_to_read(incidents_path(tmp_path))

    def live(at_ms: int) -> list[str]:
        with archive.watched().store() as store:
            looks.turn(store, at_ms)
            looks.turn(store, at_ms + LASTING_MS)
        return [f"{i.title}: {i.against_usual}" for i in reading.live_incidents(db)]

    assert live(BEGIN_MS) == []  # nobody was ever to check
    SkewBeat(beat_ms=BEGIN_MS, checked_ms=BEGIN_MS, every_s=3600).write(tmp_path)
    assert live(BEGIN_MS + HOUR_MS) == []
    assert live(BEGIN_MS + 3 * HOUR_MS) == ["Skew is not checked: 3.025 hours since it last was, at most 1.5"]
    SkewBeat(beat_ms=BEGIN_MS + 4 * HOUR_MS, checked_ms=BEGIN_MS + 4 * HOUR_MS, every_s=3600).write(tmp_path)
    assert live(BEGIN_MS + 4 * HOUR_MS) == []
    db.close()
    keeper.stop()


def test_a_loop_that_brings_no_release_is_an_incident_with_its_reason_and_the_next_release_ends_it(tmp_path: Path) -> None:
    archive, releases = WatchedArchive(tmp_path), tmp_path / "releases"
    releases.mkdir()
    archive.write(HOUR_MS)
    keeper = Keeper(tmp_path, "corner", "EUR", HOUR_MS, AlertSettings(), Objectives())
    keeper.start()
    looks = Surroundings(redis.Redis(port=1), archive.market, tmp_path, keeper, releases)
    db = INCIDENTS.open_to_read(incidents_path(tmp_path))

    def live(at_ms: int) -> list[tuple[str, object]]:
        with archive.watched().store() as store:
            looks.turn(store, at_ms)
            looks.turn(store, at_ms + LASTING_MS)
        return [(i.against_usual, i.detail.get("why")) for i in reading.live_incidents(db) if i.kind == "not_learning"]

    def turn(hour: int, why: str | None) -> None:
        LearningBeat.note(releases, BEGIN_MS + hour * HOUR_MS, 3600, why)

    assert live(BEGIN_MS) == []  # nobody trains
    turn(0, "3 positives, too few to tell")
    turn(20, "4 positives, too few to tell")
    assert live(BEGIN_MS + 24 * HOUR_MS) == []
    ((said, why),) = live(BEGIN_MS + 26 * HOUR_MS)
    assert (said, why) == ("26.02 hours since the last release, at most 24", "4 positives, too few to tell")
    turn(27, None)
    assert live(BEGIN_MS + 28 * HOUR_MS) == []
    db.close()
    keeper.stop()


def test_the_process_says_that_it_is_alive_though_there_is_nothing_to_recompute(tmp_path: Path) -> None:
    market = tmp_path / "market.toml"
    market.write_text(MARKET_TOML)
    command = [sys.executable, "-m", "offerrank", "skew", "--every", "1h", "--market", str(market), "--log", str(tmp_path)]
    began_ms = now_ms()
    process = subprocess.Popen([*command, "--releases", str(tmp_path / "releases")], env=os.environ)
    try:
        deadline = time.monotonic() + 60
        while (beat := SkewBeat.read(tmp_path)) is None:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert beat.beat_ms >= began_ms
    assert (beat.every_s, beat.broken) == (3600, 0)


def test_turns_that_are_killed_are_no_checks(tmp_path: Path) -> None:
    market, log_dir = tmp_path / "market.toml", tmp_path / "log"
    market.write_text(MARKET_TOML)
    archive = WatchedArchive(log_dir)
    archive.decides(decision("d1", BEGIN_MS + 1000, slot("i1")))
    archive.write(HOUR_MS)
    command = [sys.executable, "-m", "offerrank", "skew", "--every", "1s", "--market", str(market), "--log", str(log_dir)]
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    (tmp_path / "cwd").mkdir()
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(
            [*command, "--releases", str(tmp_path)], env=os.environ | {"PYTHONPATH": paths}, cwd=tmp_path / "cwd", stderr=said
        )

    def eventually(broken: int) -> SkewBeat:
        deadline = time.monotonic() + 60
        while (beat := SkewBeat.read(log_dir)) is None or beat.broken < broken or "not this time" not in said_so_far():
            assert process.poll() is None, said_so_far()
            assert time.monotonic() < deadline, said_so_far()
            time.sleep(0.05)
        return beat

    def said_so_far() -> str:
        return (tmp_path / "said").read_text()

    try:
        assert eventually(0).broken == 0  # no release has ranked, and that is no fault of the process
        # From now on each turn dies before it comes to anything, as for want of memory.
        (tmp_path / "cwd" / "rich.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
        beat = eventually(2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert beat.why == "recomputing ended with -9"
    assert beat.is_over(beat.beat_ms)
    assert beat.checked_ms < beat.beat_ms
