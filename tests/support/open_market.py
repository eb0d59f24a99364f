"""What a gateway needs beside it: budgets that are opened, in a Redis whose money is known to be right."""

import contextlib
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from domain.clock import budget_day, now_ms
from domain.keys import Keys
from features.market import Market, load_market
from serving.budget_days import open_days
from serving.pacer import PacerSettings, pace
from serving.repair.servers import run_ids, verify
from store import connect


def let_in(client: "redis.Redis", market: str) -> None:
    """Says that the money of this Redis is right."""
    verify(client, Keys(market), run_ids(client))


def begin_archive(log_dir: Path, market: str) -> Path:
    """What an archiver does first; the folder."""
    log_dir.mkdir(parents=True, exist_ok=True)
    (log_dir / "archiver.lock").write_text(json.dumps({"market": market}))
    return log_dir


def open_market(redis_url: str, market: Market) -> None:
    """What a pacer does first, for tests that run none."""
    with connect(redis_url, 5, decode_responses=True) as client:
        today = budget_day(now_ms(), market.policy.day_length_s)
        open_days(client, market, (today, today + 1))
        let_in(client, market.name)


def _wait_until_open(redis_url: str) -> None:
    """Returns at once where Redis is away."""
    deadline = time.monotonic() + 10
    with connect(redis_url, 5) as client, contextlib.suppress(redis.ConnectionError):
        while not list(client.scan_iter(match="or:*:snapshot")):
            assert time.monotonic() < deadline, "the pacer opens nothing"
            time.sleep(0.01)


@contextmanager
def paced(redis_url: str, market: Path, **settings: Any) -> Iterator[None]:
    """A pacer beside the test, which opens budgets and lets a restarted Redis in again."""
    stop = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        log_dir = begin_archive(Path(folder), load_market(market).name)
        pacing = PacerSettings(
            **{"market": market, "redis_url": redis_url, "pacer_interval_s": 0.1, "log_dir": log_dir} | settings
        )
        thread = threading.Thread(target=pace, args=(pacing, stop))
        thread.start()
        try:
            _wait_until_open(redis_url)
            yield
        finally:
            stop.set()
            thread.join()
