"""The books as the archiver's process keeps them, and the commands that read them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import redis
from money_path import MARKET, MoneyPath
from open_market import let_in
from typer.testing import CliRunner

from domain.events import EventType
from domain.keys import Keys
from offerrank.cli import app
from serving.ledger.database import ledger_path

KEYS = Keys(MARKET.name)
MARKET_FILE = Path(__file__).resolve().parents[1] / "golden" / "market.toml"


def offerrank(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.output


def eventually(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture
def archiver(redis_url: str, tmp_path: Path) -> Iterator[Callable[[], "subprocess.Popen[bytes]"]]:
    """Starts an archiver on the same folder each time; the last one is ended."""
    started: list[subprocess.Popen[bytes]] = []
    settings = {"market": MARKET_FILE, "redis_url": redis_url, "log_dir": tmp_path / "log"}
    settings |= {"archive_interval_s": 0.1, "reconcile_interval_s": 0.2}
    env = os.environ | {f"OFFERRANK_{name.upper()}": str(value) for name, value in settings.items()}

    def start() -> "subprocess.Popen[bytes]":
        log = tmp_path / "archiver.log"
        with log.open("ab") as output:
            started.append(subprocess.Popen([sys.executable, "-m", "serving.archiver"], env=env, stdout=output, stderr=output))
        eventually(lambda: log.read_bytes().count(b"archiving golden") == len(started), "it archives")
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def sell(money: MoneyPath, decision: str, campaign: str, micros: int) -> None:
    one = money.sold(decision, campaign, micros)
    for kind in (EventType.IMPRESSION, EventType.CLICK, EventType.CONVERSION):
        money.report(kind, one)


def test_the_books_are_kept_through_kills_and_commands_read_them(
    archiver: Callable[[], "subprocess.Popen[bytes]"], redis_url: str, tmp_path: Path
) -> None:
    log_dir, client = tmp_path / "log", redis.Redis.from_url(redis_url, decode_responses=True)
    common = ["--market", str(MARKET_FILE), "--log-dir", str(log_dir)]
    with MoneyPath(redis_url, now_ms=None) as money:
        money.open()
        let_in(money.raw, MARKET.name)
        process = archiver()
        for i in range(3):
            for n in range(10):
                sell(money, f"{i}-{n}", "alpha-spring", 100_001)
            if i < 2:
                eventually(lambda: ledger_path(log_dir).exists(), "the books are begun")
                process.send_signal(signal.SIGKILL)
                process.wait()
                process = archiver()
        sell(money, "sale", "gamma-sales", 2_000_000)
        money.report(EventType.RETURN, money.sold("sale", "gamma-sales", 2_000_000))
        money.report(EventType.CLICK, money.sold("robot", "alpha-rest", 70_000), invalid="robot")
        process.terminate()
        assert process.wait(30) == 0  # what was read is archived and posted before it ends
    said = client.hgetall(KEYS.ledger)
    assert (said["differences"], said["refused"], said["trouble"], said["closed"]) == ("0", "0", "", "0")
    code, out = offerrank("reconcile", *common, "--redis-url", redis_url)
    assert (code, "log and Redis agree to the micro" in out) == (0, True)
    code, out = offerrank("ledger", "balance", *common, "--json")
    assert json.loads(out) == {
        "alpha-rest": {"invalid": 70_000, "invalid.robot": 70_000},
        "alpha-spring": {"charged": 3_000_030, "net": 3_000_030},
        "gamma-sales": {"charged": 2_000_000, "given_back": 2_000_000},
    }
    code, out = offerrank("ledger", "balance", *common, "--by", "advertiser")
    assert "3.00003" in out
    code, out = offerrank("ledger", "export", *common, "--out", str(tmp_path / "postings.parquet"))
    assert code == 0, out
    postings = pq.read_table(tmp_path / "postings.parquet").to_pydict()
    assert sum(postings["micros"]) == 0
    assert len(postings["micros"]) == 2 * (30 + 1 + 1 + 1)
    client.hincrby(KEYS.budget("alpha-spring", _today(client)), "spent", 7)
    code, out = offerrank("reconcile", *common, "--redis-url", redis_url)
    assert (code, "alpha-spring" in out, "0.000007" in out) == (1, True, True)
    code, out = offerrank("reconcile", *common, "--redis-url", redis_url, "--json")
    assert json.loads(out)["differences"][0]["spent_micros"] == 3_000_037
    client.delete(KEYS.verified, KEYS.budget("alpha-rest", _today(client)))
    code, out = offerrank("reconcile", *common, "--redis-url", redis_url, "--repair")
    assert (code, "1 had another spent, by 0.000007 EUR in all" in out) == (0, True), out
    assert client.hget(KEYS.budget("alpha-rest", _today(client)), "limit") == "5000000"
    assert client.scard(KEYS.verified) == 1
    client.close()


def _today(client: "redis.Redis") -> int:
    return int(client.time()[0]) // MARKET.policy.day_length_s
