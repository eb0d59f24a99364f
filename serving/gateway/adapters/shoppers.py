"""Shopper state in Redis: one hash per shopper."""

from collections.abc import Mapping, Sequence

from domain.events import EventType
from domain.keys import Keys
from features.spec import HISTORY_COUNTERS
from serving.gateway.adapters.redis_link import RedisLink, ScriptCall
from serving.gateway.ports import PageEvent

SHOPPER_TTL_S = 90 * 86_400


class RedisShoppers:
    """Reads a shopper's counters and caps, and counts accepted events."""

    def __init__(self, link: RedisLink, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    async def counters(self, shopper_key: str, timeout_s: float) -> Mapping[str, int]:
        """All fields of the shopper's hash; none for an unknown shopper."""
        key = self._keys.shopper(shopper_key)
        (stored,) = await self._link.pipeline(lambda pipe: pipe.hgetall(key), timeout_s)
        return {field.decode(): int(count) for field, count in stored.items()}

    async def count(self, events: Sequence[PageEvent], timeout_s: float) -> None:
        """Adds newly accepted events to their shoppers' counters; dismissals count for nothing."""
        calls = [
            ScriptCall(
                "count",
                [self._keys.shopper(e.sold.shopper_key), self._keys.shown(e.sold.shopper_key)],
                [
                    *(e.type, cap_field(e) if e.type is EventType.IMPRESSION else "", e.sold.day, SHOPPER_TTL_S * 1000),
                    f"{e.sold.campaign_id}|{e.sold.decision_id}",
                ],
            )
            for e in events
            if e.type in HISTORY_COUNTERS
        ]
        if calls:
            await self._link.run(calls, timeout_s)


def cap_field(event: PageEvent) -> str:
    """Field of the shopper hash that counts a campaign's impressions of one budget day."""
    return f"cap:{event.sold.campaign_id}:{event.sold.day}"
