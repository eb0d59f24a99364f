"""Whether what a gateway depends on does its work, looked at once a second and remembered: asking costs nothing."""

import asyncio
import logging
from collections.abc import Awaitable

from domain.errors import OfferRankError
from domain.keys import PARTITIONS, Keys
from monitoring import metrics
from serving.gateway.adapters.model_client import ModelClient
from serving.gateway.adapters.redis_link import RedisLink

EVERY_S = 1.0
INSPECT_TURNS = 15
TIMEOUT_S = 0.25
PROBE_TTL_S = 60

log = logging.getLogger(__name__)


class Health:
    """The last look at Redis, which must take a write, and at the model server, which must know what it serves."""

    def __init__(self, link: RedisLink, model: ModelClient, keys: Keys) -> None:
        self._link, self._model, self._keys = link, model, keys
        self._up = {"redis": False, "model_server": False}

    async def dependencies(self) -> dict[str, bool]:
        """Which of them work."""
        return dict(self._up)

    async def watch(self) -> None:
        """Looks for ever; looks at Redis' settings less often."""
        while True:
            for turn in range(INSPECT_TURNS):
                if turn == 0:
                    await _answers(self._link.inspect(TIMEOUT_S))
                await self.look()
                await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Once. A full, read-only or failing disk's Redis answers every PING: only a write tells."""
        partitions = range(PARTITIONS if self._link.sharded else 1)
        probes = self._link.pipeline(
            lambda pipe: [pipe.set(self._keys.probe(p), 1, ex=PROBE_TTL_S) for p in partitions], TIMEOUT_S
        )
        redis_up, model_up = await asyncio.gather(_answers(probes), _answers(self._model.available_versions(TIMEOUT_S)))
        if (redis_up is None) != self._up["redis"]:
            log.log(*((logging.INFO, "Redis takes writes") if redis_up is None else (logging.ERROR, "not ready: %s", redis_up)))
        self._up = {"redis": redis_up is None, "model_server": model_up is None}
        metrics.REDIS_WRITABLE.set(self._up["redis"])


async def _answers(call: Awaitable[object]) -> OfferRankError | None:
    try:
        await call
    except OfferRankError as e:
        return e
    return None
