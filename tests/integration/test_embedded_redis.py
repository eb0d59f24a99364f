"""The Redis that comes along: it is ours, it keeps its data, and a taken port is an error."""

from pathlib import Path

import pytest
import redis

from domain.errors import Unavailable
from serving.embedded_redis import EmbeddedRedis


def test_a_killed_server_has_its_data_when_it_starts_again(own_redis: EmbeddedRedis) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.set("spent", 41)
        client.incr("spent")
    own_redis.kill()
    own_redis.start()
    with redis.Redis.from_url(own_redis.url) as client:
        assert client.get("spent") == b"42"


def test_another_server_on_the_port_is_not_taken_for_ours(own_redis: EmbeddedRedis, tmp_path: Path) -> None:
    second = EmbeddedRedis(tmp_path / "second", own_redis.port)
    with pytest.raises(Unavailable, match="did not start on port"):
        second.start()
    assert second.process is None


def test_databases_are_loaded_before_it_counts_as_started(own_redis: EmbeddedRedis) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        pipe = client.pipeline(transaction=False)
        for i in range(20_000):
            pipe.set(f"key:{i}", "x" * 100)
        pipe.execute()
    own_redis.stop()
    own_redis.start()
    with redis.Redis.from_url(own_redis.url) as client:
        assert client.dbsize() == 20_000
