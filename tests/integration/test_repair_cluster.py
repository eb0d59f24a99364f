"""Books, reconciliation and repair on a Redis Cluster of three servers, one of which loses everything."""

from pathlib import Path

import redis
from log_entries import MARKET_TOML, event_fields
from open_market import begin_archive
from redis_cluster import redis_cluster

from domain.keys import PARTITIONS, Keys, partition_of
from features.log_archive import EVENTS
from features.market import load_market
from serving.archiver.rows import log_formats
from serving.archiver.stream import LogArchiver
from serving.ledger.keeper import LedgerKeeper
from serving.ledger.reconcile import reconcile_now
from serving.repair.opening import Opening
from serving.repair.servers import run_ids, verified

KEYS = Keys("corner")
OFFER = {"tea": "green", "wine": "red", "own": "card"}


def charge(cluster: "redis.RedisCluster", campaign: str, day: int, micros: int, impression: str) -> None:
    entry = event_fields("click", impression, "d", day * 86_400_000, OFFER[campaign], charged_micros=micros, status="settled")
    cluster.xadd(KEYS.events(partition_of(campaign)), entry)
    cluster.hincrby(KEYS.budget(campaign, day), "spent", micros)


def test_a_master_that_lost_everything_gets_its_money_back_and_the_others_keep_theirs(tmp_path: Path) -> None:
    (tmp_path / "market.toml").write_text(MARKET_TOML)
    market, log_dir = load_market(tmp_path / "market.toml"), begin_archive(tmp_path / "log", "corner")
    with redis_cluster(tmp_path) as nodes, nodes.client(decode_responses=True) as cluster:
        today = int(cluster.time(target_nodes=cluster.get_primaries()[0])[0]) // 86_400
        opening = Opening(cluster, market, log_dir)
        assert opening.ready(dict.fromkeys(OFFER, today))
        assert verified(cluster, KEYS) == set(run_ids(cluster))
        assert len(run_ids(cluster)) == 3
        assert {partition_of(c) for c in OFFER} <= set(range(PARTITIONS))
        assert len({cluster.get_node_from_key(KEYS.events(partition_of(c))).name for c in OFFER}) > 1
        for i, campaign in enumerate(OFFER):
            charge(cluster, campaign, today, 1_000_000 + i, f"i{i}")
        with redis.RedisCluster("127.0.0.1", cluster.get_primaries()[0].port) as raw:
            (events,) = (f for f in log_formats(market) if f.name == EVENTS)
            archiver = LogArchiver(raw, [KEYS.events(p) for p in range(PARTITIONS)], events, log_dir, 1000)
            archiver.read()
            archiver.flush()
            keeper = LedgerKeeper(raw, market, log_dir)
            keeper.turn()
            keeper.close()
        assert cluster.hget(KEYS.ledger, "differences") == "0"
        charge(cluster, "tea", today, 7, "i9")
        loser = cluster.get_node_from_key(KEYS.events(partition_of("wine")))
        cluster.flushall(target_nodes=loser)
        cluster.delete(KEYS.verified)
        found = reconcile_now(cluster, market, log_dir)
        assert "wine" in {a.campaign for a in found.differences}
        assert opening.ready(dict.fromkeys(OFFER, today))
        assert cluster.hget(KEYS.budget("wine", today), "spent") == "1000001"
        assert cluster.hget(KEYS.budget("tea", today), "limit") == "100000000"
        assert cluster.hget(KEYS.impression("wine", "i1"), "click") == "1000001"
        lost_tail = 7 if cluster.get_node_from_key(KEYS.events(partition_of("tea"))).name == loser.name else 0
        assert cluster.hget(KEYS.budget("tea", today), "spent") == str(1_000_007 - lost_tail)
        assert reconcile_now(cluster, market, log_dir).differences == ()
