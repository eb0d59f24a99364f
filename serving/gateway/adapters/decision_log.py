"""The decision stream in Redis."""

import secrets
from collections.abc import Awaitable, Callable

import orjson

from domain.events import Decision
from domain.keys import Keys
from serving.gateway.adapters.redis_link import RedisLink, ScriptCall

SENDER_TTL_MS = 86_400_000
APPEND_TIMEOUT_S = 1.0
MAX_WAITING = 20_000
"""About 100 MB of decisions with 100 candidates each: minutes of an outage."""


def append_decisions(link: RedisLink, keys: Keys, max_entries: int) -> Callable[[int, list[Decision]], Awaitable[object]]:
    """Sends a numbered batch of decisions; one sent twice is appended once."""
    sender = keys.batch(secrets.token_hex(8))

    async def send(number: int, decisions: list[Decision]) -> object:
        payloads = [orjson.dumps(d) for d in decisions]
        call = ScriptCall("append", [keys.decisions, sender], [number, SENDER_TTL_MS, max_entries, *payloads])
        return await link.run([call], APPEND_TIMEOUT_S)

    return send
