"""The decision stream in Redis."""

import logging
import secrets
from collections.abc import Awaitable, Callable

from domain.events import Decision
from domain.keys import Keys
from features.log_entry import DEFLATED, deflated
from monitoring import metrics
from serving.gateway.adapters.redis_link import RedisLink, ScriptCall

SENDER_TTL_MS = 86_400_000
APPEND_TIMEOUT_S = 1.0
MAX_WAITING = 20_000
"""About 100 MB of decisions with 100 candidates each: minutes of an outage."""

log = logging.getLogger(__name__)


def append_decisions(link: RedisLink, keys: Keys, max_bytes: int) -> Callable[[int, list[Decision]], Awaitable[object]]:
    """Sends a numbered batch of decisions; one sent twice is appended once.

    Args:
      max_bytes: memory that the stream may take in Redis; beyond it the oldest decisions go, and are counted as lost if no
        archiver had taken them.
    """
    names = [keys.decisions, keys.batch(secrets.token_hex(8)), keys.archiver]

    async def send(number: int, decisions: list[Decision]) -> None:
        arguments: list[str | int | bytes] = [number, SENDER_TTL_MS, max_bytes, DEFLATED, *(deflated(d) for d in decisions)]
        ((_, lost),) = await link.run([ScriptCall("append", names, arguments)], APPEND_TIMEOUT_S)
        if lost:
            metrics.DROPPED.labels("unarchived_decisions").inc(lost)
            log.error("%d decisions are lost: the stream is full, and no archiver has taken them", lost)

    return send
