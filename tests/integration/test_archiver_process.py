"""The archiver as a process against a real Redis: every entry in the archive once, whatever happens in between."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
import redis
from log_entries import MARKET_TOML, decision, decision_fields, event_fields, slot

from domain.keys import Keys
from features.log_archive import archived_to, parts, read_log
from features.log_schema import decision_schema, event_schema
from features.market import load_market
from serving.embedded_redis import EmbeddedRedis

KEYS = Keys("corner")


class Archiver:
    """Starts archivers on one log folder, one at a time, and ends what is left."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url, self.log_dir, self.market = url, directory / "log", directory / "market.toml"
        self.market.write_text(MARKET_TOML)
        self.output = directory / "archiver.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **settings: object) -> "subprocess.Popen[bytes]":
        chosen = {"market": self.market, "redis_url": self.url, "log_dir": self.log_dir, "archive_interval_s": 0.02} | settings
        env = os.environ | {f"OFFERRANK_{name.upper()}": str(value) for name, value in chosen.items()}
        with self.output.open("ab") as output:
            command = [sys.executable, "-m", "serving.archiver"]
            self.process = subprocess.Popen(command, env=env, stdout=output, stderr=output)
        return self.process

    def end(self, how: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(30)

    def ids(self, log: str) -> list[str]:
        schema = event_schema() if log == "events" else decision_schema(load_market(self.market))
        kept = read_log(self.log_dir, log, schema)["stream_id"].to_pylist()
        rejected = [orjson.loads(line)["id"] for line in self.rejected(log)]
        return kept + rejected

    def rejected(self, log: str) -> list[bytes]:
        return [line for p in (self.log_dir / "rejected" / log).glob("part-*.jsonl") for line in p.read_bytes().splitlines()]


@pytest.fixture
def archiver(redis_url: str, tmp_path: Path) -> Iterator[Archiver]:
    made = Archiver(redis_url, tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.end(signal.SIGKILL)


def eventually(true: Callable[[], object], what: str, within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.02)


def add(client: "redis.Redis", n: int) -> tuple[list[str], list[str]]:
    """One decision and its impression n times; every 50th entry of either log is malformed."""
    decisions, events = [], []
    for i in range(n):
        fields = decision_fields(decision(f"d{i}", 5_000, slot(f"i{i}")))
        decisions.append(client.xadd(KEYS.decisions, {b"d": b"{broken"} if i % 50 == 7 else fields))
        event = event_fields("impression", f"i{i}", f"d{i}", 5_000)
        events.append(client.xadd(KEYS.events, event | ({b"type": b"stare"} if i % 50 == 9 else {})))
    return [i.decode() for i in decisions], [i.decode() for i in events]


def test_each_entry_is_archived_once_over_repeated_kills(archiver: Archiver, redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    added: tuple[list[str], list[str]] = ([], [])
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            for ids, new in zip(added, add(client, 100), strict=True):
                ids.extend(new)
            time.sleep(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    rng = random.Random(7)
    try:
        for _ in range(4):
            files = len(parts(archiver.log_dir, "decisions"))
            # Nothing is retained, so that the stream is trimmed right behind the archive: what it lost is lost.
            archiver.start(archive_retention_s=0, archive_batch_rows=37)
            eventually(lambda before=files: len(parts(archiver.log_dir, "decisions")) > before + 2, "three new parts")
            time.sleep(rng.uniform(0, 0.2))
            archiver.end(signal.SIGKILL)
    finally:
        done.set()
        writer.join()
    archiver.start(archive_retention_s=0)
    eventually(lambda: str(archived_to(archiver.log_dir, "events")) == added[1][-1], "all events archived")
    assert archiver.end() == 0
    for log, expected in zip(("decisions", "events"), added, strict=True):
        assert sorted(archiver.ids(log)) == sorted(expected)
        ranges = [(p.first, p.last) for p in parts(archiver.log_dir, log)]
        assert all(a[1] < b[0] for a, b in pairwise(ranges))
        assert len(archiver.rejected(log)) == len(expected) // 50
        assert client.xlen(KEYS.decisions if log == "decisions" else KEYS.events) == 0
    assert not list(archiver.log_dir.glob("**/*.tmp"))


def test_sigterm_writes_what_was_not_due_yet(archiver: Archiver, redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    process = archiver.start(archive_interval_s=3600)
    eventually(lambda: b"archiving corner" in archiver.output.read_bytes(), "started")
    decisions, events = add(client, 60)
    assert process.poll() is None
    assert archiver.end() == 0
    assert sorted(archiver.ids("decisions")) == sorted(decisions)
    assert sorted(archiver.ids("events")) == sorted(events)
    # Within the retention nothing is trimmed, so readers of the tail lose nothing.
    assert client.xlen(KEYS.decisions) == 60
    beat = client.hgetall(KEYS.archiver)
    assert (beat[b"decisions"].decode(), beat[b"events"].decode(), beat[b"rejected"]) == (decisions[-1], events[-1], b"4")


def test_a_full_batch_is_written_before_the_interval_has_passed(archiver: Archiver, redis_url: str) -> None:
    add(redis.Redis.from_url(redis_url), 60)
    archiver.start(archive_interval_s=3600, archive_batch_rows=50)
    eventually(lambda: parts(archiver.log_dir, "decisions"), "a part")
    archiver.end()


def test_what_is_older_than_the_retention_is_trimmed_once_archived(archiver: Archiver, redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    good = decision_fields(decision("d", 5_000, slot("i")))
    old = [client.xadd(KEYS.decisions, good, id=f"{1_700_000_000_000 + hour * 3_600_000}-5").decode() for hour in range(3)]
    fresh = client.xadd(KEYS.decisions, good).decode()
    archiver.start()
    eventually(lambda: client.xlen(KEYS.decisions) == 1, "the old entries trimmed")
    archiver.end()
    assert client.xrange(KEYS.decisions)[0][0].decode() == fresh
    assert archiver.ids("decisions") == [*old, fresh]
    # 1_700_000_000 is 2023-11-14 22:13:20 UTC: one part per hour of log time.
    hours = [p.path.parent.name for p in parts(archiver.log_dir, "decisions")]
    assert hours[:3] == ["hour=2023-11-14T22", "hour=2023-11-14T23", "hour=2023-11-15T00"]
    assert len(hours) == 4
    assert pq.read_table(parts(archiver.log_dir, "decisions")[0].path).schema.names[0] == "stream_id"


def test_it_outlives_redis(own_redis: EmbeddedRedis, tmp_path: Path) -> None:
    made = Archiver(own_redis.url, tmp_path)
    process = made.start(archive_interval_s=0.1)
    first, _ = add(redis.Redis.from_url(own_redis.url), 10)
    eventually(lambda: str(archived_to(made.log_dir, "decisions")) == first[-1], "the first ten")
    own_redis.stop()
    eventually(lambda: b"Redis is away" in made.output.read_bytes(), "noticed")
    assert process.poll() is None
    own_redis.start()
    second, _ = add(redis.Redis.from_url(own_redis.url), 10)
    eventually(lambda: str(archived_to(made.log_dir, "decisions")) == second[-1], "the second ten")
    assert made.end() == 0
    assert sorted(made.ids("decisions")) == sorted(first + second)


def test_a_second_archiver_is_refused(archiver: Archiver, redis_url: str) -> None:
    archiver.start()
    eventually(lambda: b"archiving corner" in archiver.output.read_bytes(), "started")
    first = archiver.process
    assert archiver.start().wait(60) == 1
    assert b"another archiver is writing here" in archiver.output.read_bytes()
    archiver.process = first
    assert archiver.end() == 0


def test_a_redis_whose_clock_lies_before_the_archive_is_refused(archiver: Archiver, redis_url: str) -> None:
    # An archive that ends in the year 2100, and a stream that starts anew today.
    far = archiver.log_dir / "events" / "hour=2100-01-01T00" / "part-4102444800000-0-4102444800000-0.parquet"
    far.parent.mkdir(parents=True)
    far.touch()
    add(redis.Redis.from_url(redis_url), 1)
    assert archiver.start().wait(60) == 1
    assert b"the archive ends at 4102444800000-0, but the stream ends at" in archiver.output.read_bytes()
