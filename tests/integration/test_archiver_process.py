"""The archiver as a process against a real Redis: every entry in the archive once, whatever happens in between."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
import redis
from log_entries import MARKET_TOML, decision, decision_fields, event_fields, slot

from domain.clock import now_ms
from domain.keys import PARTITIONS, Keys
from features.log_archive import Archived, StreamId, archived, parts, read_log
from features.log_schema import decision_schema, event_schema
from features.market import load_market
from serving.archiver.files import write_part
from serving.archiver.rows import log_formats
from serving.archiver.stream import LogArchiver
from serving.embedded_redis import EmbeddedRedis

KEYS = Keys("corner")
Id = tuple[int, str]
"""Stream and id."""
STREAMS = {"decisions": [KEYS.decisions], "events": [KEYS.events(p) for p in range(PARTITIONS)]}


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

    def ids(self, log: str) -> list[Id]:
        schema = event_schema() if log == "events" else decision_schema(load_market(self.market))
        rows = read_log(self.log_dir, log, schema)
        streams = rows["partition"].to_pylist() if log == "events" else [0] * len(rows)
        rejected = [(line["stream"], line["id"]) for line in map(orjson.loads, self.rejected(log))]
        return list(zip(streams, rows["stream_id"].to_pylist(), strict=True)) + rejected

    def has(self, log: str, ids: list[Id]) -> bool:
        """Whether the archive reaches as far as these entries."""
        found = archived(self.log_dir, log)
        return all(StreamId.parse(entry) <= found.to(stream) for stream, entry in ids)

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


def add(client: "redis.Redis", n: int) -> tuple[list[Id], list[Id]]:
    """One decision, and its impression in some partition, n times; every 50th entry of either log is malformed."""
    decisions, events = [], []
    for i in range(n):
        fields = decision_fields(decision(f"d{i}", 5_000, slot(f"i{i}")))
        decisions.append((0, client.xadd(KEYS.decisions, {b"d": b"{broken"} if i % 50 == 7 else fields).decode()))
        event = event_fields("impression", f"i{i}", f"d{i}", 5_000) | ({b"type": b"stare"} if i % 50 == 9 else {})
        partition = i * i % PARTITIONS  # 0, 1, 4 and 9: some have many, most have none
        events.append((partition, client.xadd(KEYS.events(partition), event).decode()))
    return decisions, events


def test_each_entry_is_archived_once_over_repeated_kills(archiver: Archiver, redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    added: tuple[list[Id], list[Id]] = ([], [])
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
    eventually(lambda: archiver.has("events", added[1]), "all events archived")
    assert archiver.end() == 0
    for log, expected in zip(("decisions", "events"), added, strict=True):
        assert sorted(archiver.ids(log)) == sorted(expected)
        numbers = [p.number for p in parts(archiver.log_dir, log)]
        assert numbers == [*range(1, len(numbers) + 1)]
        assert len(archiver.rejected(log)) == len(expected) // 50
        assert [client.xlen(key) for key in STREAMS[log]] == [0] * len(STREAMS[log])
    assert not list(archiver.log_dir.glob("**/*.tmp"))


def test_a_flush_writes_one_file_however_many_partitions_have_events(archiver: Archiver, redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    for p in range(PARTITIONS):
        client.xadd(KEYS.events(p), event_fields("impression", f"i{p}", "d", 5_000), id=f"{1_700_000_000_000 + p}-0")
    archiver.start(archive_interval_s=3600)
    eventually(lambda: b"archiving corner" in archiver.output.read_bytes(), "started")
    assert archiver.end() == 0
    (part,) = parts(archiver.log_dir, "events")
    assert (part.number, part.first_ms, part.last_ms) == (1, 1_700_000_000_000, 1_700_000_000_015)
    found = archived(archiver.log_dir, "events")
    assert found.last == {p: StreamId(1_700_000_000_000 + p, 0) for p in range(PARTITIONS)}
    # All streams were read to their ends just now: the log is complete well beyond its last entry.
    assert now_ms() - found.complete_ms < 600_000


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
    beat = {name.decode(): value.decode() for name, value in client.hgetall(KEYS.archiver).items()}
    assert (beat["decisions"], beat["rejected"], beat["fault"]) == (decisions[-1][1], "4", "")
    assert {f"events:{p}": beat[f"events:{p}"] for p, _ in events} == {f"events:{p}": entry for p, entry in events}
    assert beat["events:15"] == "0-0"


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
    assert archiver.ids("decisions") == [(0, entry) for entry in (*old, fresh)]
    # 1_700_000_000 is 2023-11-14 22:13:20 UTC: one part per hour of log time.
    hours = [p.path.parent.name for p in parts(archiver.log_dir, "decisions")]
    assert hours[:3] == ["hour=2023-11-14T22", "hour=2023-11-14T23", "hour=2023-11-15T00"]
    assert len(hours) == 4
    assert pq.read_table(parts(archiver.log_dir, "decisions")[0].path).schema.names[0] == "stream_id"


def test_a_flush_that_failed_is_no_beat(archiver: Archiver, redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    decisions, events = add(client, 20)
    archiver.log_dir.mkdir()
    in_the_way = archiver.log_dir / "events"  # where the folder of that name should be: nothing can be written there
    in_the_way.touch()
    archiver.start(archive_retention_s=0)
    eventually(lambda: client.hget(KEYS.archiver, "fault"), "the fault is told")
    said = client.hgetall(KEYS.archiver)
    assert b"beat_ms" not in said
    assert said[b"fault"].startswith(b"events: ")
    # What could not be written stays in Redis, the other log goes on.
    eventually(lambda: archiver.has("decisions", decisions), "decisions archived")
    assert sum(client.xlen(key) for key in STREAMS["events"]) == 20
    in_the_way.unlink()
    eventually(lambda: client.hget(KEYS.archiver, "beat_ms"), "a beat")
    assert client.hget(KEYS.archiver, "fault") == b""
    assert archiver.end() == 0
    assert sorted(archiver.ids("events")) == sorted(events)


def test_a_fault_between_two_hours_of_a_flush_loses_and_doubles_nothing(redis_url: str, tmp_path: Path) -> None:
    client = redis.Redis.from_url(redis_url)
    begun_ms = 1_700_002_800_000 - 60_000  # a minute before a full hour
    added = [(p, f"{begun_ms + minute * 60_000 + p}-0") for minute in range(3) for p in (2, 11)]
    for p, entry in added:
        client.xadd(KEYS.events(p), event_fields("impression", "i", "d", 5_000), id=entry)
    (tmp_path / "market.toml").write_text(MARKET_TOML)
    log, _ = log_formats(load_market(tmp_path / "market.toml"))
    next_hour = tmp_path / "log" / "events" / "hour=2023-11-14T23"
    next_hour.parent.mkdir(parents=True)
    next_hour.touch()
    first = LogArchiver(client, STREAMS["events"], log, tmp_path / "log", 1000)
    first.read()
    with pytest.raises(FileExistsError):
        first.flush()
    assert first.archived.last == {p: StreamId(begun_ms + p, 0) for p in (2, 11)}
    # Partition 2's first entry of the next hour waits: no later time is complete.
    assert first.archived.complete_ms == begun_ms + 60_000 + 2
    next_hour.unlink()
    first.flush()  # the same process tries again...
    second = LogArchiver(client, STREAMS["events"], log, tmp_path / "log", 1000)  # ... and another finds nothing to do
    second.read()
    assert second.waiting == 0
    rows = read_log(tmp_path / "log", "events", log.schema)
    assert sorted(zip(rows["partition"].to_pylist(), rows["stream_id"].to_pylist(), strict=True)) == sorted(added)


def test_it_outlives_redis(own_redis: EmbeddedRedis, tmp_path: Path) -> None:
    made = Archiver(own_redis.url, tmp_path)
    process = made.start(archive_interval_s=0.1)
    first, _ = add(redis.Redis.from_url(own_redis.url), 10)
    eventually(lambda: made.has("decisions", first), "the first ten")
    own_redis.stop()
    eventually(lambda: b"Redis is away" in made.output.read_bytes(), "noticed")
    assert process.poll() is None
    own_redis.start()
    second, _ = add(redis.Redis.from_url(own_redis.url), 10)
    eventually(lambda: made.has("decisions", second), "the second ten")
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
    # Partition 5 of the archive ends in the year 2100, and its stream starts anew today.
    far = StreamId(4_102_444_800_000, 0)
    events, _ = log_formats(load_market(archiver.market))
    write_part(archiver.log_dir, "events", events.table([])[0], [], far, far, Archived(1, {5: far}, far.ms))
    redis.Redis.from_url(redis_url).xadd(KEYS.events(5), event_fields("impression", "i", "d", 5_000))
    assert archiver.start().wait(60) == 1
    said = archiver.output.read_bytes()
    assert b"the archive ends at 4102444800000-0, but the stream or:{corner:5}:events ends at" in said
