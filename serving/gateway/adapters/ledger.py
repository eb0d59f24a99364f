"""Events in Redis: settle.lua and release.lua move the money and write the event log, then the shopper's counters follow."""

import logging
from collections.abc import Callable, Sequence

from domain.errors import DependencyError
from domain.events import EventStatus, EventType
from domain.keys import Keys, hold_member, partition_of
from features.market import Market
from monitoring import metrics
from serving.budget_days import budget_ttl_ms, conversion_delay_ms, holds_back
from serving.gateway.adapters.redis_link import RedisLink, ScriptCall
from serving.gateway.adapters.shoppers import RedisShoppers
from serving.gateway.event_window import accepted_for_ms, valid_until_ms
from serving.gateway.ports import BudgetsClosed, PageEvent, Settlement

NEAR_THE_END = 1 / 6
"""Of the time in which an event is accepted."""
REMEMBER_MS = 86_400_000
"""An event that is stored late, after an outage, is repeated if its reply is lost: it is remembered well beyond its window."""
UNCOUNTED = (EventStatus.DUPLICATE, EventStatus.INVALID)
"""What changes nothing about a shopper."""

log = logging.getLogger(__name__)


class RedisLedger:
    """Accepts events once each.

    Args:
      clock: stands in for the time of Redis; in simulated time only.
    """

    def __init__(
        self, link: RedisLink, keys: Keys, market: Market, shoppers: RedisShoppers, clock: Callable[[], int] | None = None
    ) -> None:
        self._link = link
        self._keys = keys
        self._market = market
        self._shoppers = shoppers
        self._clock = clock
        policy = market.policy
        self._usual = (conversion_delay_ms(market), policy.hold_ttl_s * 1000)
        self._day_ms = policy.day_length_s * 1000
        self._conversion_window_ms = market.training.conversion_window_s * 1000
        self._budget_ttl_ms = budget_ttl_ms(market)
        self._holds_back = holds_back(market)

    async def accept(self, events: Sequence[PageEvent], now_ms: int, timeout_s: float) -> list[Settlement]:
        """One round trip for the money, a second for the shoppers of events that were new.

        The second may fail by itself: then a frequency cap or a history feature misses an event, no money does. Conversions that
        name their order take one or two round trips more, since an order counts once over all impressions of its shopper.

        Raises:
          BudgetsClosed: some were not accepted, and says which.
          DependencyError: what was accepted is safe to repeat, and the rest was not.
        """
        settled: list[Settlement | None] = [Settlement(EventStatus.DUPLICATE, 0)] * len(events)
        ordered = [i for i, e in enumerate(events) if e.type is EventType.CONVERSION and e.order_id and not e.invalid]
        others = [i for i in range(len(events)) if i not in ordered]
        if others:
            replies = await self._link.run([self._call(events[i], now_ms) for i in others], timeout_s)
            for i, reply in zip(others, replies, strict=True):
                settled[i] = _settlement(reply)
        for i in ordered:  # one after another: whether an order counts for one impression depends on what became of another
            if await self._claims_its_order(events[i], timeout_s):
                (reply,) = await self._link.run([self._call(events[i], now_ms)], timeout_s)
                settled[i] = _settlement(reply)
        accepted = [(event, s) for event, s in zip(events, settled, strict=True) if s is not None]
        for event, settlement in accepted:
            metrics.EVENTS.labels(event.type, settlement.status).inc()
            metrics.CHARGED_MICROS.inc(max(settlement.charged_micros, 0))
            if settlement.status is EventStatus.INVALID:
                metrics.INVALID.labels(event.type, event.invalid).inc()
        new = [event for event, s in accepted if s.status not in UNCOUNTED]
        try:
            await self._shoppers.count(new, timeout_s)
        except DependencyError as e:
            metrics.DROPPED.labels("shopper_counts").inc(len(new))
            log.warning("%d events did not reach their shoppers' counters: %s", len(new), e)
        if closed := [event for event, s in zip(events, settled, strict=True) if s is None]:
            raise BudgetsClosed(closed)
        return [s for _, s in accepted]

    async def _claims_its_order(self, event: PageEvent, timeout_s: float) -> bool:
        """Whether a conversion's order counts for its impression, or else for another of the shopper's.

        The first impression an order is reported for claims it. It gives way to another only while it waits for its click.
        """
        sold, keys = event.sold, self._keys
        name, mine = keys.order(sold.shopper_key, event.order_id), f"{sold.campaign_id}|{sold.impression_id}"
        ttl_ms = max(valid_until_ms(EventType.RETURN, sold, self._market) - sold.issued_ms, 1)
        _, claim = await self._link.pipeline(lambda pipe: pipe.set(name, mine, nx=True, px=ttl_ms).get(name), timeout_s)
        if claim is None or claim.decode() == mine:
            return True
        campaign, _, impression = claim.decode().partition("|")
        waiting = ScriptCall("cancel_waiting", [keys.impression(campaign, impression)], [f"conversion:{event.order_id}"])
        (gave_way,) = await self._link.run([waiting], timeout_s)
        if gave_way:
            await self._link.pipeline(lambda pipe: pipe.set(name, mine, px=ttl_ms), timeout_s)
        return bool(gave_way)

    def _call(self, event: PageEvent, now_ms: int) -> ScriptCall:
        sold, keys = event.sold, self._keys
        partition = partition_of(sold.campaign_id)
        names = [
            *(keys.budget(sold.campaign_id, sold.day), keys.holds(partition)),
            *(keys.impression(sold.campaign_id, sold.impression_id), keys.events(partition)),
        ]
        member = hold_member(sold.campaign_id, sold.day, sold.decision_id)
        # An event is remembered for as long as its token would be accepted again; a conversion also for its return.
        last = EventType.RETURN if event.type is EventType.CONVERSION else event.type
        left_ms = valid_until_ms(last, sold, self._market) - now_ms
        remember_ms = left_ms if left_ms > NEAR_THE_END * accepted_for_ms(last, self._market) else REMEMBER_MS
        if event.type is EventType.DISMISS:
            return ScriptCall("release", names, [member, remember_ms, *_dismissal(event), *_entry(event)])
        needs_impression = self._market.policy.impressions == "reported" and not event.attested
        args: list[str | int | bytes] = [
            *(event.type, "" if self._clock is None else self._clock(), self._day_ms, member),
            *(sold.billed_on, sold.price_micros, sold.pending_micros, *self._usual),
            *(int(needs_impression), self._conversion_window_ms, remember_ms, self._budget_ttl_ms),
            *(event.time_ms, event.event_id, event.order_id, event.invalid, self._holds_back, *_entry(event)),
        ]
        return ScriptCall("settle", [*names, keys.due(sold.campaign_id)], args)


def _settlement(reply: tuple[bytes, int]) -> Settlement | None:
    """None: the budget is not open, and nothing was done."""
    status, charged = reply
    return None if status == b"closed" else Settlement(EventStatus(status.decode()), int(charged))


def _dismissal(event: PageEvent) -> list[str | int | bytes]:
    """What settle.lua adds to an entry by itself."""
    return [
        *("type", event.type, "day", event.sold.day, "event_id", event.event_id, "time_ms", event.time_ms),
        *("reason", event.invalid, "order_id", "", "price_micros", 0),
    ]


def _entry(event: PageEvent) -> list[str | int | bytes]:
    """Fields of the stream entry that the scripts only pass on; docs/redis.md lists all."""
    sold = event.sold
    return [
        *("impression_id", sold.impression_id, "decision_id", sold.decision_id, "offer_id", sold.offer_id),
        *("campaign_id", sold.campaign_id, "advertiser", sold.advertiser, "position", sold.position),
        *("value_micros", "" if event.value_micros is None else event.value_micros),
        *("shopper_key", sold.shopper_key, "asked_by", sold.asked_by, "client", event.client),
    ]
