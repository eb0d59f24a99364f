"""Which Redis servers may keep money."""

import pytest

from store import parse_info, unsafe

FINE = {"redis_version": "7.4.6", "maxmemory_policy": "noeviction"}


@pytest.mark.parametrize("version", ["6.2.0", "6.2.14", "7.0.0", "7.4.6", "8.2", "10.0.1"])
def test_6_2_and_newer_are_fine(version):
    assert unsafe(FINE | {"redis_version": version}) is None


@pytest.mark.parametrize("version", ["6.0.16", "5.0", "2.8.24", "unknown", ""])
def test_older_ones_are_not(version):
    assert unsafe(FINE | {"redis_version": version}) == f"its version is {version}, expected 6.2 or newer"


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-ttl"])
def test_no_policy_may_evict_money(policy):
    problem = unsafe(FINE | {"maxmemory_policy": policy})
    assert problem is not None
    assert problem.startswith(f"its maxmemory-policy is {policy}, which may evict budgets")


def test_a_server_that_knows_no_such_policy_evicts_nothing():
    assert unsafe({"redis_version": "7.2.4"}) is None


def test_info_as_it_comes():
    text = b"# Server\r\nredis_version:6.2.14\r\nexecutable:/a:b\r\n\r\n# Memory\r\nmaxmemory_policy:noeviction\r\nempty:\r\n"
    assert parse_info(text) == {"redis_version": "6.2.14", "executable": "/a:b", "maxmemory_policy": "noeviction"}
