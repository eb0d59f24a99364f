"""The log on a Redis Cluster of three servers: its seventeen streams lie on all of them, and no command touches two."""

import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from log_entries import MARKET_TOML, decision, decision_fields, event_fields, slot
from redis_cluster import redis_cluster

from domain.clock import now_ms
from domain.keys import PARTITIONS, Keys
from features.log_archive import archived, read_log
from features.market import parse_market
from monitoring.dashboard.board import Board
from monitoring.dashboard.storage_light import ArchiveState, RedisMemory
from monitoring.dashboard.tail import Tail
from serving.archiver.rows import log_formats
from serving.archiver.stream import LogArchiver

KEYS = Keys("corner")
STREAMS = {"events": [KEYS.events(p) for p in range(PARTITIONS)], "decisions": [KEYS.decisions]}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator["redis.RedisCluster"]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as cluster, cluster.client() as client:
        yield client


def test_all_partitions_are_archived_once_and_trimmed(cluster: "redis.RedisCluster", tmp_path: Path) -> None:
    servers = {cluster.get_node_from_key(key).name for key in (*STREAMS["events"], KEYS.decisions)}
    assert len(servers) == 3
    added = [(p, cluster.xadd(KEYS.events(p), event_fields("impression", f"i{p}", "d", 5)).decode()) for p in range(PARTITIONS)]
    cluster.xadd(KEYS.decisions, decision_fields(decision("d", 5, slot("i1"))))

    board = Board(5, 300)
    tail = Tail(cluster, KEYS, board, threading.Lock(), 3600)
    tail._start_at_window()
    assert tail._step() == PARTITIONS + 1
    assert (board.total.decisions, board.total.impressions) == (1, PARTITIONS)
    assert ArchiveState.read(cluster, KEYS, now_ms() + 300_000).lag_s >= 300
    memory = RedisMemory.read(cluster, KEYS)
    assert memory.used_bytes > 0
    assert all(size > 0 for size in memory.stream_bytes.values())

    for log in log_formats(parse_market(tomllib.loads(MARKET_TOML))):
        for _ in range(2):  # the second finds nothing to do
            archiver = LogArchiver(cluster, STREAMS[log.name], log, tmp_path, 1000)
            archiver.check()
            archiver.read()
            archiver.flush()
            archiver.trim(0)
        assert archived(tmp_path, log.name).number == 1
        assert [cluster.xlen(key) for key in STREAMS[log.name]] == [0] * len(STREAMS[log.name])
        rows = read_log(tmp_path, log.name, log.schema)
        if log.name == "events":
            assert sorted(zip(rows["partition"].to_pylist(), rows["stream_id"].to_pylist(), strict=True)) == added
