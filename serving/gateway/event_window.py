"""Until when an event of a shown offer is accepted."""

from domain.events import EventType
from features.market import Market
from serving.gateway.tokens import Sold

IMPRESSION_WINDOW_S = 3600
"""A page reports what it showed within the hour. Bounds what Redis remembers of impressions nobody clicks."""


def accepted_for_ms(event: EventType, market: Market) -> int:
    """How long after its decision an event is accepted.

    Impressions and dismissals: an hour. Clicks and conversions: the click window plus the conversion window, so that a late
    click still reaches its landing page. Returns and corrections: `policy.return_window_s` more.
    """
    training = market.training
    if event in (EventType.IMPRESSION, EventType.DISMISS):
        window_s = min(IMPRESSION_WINDOW_S, training.click_window_s)
    else:
        window_s = training.click_window_s + training.conversion_window_s
    if event in (EventType.RETURN, EventType.CORRECTION):
        window_s += market.policy.return_window_s
    return window_s * 1000


def valid_until_ms(event: EventType, sold: Sold, market: Market) -> int:
    """First millisecond at which the event comes too late."""
    return sold.issued_ms + accepted_for_ms(event, market)
