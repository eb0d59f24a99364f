"""Whether money is safe in a Redis: it must keep what it was given, and be new enough for the scripts."""

from collections.abc import Mapping
from typing import Any

import redis

OLDEST = (6, 2)


def unsafe(info: Mapping[str, object]) -> str | None:
    """What is wrong with a server, by its own INFO; None if nothing is."""
    version = str(info.get("redis_version", "unknown"))
    numbers = tuple(int(n) for n in version.split(".")[:2] if n.isdecimal())
    if numbers < OLDEST:
        return f"its version is {version}, expected {OLDEST[0]}.{OLDEST[1]} or newer"
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        return f"its maxmemory-policy is {policy}, which may evict budgets and events: set it to noeviction"
    return None


def parse_info(text: bytes | str) -> dict[str, str]:
    """INFO as a server sends it."""
    lines = (text.decode() if isinstance(text, bytes) else text).splitlines()
    return {name: value for name, _, value in (line.partition(":") for line in lines) if value and not name.startswith("#")}


def look(connection: Any) -> None:
    """Raises redis.ConnectionError where money is not safe."""
    connection.send_command("INFO")
    if problem := unsafe(parse_info(connection.read_response())):
        raise redis.ConnectionError(problem)


def on_connect(connection: Any) -> None:
    """For `redis_connect_func` of processes that wait for Redis: what is unsafe counts as away."""
    connection.on_connect()
    look(connection)
