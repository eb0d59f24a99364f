"""What a gateway needs beside it: budgets that are opened, in a Redis whose money is known to be right."""

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from domain.clock import budget_day, now_ms
from features.market import Market
from serving.budget_days import open_days, verify
from serving.pacer import PacerSettings, pace


def open_market(redis_url: str, market: Market) -> None:
    """What a pacer does first, for tests that run none."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        today = budget_day(now_ms(), market.policy.day_length_s)
        open_days(client, market, (today, today + 1))
        verify(client, market)


def _wait_until_open(redis_url: str) -> None:
    """Returns at once where Redis is away."""
    deadline = time.monotonic() + 10
    with redis.Redis.from_url(redis_url) as client, contextlib.suppress(redis.ConnectionError):
        while not list(client.scan_iter(match="or:*:snapshot")):
            assert time.monotonic() < deadline, "the pacer opens nothing"
            time.sleep(0.01)


@contextmanager
def paced(redis_url: str, market: Path) -> Iterator[None]:
    """A pacer beside the test, which opens budgets and lets a restarted Redis in again."""
    stop = threading.Event()
    settings = PacerSettings(market=market, redis_url=redis_url, pacer_interval_s=0.1)
    thread = threading.Thread(target=pace, args=(settings, stop))
    thread.start()
    try:
        _wait_until_open(redis_url)
        yield
    finally:
        stop.set()
        thread.join()
