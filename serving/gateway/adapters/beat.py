"""What a gateway says of itself every few seconds, so that two that disagree are noticed."""

import asyncio
import logging
import os
import secrets
import socket

import orjson

from domain.errors import DependencyError
from domain.keys import Keys
from monitoring import metrics
from serving.gateway.adapters.campaigns import RedisCampaigns
from serving.gateway.adapters.money_clock import MoneyClock
from serving.gateway.adapters.redis_link import RedisLink

BEAT_S = 5.0
TIMEOUT_S = 0.25

log = logging.getLogger(__name__)


class Beat:
    """Writes which market file this gateway has and how far its clock is off, and knows whether the pacer has the same file.

    What is sold at which limit is the pacer's word either way: a difference costs no money, but bids and targeting may be old.
    """

    def __init__(self, link: RedisLink, keys: Keys, market_digest: bytes, campaigns: RedisCampaigns, clock: MoneyClock) -> None:
        self._link, self._keys, self._campaigns, self._clock = link, keys, campaigns, clock
        self._digest = market_digest
        self._name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self._said: bool | None = False

    @property
    def market_differs(self) -> bool | None:
        """Whether the pacer has another market file; None while no pacer has published."""
        theirs = self._campaigns.market_digest
        return None if theirs is None else theirs != self._digest

    async def run(self) -> None:
        """Beats for ever."""
        while True:
            self._notice()
            try:
                await self._beat()
            except DependencyError as e:
                log.debug("no beat: %s", e)
            await asyncio.sleep(BEAT_S)

    async def _beat(self) -> None:
        said = {"market": self._digest.hex(), "offset_ms": self._clock.offset_ms, "at_ms": self._clock.now_ms()}
        await self._link.pipeline(lambda pipe: pipe.hset(self._keys.beats, self._name, orjson.dumps(said)), TIMEOUT_S)

    def _notice(self) -> None:
        differs = self.market_differs
        metrics.MARKET_DIFFERS.set(bool(differs))
        metrics.CLOCK_OFFSET_SECONDS.set(-self._clock.offset_ms / 1000)
        if differs != self._said and differs is not None:
            self._said = differs
            if differs:
                log.error(
                    "the pacer has another market file than this gateway: limits are the pacer's, bids and targeting are ours"
                )
            else:
                log.info("the pacer has the same market file")
