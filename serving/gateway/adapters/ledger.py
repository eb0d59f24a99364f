"""Events in Redis: settle.lua and release.lua move the money and write the event log, then the shopper's counters follow."""

import logging
from collections.abc import Sequence

from domain.campaign import BidKind
from domain.errors import DependencyError
from domain.events import EventStatus, EventType
from domain.keys import Keys, hold_member
from features.market import Market
from monitoring import metrics
from serving.gateway.adapters.budgets import budget_ttl_ms
from serving.gateway.adapters.redis_link import RedisLink, ScriptCall
from serving.gateway.adapters.shoppers import RedisShoppers
from serving.gateway.event_window import valid_until_ms
from serving.gateway.ports import PageEvent, Settlement

log = logging.getLogger(__name__)


class RedisLedger:
    """Accepts events once each."""

    def __init__(self, link: RedisLink, keys: Keys, market: Market, shoppers: RedisShoppers) -> None:
        self._link = link
        self._keys = keys
        self._market = market
        self._shoppers = shoppers
        self._clicked_hold_ttl_ms = market.policy.clicked_hold_ttl_s * 1000
        self._budget_ttl_ms = budget_ttl_ms(market)

    async def accept(self, events: Sequence[PageEvent], now_ms: int, timeout_s: float) -> list[Settlement]:
        """One round trip for the money, a second for the shoppers of events that were new.

        The second may fail by itself: then a frequency cap or a history feature misses an event, no money does.
        """
        replies = await self._link.run([self._call(e, now_ms) for e in events], timeout_s)
        settled = [Settlement(EventStatus(status.decode()), int(charged)) for status, charged in replies]
        for event, settlement in zip(events, settled, strict=True):
            metrics.EVENTS.labels(event.type, settlement.status).inc()
            metrics.CHARGED_MICROS.inc(settlement.charged_micros)
        new = [e for e, s in zip(events, settled, strict=True) if s.status is not EventStatus.DUPLICATE]
        try:
            await self._shoppers.count(new, timeout_s)
        except DependencyError as e:
            metrics.DROPPED.labels("shopper_counts").inc(len(new))
            log.warning("%d events did not reach their shoppers' counters: %s", len(new), e)
        return settled

    def _call(self, event: PageEvent, now_ms: int) -> ScriptCall:
        sold, keys = event.sold, self._keys
        names = [
            *(keys.budget(sold.campaign_id, sold.day), keys.holds),
            *(keys.impression(sold.impression_id), keys.events),
        ]
        member = hold_member(sold.campaign_id, sold.day, sold.price_micros, sold.impression_id)
        # An event is remembered for as long as its token would be accepted again.
        remember_ms = max(valid_until_ms(event.type, sold, self._market) - now_ms, 1)
        if event.type is EventType.DISMISS:
            return ScriptCall("release", names, [member, sold.price_micros, remember_ms, *_entry(event)])
        extends = event.type is EventType.CLICK and sold.bid_kind == BidKind.CPA
        args: list[str | int | bytes] = [
            *(
                event.type,
                int(event.type == sold.billed_on),
                now_ms,
                member,
                sold.price_micros,
                self._daily_budget(sold.campaign_id),
            ),
            *(remember_ms, self._budget_ttl_ms, now_ms + self._clicked_hold_ttl_ms if extends else "", *_entry(event)),
        ]
        return ScriptCall("settle", names, args)

    def _daily_budget(self, campaign_id: str) -> int | str:
        campaign = self._market.campaign_by_id.get(campaign_id)
        if campaign is None:
            return 0  # gone from the market since: what was held is settled, nothing more is charged
        return campaign.daily_budget_micros or ""


def _entry(event: PageEvent) -> list[str | int | bytes]:
    """Fields of the stream entry that the script does not add itself; docs/redis.md lists all."""
    sold = event.sold
    return [
        *("event_id", event.event_id, "type", event.type, "impression_id", sold.impression_id),
        *("decision_id", sold.decision_id, "offer_id", sold.offer_id, "campaign_id", sold.campaign_id),
        *("advertiser", sold.advertiser, "position", sold.position, "day", sold.day),
        *("value_micros", "" if event.value_micros is None else event.value_micros, "time_ms", event.time_ms),
    ]
