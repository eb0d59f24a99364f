"""`offerrank serve`: starts everything, restarts what dies, carries on where it ended, leaves nothing behind."""

import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

MARKET = Path(__file__).parents[2] / "examples" / "confirmation" / "market.toml"


class Served:
    """A running `offerrank serve` and what it has said."""

    def __init__(self, process: "subprocess.Popen[str]", run_dir: Path) -> None:
        self.process = process
        self.run_dir = run_dir
        self.said: list[str] = []

    def until(self, pattern: str) -> "re.Match[str]":
        """The first line from now on that matches."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"ended without {pattern}: {''.join(self.said)}")


@contextmanager
def serve(market: Path, run_dir: Path, *options: str) -> Iterator[Served]:
    command = [sys.executable, "-m", "offerrank", "serve", "--market", str(market), "--dir", str(run_dir), *options]
    ports = ["--port", "19080", "--monitor-port", "19180", "--campaign-port", "19280"]
    with subprocess.Popen([*command, *ports], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield Served(process, run_dir)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


def ask(call: str) -> "dict[str, Any]":
    """Does what the printed curl line says, without curl."""
    _, _, url, _, kind, _, key, _, body = shlex.split(call)
    headers = dict(header.split(": ") for header in (kind, key))
    with urllib.request.urlopen(urllib.request.Request(url, body.encode(), headers), timeout=20) as response:
        answer: dict[str, Any] = orjson.loads(response.read())
    return answer


def listeners(served: Served) -> "list[tuple[str, str]]":
    """Who of a stack listens, on which address."""
    family = psutil.Process(served.process.pid).children(recursive=True)
    found = [(p, c) for p in family for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    return [(p.cmdline()[3] if "offerrank" in p.cmdline() else p.name(), c.laddr.ip) for p, c in found]


class _Stay(urllib.request.HTTPRedirectHandler):
    """Does not follow."""

    def redirect_request(self, *_: Any) -> None:
        return None


def get(url: str) -> int:
    """Status of a GET."""
    try:
        with urllib.request.build_opener(_Stay).open(url, timeout=20) as response:
            return int(response.status)
    except urllib.error.HTTPError as e:
        with e:
            return e.code


def patient_market(tmp_path: Path) -> Path:
    """The demo's market, with time to click."""
    path = tmp_path / "market.toml"
    path.write_text(
        MARKET.read_text(encoding="utf-8").replace("click_window_s = 10\n", "click_window_s = 3600\n"), encoding="utf-8"
    )
    return path


@pytest.mark.timeout(300)
def test_serving_survives_a_killed_gateway_and_a_restart(tmp_path: Path) -> None:
    market, run_dir = patient_market(tmp_path), tmp_path / "run"
    with serve(market, run_dir) as served:
        served.until(r"gateway: http://127.0.0.1:19\d{3}, up after")
        call = served.until(r"try: (curl .*)")[1]
        answer = ask(call)
        assert answer["release"] == "cold-start"
        (placement,) = answer["placements"]
        shown = placement["offers"][0]
        assert get(shown["impression_url"]) == 200
        assert {served.until(r"(page|campaigns): http://127.0.0.1:19\d{3}")[1] for _ in range(2)} == {"page", "campaigns"}

        gateway = next(
            p for p in psutil.Process(served.process.pid).children(recursive=True) if p.cmdline()[-2:] == ["offerrank", "gateway"]
        )
        gateway.kill()
        served.until("gateway ended with signal SIGKILL; starting it again in 0.5 s")
        deadline = time.monotonic() + 60
        while True:
            try:
                again = ask(call)
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        assert again["placements"]
        family = psutil.Process(served.process.pid).children(recursive=True)

    assert served.process.returncode == 0
    assert [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
    secret = (run_dir / "secret").read_text()
    assert (run_dir / "secret").stat().st_mode & 0o077 == 0

    with serve(market, run_dir, "--host", "0.0.0.0", "--public-url", "https://ads.example") as served:
        served.until("gateway: http")
        assert (run_dir / "secret").read_text() == secret
        # A URL from before the restart still counts, and its money is still held in the same Redis.
        assert get(shown["click_url"]) == 302
        served.until("page: http")
        open_to_others = [name for name, address in listeners(served) if address != "127.0.0.1"]
        assert open_to_others == (["gateway"] if sys.platform == "linux" else open_to_others)
    assert served.process.returncode == 0


def test_a_damaged_release_is_refused_at_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "releases" / "100" / "assets.extra"
    folder.mkdir(parents=True)
    (folder / "release.json").write_text("{}")
    command = [sys.executable, "-m", "offerrank", "serve", "--market", str(MARKET), "--dir", str(tmp_path / "run")]
    done = subprocess.run([*command, "--release", str(tmp_path / "releases")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "release.json: rows: is missing" in done.stderr


@pytest.mark.timeout(120)
def test_a_release_that_is_still_being_copied_holds_up_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "releases" / "100" / "assets.extra"
    folder.mkdir(parents=True)
    (folder / "release.json").write_text('{"version": 100, "mark')
    with serve(patient_market(tmp_path), tmp_path / "run", "--release", str(tmp_path / "releases")) as served:
        served.until(r"not served as it is, and looked at again when it changes: .*release.json: content: is not JSON")
        served.until("gateway: http")
        served.until("no whole release yet in .*: the cold-start policy serves")
