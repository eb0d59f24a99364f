"""A Redis Cluster on this machine, and a server with a replica that Sentinels watch."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis_servers import PATIENCE_S, RedisServer, redis_server

SLOTS = 16_384
NODE_TIMEOUT_MS = 1000
"""After so long a master that is silent is replaced, here; 15 s by default."""


@dataclass(frozen=True)
class Cluster:
    """`masters[i]` has the i-th part of the slots, and `replicas[i]`, if there are any, follows it."""

    masters: list[RedisServer]
    replicas: list[RedisServer]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"{s.host}:{s.port}" for s in self.masters)

    def client(self, **options: Any) -> "redis.RedisCluster":
        first = self.masters[0]
        return redis.RedisCluster(first.host, first.port, **options)


@contextmanager
def redis_cluster(directory: Path, masters: int = 3, replicated: bool = False) -> Iterator[Cluster]:
    """Nodes that meet, share the slots, and answer for all of them when this returns."""
    arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS)]
    with ExitStack() as stack:
        count = masters * (2 if replicated else 1)
        nodes = [stack.enter_context(redis_server(directory / str(i), *arguments)) for i in range(count)]
        clients = [stack.enter_context(node.client()) for node in nodes]
        for node in nodes[1:]:
            clients[0].execute_command("CLUSTER MEET", node.host, node.port)
        for i in range(masters):
            slots = range(SLOTS * i // masters, SLOTS * (i + 1) // masters)
            clients[i].execute_command("CLUSTER ADDSLOTS", *slots)
        wait_until(lambda: all(int(c.cluster("INFO")["cluster_known_nodes"]) == count for c in clients))
        names = [c.execute_command("CLUSTER MYID") for c in clients]
        for i in range(masters, count):
            wait_until(lambda i=i: names[i - masters] in str(clients[i].cluster("NODES")))
            clients[i].execute_command("CLUSTER REPLICATE", names[i - masters])
        wait_until(lambda: all(c.cluster("INFO")["cluster_state"] == "ok" for c in clients))
        wait_until(lambda: all(c.info("replication")["master_link_status"] == "up" for c in clients[masters:]))
        yield Cluster(nodes[:masters], nodes[masters:])


@dataclass(frozen=True)
class Watched:
    """A master and its replica behind Sentinels."""

    name: str
    master: RedisServer
    replica: RedisServer
    sentinels: list[RedisServer]

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'{s.host}:{s.port}' for s in self.sentinels)}/{self.name}"

    def promoted(self) -> bool:
        """Whether all Sentinels name the replica."""
        with ExitStack() as stack:
            clients = [stack.enter_context(s.client()) for s in self.sentinels]
            return all(c.sentinel_get_master_addr_by_name(self.name)[1] == self.replica.port for c in clients)


@contextmanager
def watched_redis(directory: Path, sentinels: int = 3) -> Iterator[Watched]:
    """Sentinels that give up on a master after a second of silence."""
    with ExitStack() as stack:
        master = stack.enter_context(redis_server(directory / "master"))
        replica = stack.enter_context(redis_server(directory / "replica", "--replicaof", master.host, str(master.port)))
        watching = []
        for i in range(sentinels):
            folder = directory / f"sentinel{i}"
            folder.mkdir(parents=True)
            lines = [
                f"sentinel monitor offers {master.host} {master.port} {sentinels // 2 + 1}",
                "sentinel down-after-milliseconds offers 1000",
                "sentinel failover-timeout offers 3000",
            ]
            (folder / "sentinel.conf").write_text("\n".join(lines) + "\n")
            watching.append(stack.enter_context(redis_server(folder, "--sentinel", config=folder / "sentinel.conf")))
        clients = [stack.enter_context(s.client()) for s in watching]
        wait_until(lambda: all(c.sentinel_masters()["offers"]["num-slaves"] == 1 for c in clients))
        wait_until(lambda: all(c.sentinel_masters()["offers"]["num-other-sentinels"] == sentinels - 1 for c in clients))
        yield Watched("offers", master, replica, watching)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
