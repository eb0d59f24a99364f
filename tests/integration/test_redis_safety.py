"""A Redis that would lose money is not used, one that takes no writes is noticed, and after a fail-over the new one is found."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from open_market import let_in, open_market
from redis_servers import RedisServer, VirtualAddress
from redis_servers import redis_server as started_redis

from features.market import load_market
from serving.gateway.adapters.redis_link import RedisLink
from store import connect

from .test_gateway_faults import GOLDEN, MARKET, eventually, offers, running

REPOSITORY = Path(__file__).resolve().parents[2]
SELLS = ["gamma-trip", "alpha-shoes"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with started_redis(tmp_path / "redis", "--maxmemory-policy", "noeviction") as server:
        open_market(server.url, load_market(GOLDEN))
        yield server


@pytest.mark.parametrize("process", ["gateway", "pacer", "archiver"])
def test_no_process_starts_on_an_eviction_policy_that_may_lose_money(process, server, tmp_path):
    server.client().config_set("maxmemory-policy", "allkeys-lru")
    command = [sys.executable, "-m", "offerrank", process, "--market", str(GOLDEN), "--redis-url", server.url]
    command += ["--log-dir", str(tmp_path / "log")] if process == "archiver" else []
    environment = {"OFFERRANK_SECRET": "a secret of tests", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "INFO" not in line]
    assert line == (
        f"offerrank: no money is put into {server.url}: its maxmemory-policy is allkeys-lru, "
        "which may evict budgets and events: set it to noeviction"
    )


def test_one_that_comes_later_or_changes_its_policy_is_used_for_nothing_until_it_is_right(server):
    control = server.client()

    async def scenario() -> None:
        async with running(server.url) as client:
            assert offers(await client.decide_until(lambda a: not a["degraded"])) == SELLS
            control.config_set("maxmemory-policy", "volatile-ttl")
            control.client_kill_filter(_type="normal", skipme=True)
            assert offers(await client.decide_until(lambda a: "budgets" in a["degraded"])) == ["house-club"]
            await eventually(client.is_not_ready)
            control.config_set("maxmemory-policy", "noeviction")
            assert offers(await client.decide_until(lambda a: not a["degraded"])) == SELLS
            await eventually(client.is_ready)

    asyncio.run(scenario())


def test_a_policy_changed_under_a_connection_is_found_by_looking(server):
    control = server.client()

    async def scenario() -> None:
        link = RedisLink(server.url)
        try:
            await link.pipeline(lambda pipe: pipe.ping(), 1.0)
            control.config_set("maxmemory-policy", "allkeys-lfu")
            await link.inspect(1.0)
            with pytest.raises(Exception, match="maxmemory-policy is allkeys-lfu"):
                await link.pipeline(lambda pipe: pipe.ping(), 1.0)
        finally:
            await link.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("break_it", "mend_it"),
    [
        (lambda c: c.config_set("maxmemory", 1), lambda c: c.config_set("maxmemory", 0)),
        (lambda c: c.config_set("min-replicas-to-write", 1), lambda c: c.config_set("min-replicas-to-write", 0)),
        (lambda c: c.replicaof("127.0.0.1", "1"), lambda c: c.replicaof("no", "one")),
    ],
    ids=["full", "without its replicas", "a replica"],
)
def test_a_redis_that_answers_but_takes_no_writes_is_not_ready(
    server, break_it: Callable[[Any], Any], mend_it: Callable[[Any], Any]
):
    control = server.client()

    async def scenario() -> None:
        async with running(server.url) as client:
            await eventually(client.is_ready)
            break_it(control)
            control.ping()
            await eventually(client.is_not_ready)
            assert (await client.decide())["placements"][0]["offers"]  # those without a budget
            mend_it(control)
            await eventually(client.is_ready)
            await client.decide_until(lambda a: not a["degraded"])

    asyncio.run(scenario())


def test_after_a_fail_over_at_the_same_address_the_new_master_is_found(server, tmp_path):
    """As behind a service address or a proxy: connections to the old master live on, and it is a replica now."""
    with started_redis(tmp_path / "second", "--replicaof", server.host, str(server.port)) as second:
        address, old, new = VirtualAddress(server.port), server.client(), second.client()
        deadline = time.monotonic() + 20
        while new.info("replication")["master_link_status"] != "up":
            assert time.monotonic() < deadline
            time.sleep(0.05)

        async def scenario() -> None:
            async with running(address.url) as client:
                assert offers(await client.decide_until(lambda a: not a["degraded"])) == SELLS
                token = (await client.decide())["placements"][0]["offers"][1]["token"]
                new.replicaof("no", "one")
                let_in(new, MARKET.name)
                address.leads_to = second.port
                old.replicaof(second.host, str(second.port))
                await client.decide_until(lambda a: "budgets" in a["degraded"])
                assert offers(await client.decide_until(lambda a: not a["degraded"])) == SELLS
                assert (await client.http.get(f"/v1/c/{token}")).status_code == 302
                await eventually(lambda: "click" in str(new.xrange(f"or:{{{MARKET.name}:{partition()}}}:events")))

        try:
            asyncio.run(scenario())
        finally:
            address.close()


def partition() -> int:
    from domain.keys import partition_of

    return partition_of("alpha-spring")


PASSWORD = "pa#ss/w@rd?: %"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_special_characters_in_passwords_and_ipv6_addresses_work_for_threads_and_event_loops(host, tmp_path):
    if host == "::1" and not _has_ipv6():
        pytest.skip("no IPv6 here")
    with started_redis(tmp_path / "redis", host=host, password=PASSWORD) as server:
        shown = f"[{host}]" if ":" in host else host
        url = f"redis://:{PASSWORD}@{shown}:{server.port}/0"
        with connect(url, 5) as client:
            assert client.ping()
        with pytest.raises(redis.AuthenticationError), connect(url.replace("pa#", "pa"), 5) as client:
            client.ping()

        async def ask() -> list[Any]:
            link = RedisLink(url)
            try:
                return await link.pipeline(lambda pipe: pipe.ping(), 5.0)
            finally:
                await link.close()

        assert asyncio.run(ask()) == [True]


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
