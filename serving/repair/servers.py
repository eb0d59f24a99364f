"""Which Redis servers there are, and which of them are known to have their money right."""

from collections.abc import Sequence

import redis

from domain.keys import Keys


def run_ids(client: "redis.Redis") -> list[str]:
    """Names of the running servers: a restart makes a new one, a fail-over shows another."""
    return [str(client.info("server")["run_id"])]


def verified(client: "redis.Redis", keys: Keys) -> set[str]:
    """Servers that have been reconciled. Empty where data was lost altogether, or there has never been any."""
    return set(client.smembers(keys.verified))


def verify(client: "redis.Redis", keys: Keys, servers: Sequence[str]) -> None:
    """Says that the money of these servers is right, and no other's: one that was demoted meanwhile may have lost some."""
    with client.pipeline(transaction=True) as pipe:
        pipe.delete(keys.verified)
        pipe.sadd(keys.verified, *servers)
        pipe.execute()
