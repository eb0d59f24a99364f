"""Gateway, pacer and archiver on a Redis Cluster of three masters, and behind Sentinels: money is right, and fail-overs end."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import redis
from redis_cluster import Cluster, redis_cluster, wait_until, watched_redis

from domain.clock import budget_day, now_ms
from domain.keys import PARTITIONS, Keys, partition_of
from serving.archiver import ArchiverSettings
from serving.archiver.process import archive
from serving.gateway.adapters.redis_link import RedisLink, ScriptCall
from store import Address, connect, forget_connections, infos

from .test_gateway_faults import GOLDEN, MARKET, Client, eventually, offers, running

KEYS = Keys(MARKET.name)


def sells(answer: dict[str, Any]) -> bool:
    """Whether offers with a budget are shown."""
    return not answer["degraded"] and bool({*offers(answer)} - {"house-club"})


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes


@contextmanager
def archived(url: str, log_dir: Path) -> Iterator[None]:
    stop = threading.Event()
    settings = ArchiverSettings(market=GOLDEN, redis_url=url, log_dir=log_dir, archive_interval_s=0.2)
    thread = threading.Thread(target=archive, args=(settings, stop))
    thread.start()
    yield
    stop.set()
    thread.join()


async def sell_and_click(client: Client, pages: int) -> int:
    """So many pages, side by side, all offers of which are seen and clicked; how many offers."""

    async def page() -> int:
        tokens = [o["token"] for o in (await client.decide())["placements"][0]["offers"]]
        for token in tokens:
            for kind in ("impression", "click"):
                assert (await client.report(kind, token)).status_code == 200
        return len(tokens)

    return sum(await asyncio.gather(*(page() for _ in range(pages))))


def spent_by_entries(client: "redis.RedisCluster", campaign: str) -> int:
    entries = client.xrange(KEYS.events(partition_of(campaign)))
    return sum(int(e["charged_micros"]) for _, e in entries if e["campaign_id"] == campaign)


def test_a_page_is_sold_and_settled_over_three_masters_and_archived(cluster, tmp_path):
    async def scenario() -> int:
        async with running(cluster.url) as client:
            await client.decide_until(sells)
            shown = await sell_and_click(client, 20)
            await eventually(client.is_ready)
            return shown

    with archived(cluster.url, tmp_path / "log"):
        shown = asyncio.run(scenario())
    with cluster.client(decode_responses=True) as client:
        servers = {client.get_node_from_key(KEYS.events(p)).name for p in range(PARTITIONS)}
        assert len(servers) == 3
        day = budget_day(now_ms(), MARKET.policy.day_length_s)
        for campaign in MARKET.campaigns:
            budget = client.hgetall(KEYS.budget(campaign.id, day))
            assert int(budget.get("spent", 0)) == spent_by_entries(client, campaign.id)
            held = sum(int(v) for f, v in budget.items() if f.startswith("h:"))
            assert int(budget.get("held", 0)) == held
            assert campaign.daily_budget_micros is None or int(budget.get("spent", 0)) + held <= campaign.daily_budget_micros
    kinds = [row for path in sorted((tmp_path / "log").rglob("*.parquet")) if "events" in str(path) for row in types(path)]
    assert (kinds.count("impression"), kinds.count("click")) == (shown, shown)


def types(path: Path) -> list[str]:
    return pq.ParquetFile(path).read(columns=["type"])["type"].to_pylist()


@pytest.fixture
def link(cluster: Cluster) -> Iterator[Any]:
    """Calls of a RedisLink, without await."""
    loop = asyncio.new_event_loop()
    opened = RedisLink(cluster.url)

    class Link:
        def run(self, calls: list[ScriptCall]) -> list[Any]:
            return loop.run_until_complete(opened.run(calls, 5.0))

        def pipeline(self, fill: Any) -> list[Any]:
            return loop.run_until_complete(opened.pipeline(fill, 5.0))

    yield Link()
    loop.run_until_complete(opened.close())
    loop.close()


def lead(i: int) -> ScriptCall:
    return ScriptCall("lead", [f"or:{{tag{i}}}:pacer"], [f"p{i}", 60_000])


def test_scripts_go_to_the_node_of_their_keys_and_are_loaded_where_they_are_unknown(cluster, link):
    with cluster.client() as client:
        client.script_flush()
    assert link.run([lead(i) for i in range(30)]) == [1] * 30
    with cluster.client(decode_responses=True) as client:
        assert [client.get(f"or:{{tag{i}}}:pacer") for i in range(30)] == [f"p{i}" for i in range(30)]
        assert len({client.get_node_from_key(f"or:{{tag{i}}}:pacer").name for i in range(30)}) == 3


def test_a_pipeline_over_nodes_answers_in_order_and_what_has_no_key_goes_with_the_rest(link):
    link.pipeline(lambda pipe: [pipe.set(f"key{i}", i) for i in range(50)])
    assert link.pipeline(lambda pipe: [pipe.get(f"key{i}") for i in range(50)]) == [str(i).encode() for i in range(50)]
    (seconds, _), value = link.pipeline(lambda pipe: pipe.time().get("key7"))
    assert (abs(seconds - now_ms() // 1000) <= 2, value) == (True, b"7")


def test_a_slot_that_moves_is_followed_with_its_scripts(cluster, link):
    assert link.run([lead(99)]) == [1]
    with cluster.client() as client:
        key = "or:{tag99}:pacer"
        slot, source = client.keyslot(key), client.get_node_from_key(key)
        target = next(n for n in client.get_primaries() if n.name != source.name)
        ours, theirs = (client.get_redis_connection(n) for n in (source, target))
        names = [c.execute_command("CLUSTER MYID") for c in (ours, theirs)]
        theirs.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names[0])
        ours.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names[1])
        ours.execute_command("MIGRATE", target.host, target.port, "", 0, 5000, "KEYS", key)
        for node in (theirs, ours):
            node.execute_command("CLUSTER SETSLOT", slot, "NODE", names[1])
        theirs.script_flush()
    assert link.run([lead(99)]) == [2]  # it leads already
    assert link.pipeline(lambda pipe: pipe.get(key)) == [b"p99"]


def test_a_client_for_threads_reads_all_masters_and_outlives_their_connections(cluster):
    with connect(cluster.url, 5, for_money=True, decode_responses=True) as client:
        assert len(infos(client)) == 3
        client.set("thread", "1")
        forget_connections(client)
        assert client.get("thread") == "1"
    assert str(Address.parse(cluster.url)) == cluster.url


def test_a_master_of_the_cluster_that_dies_is_replaced_and_sold_through_again(tmp_path):
    with redis_cluster(tmp_path, replicated=True) as nodes:
        with nodes.client() as client:
            owner = client.get_node_from_key(KEYS.holds(partition_of("alpha-spring"))).port

        async def scenario() -> None:
            async with running(nodes.url) as client:
                await client.decide_until(sells)
                next(m for m in nodes.masters if m.port == owner).stop()
                await client.decide_until(lambda a: "budgets" in a["degraded"])
                await client.decide_until(sells)
                assert await sell_and_click(client, 3)

        asyncio.run(scenario())


def test_behind_sentinels_the_new_master_is_found_and_holds_what_the_old_one_was_told(tmp_path):
    with watched_redis(tmp_path) as watched:

        async def scenario() -> None:
            async with running(watched.url) as client:
                await client.decide_until(sells)
                before = await sell_and_click(client, 5)
                with watched.master.client() as old, watched.replica.client() as new:
                    written = old.info("replication")["master_repl_offset"]
                    wait_until(lambda: new.info("replication")["slave_repl_offset"] >= written)
                watched.master.stop()
                await client.decide_until(lambda a: "budgets" in a["degraded"])
                await asyncio.to_thread(wait_until, watched.promoted)
                await client.decide_until(sells)
                after = await sell_and_click(client, 5)
                with watched.replica.client() as new:
                    entries = [e for p in range(PARTITIONS) for _, e in new.xrange(KEYS.events(p))]
                assert sum(e["type"] == "click" for e in entries) == before + after

        asyncio.run(scenario())


def test_processes_say_in_one_line_that_there_is_no_cluster(tmp_path):
    from domain.errors import Unavailable
    from serving.pacer import PacerSettings, pace

    settings = PacerSettings(market=GOLDEN, redis_url="redis+cluster://127.0.0.1:1,127.0.0.1:2", log_dir=tmp_path)
    with pytest.raises(Unavailable, match=r"^redis: redis\+cluster://127\.0\.0\.1:1,127\.0\.0\.1:2: "):
        pace(settings, threading.Event())


def test_a_gateway_waits_for_a_cluster_that_is_not_there_yet(tmp_path):
    async def scenario() -> None:
        link = RedisLink("redis+cluster://127.0.0.1:1,127.0.0.1:2")
        with pytest.raises(Exception, match="no node of redis"):
            await link.pipeline(lambda pipe: pipe.get("x"), 2.0)
        await link.close()

    asyncio.run(scenario())
