"""Reads the beats of gateways: which of them have another market file or a clock that is off."""

from dataclasses import dataclass

import orjson
import redis

from domain.keys import Keys

STALE_MS = 60_000
CLOCK_OFF_MS = 1000


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One gateway, and what is wrong with it."""

    gateway: str
    what: str


def disagreements(client: "redis.Redis", keys: Keys, market_digest: bytes, now_ms: int) -> list[Disagreement]:
    """Of the gateways that beat within a minute; forgets the others.

    Raises:
      redis.RedisError: Redis is away.
    """
    found, gone = [], []
    for name, beat in client.hgetall(keys.beats).items():
        said = orjson.loads(beat)
        if now_ms - said["at_ms"] > STALE_MS:
            gone.append(name)
        elif said["market"] != market_digest.hex():
            found.append(Disagreement(str(name), "has another market file"))
        elif abs(said["offset_ms"]) > CLOCK_OFF_MS:
            found.append(Disagreement(str(name), f"has a clock that is {-said['offset_ms'] / 1000:.1f} s off"))
    if gone:
        client.hdel(keys.beats, *gone)
    return found
