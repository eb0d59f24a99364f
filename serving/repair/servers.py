"""Which Redis servers there are, and which of them are known to have their money right."""

from collections.abc import Sequence

import redis
from redis.client import NEVER_DECODE

from domain.keys import Keys
from features.log_archive import StreamId
from store import infos, server_of

UNFINISHED = "unfinished"
"""Beside the names of servers in `verified`: what they lost of earlier budget days, which are closed, is not all there yet."""


def run_ids(client: "redis.Redis") -> list[str]:
    """Names of the running servers, of a cluster its masters: a restart makes a new one, a fail-over shows another."""
    return sorted(str(info["run_id"]) for info in infos(client, "server"))


def last_id(client: "redis.Redis", stream: str) -> StreamId | None:
    """The last id that a stream gave out; None where there is no such stream."""
    try:
        # Its first and last entry are in the answer, too, and those of decisions are no text.
        said = client.execute_command("XINFO STREAM", stream, **{NEVER_DECODE: []})
    except redis.ResponseError:
        return None
    return StreamId.parse(said["last-generated-id"])


def verified(client: "redis.Redis", keys: Keys) -> set[str]:
    """Servers that have been reconciled, and `UNFINISHED`. Empty where data was lost altogether, or there has never been any."""
    return {name if isinstance(name, str) else name.decode() for name in client.smembers(keys.verified)}


def whole(client: "redis.Redis", keys: Keys) -> bool:
    """Whether all money of the servers that run is right, that of earlier budget days, too."""
    known = verified(client, keys)
    return UNFINISHED not in known and set(run_ids(client)) <= known


def verify(client: "redis.Redis", keys: Keys, servers: Sequence[str]) -> None:
    """Says that the money of these servers is right, and no other's: one that was demoted meanwhile may have lost some."""
    others = verified(client, keys) - {UNFINISHED, *servers}
    with server_of(client, keys.verified).pipeline(transaction=True) as pipe:
        pipe.sadd(keys.verified, *servers)
        if others:
            pipe.srem(keys.verified, *others)
        pipe.execute()
