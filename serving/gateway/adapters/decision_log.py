"""The decision stream in Redis."""

from collections.abc import Awaitable, Callable

import orjson

from domain.events import Decision
from domain.keys import Keys
from serving.gateway.adapters.redis_link import RedisLink, ScriptCall

BATCH_MARK_MS = 3_600_000
APPEND_TIMEOUT_S = 1.0
MAX_WAITING = 20_000
"""About 100 MB of decisions with 100 candidates each: minutes of an outage."""


def append_decisions(link: RedisLink, keys: Keys, max_entries: int) -> Callable[[str, list[Decision]], Awaitable[object]]:
    """Sends a batch of decisions; one sent twice is appended once."""

    async def send(batch_id: str, decisions: list[Decision]) -> object:
        payloads = [orjson.dumps(d) for d in decisions]
        call = ScriptCall("append", [keys.decisions, keys.batch(batch_id)], [BATCH_MARK_MS, max_entries, *payloads])
        return await link.run([call], APPEND_TIMEOUT_S)

    return send
