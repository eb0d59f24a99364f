"""Which Redis servers there are, and which of them are known to have their money right."""

from collections.abc import Sequence

import redis

from domain.keys import Keys
from store import server_of


def run_ids(client: "redis.Redis") -> list[str]:
    """Names of the running servers, of a cluster its masters: a restart makes a new one, a fail-over shows another."""
    if not isinstance(client, redis.RedisCluster):
        return [str(client.info("server")["run_id"])]
    found = client.info("server", target_nodes=redis.RedisCluster.PRIMARIES)
    # Of a single node the answer comes by itself.
    return sorted(str(one["run_id"]) for one in ([found] if "run_id" in found else found.values()))


def verified(client: "redis.Redis", keys: Keys) -> set[str]:
    """Servers that have been reconciled. Empty where data was lost altogether, or there has never been any."""
    return {name if isinstance(name, str) else name.decode() for name in client.smembers(keys.verified)}


def verify(client: "redis.Redis", keys: Keys, servers: Sequence[str]) -> None:
    """Says that the money of these servers is right, and no other's: one that was demoted meanwhile may have lost some."""
    with server_of(client, keys.verified).pipeline(transaction=True) as pipe:
        pipe.delete(keys.verified)
        pipe.sadd(keys.verified, *servers)
        pipe.execute()
