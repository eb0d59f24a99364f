"""Says of events and decisions whether they are a shopper's doing. docs/traffic.md has the rules as a table."""

from domain.events import EventType
from domain.traffic import InvalidTraffic, TrafficPolicy
from serving.gateway.tokens import Sold
from serving.gateway.traffic import user_agents
from serving.gateway.traffic.client import Client, Pseudonyms, origin_of
from serving.gateway.traffic.networks import NetworkFile
from serving.gateway.traffic.rates import Buckets, ClickShares, LastClicks

SCREENED = frozenset((EventType.IMPRESSION, EventType.CLICK))
"""A conversion or a return is judged by its click, a dismissal moves no money out."""


def is_tool(client: Client) -> bool:
    """A program on this machine that says it is one, such as the simulator: the operator's own."""
    of_library = client.user_agent is not None and user_agents.verdict(client.user_agent) == InvalidTraffic.LIBRARY
    return of_library and origin_of(client.address).is_local


class Screen:
    """One gateway's. Counts are its own: a flood over N gateways passes N times as much before it is marked.

    Args:
      datacentres: networks where no shoppers are.
    """

    def __init__(self, policy: TrafficPolicy, pseudonyms: Pseudonyms, datacentres: NetworkFile | None = None) -> None:
        self._policy = policy
        self._datacentres = datacentres
        self.pseudonyms = pseudonyms
        self._by_shopper = {
            EventType.CLICK: Buckets(policy.clicks_per_shopper),
            EventType.IMPRESSION: Buckets(policy.impressions_per_shopper),
        }
        self._by_address = {
            EventType.CLICK: Buckets(policy.clicks_per_address),
            EventType.IMPRESSION: Buckets(policy.impressions_per_address),
        }
        self._last_clicks, self._shares = LastClicks(), ClickShares()

    def of_client(self, client: Client) -> str:
        """What is wrong with who asks, whatever is asked; empty for a shopper's browser."""
        if client.prefetch:
            return InvalidTraffic.PREFETCH
        kind = "" if client.user_agent is None else user_agents.verdict(client.user_agent)
        if kind == InvalidTraffic.ROBOT:
            return kind
        origin = origin_of(client.address)
        if kind and not origin.is_private:
            return kind
        if self._datacentres is not None and origin.ip is not None and origin.ip in self._datacentres.networks:
            return InvalidTraffic.DATACENTRE
        return ""

    def of_event(self, event: EventType, sold: Sold, client: Client, now_ms: int, at_ms: int | None = None) -> str:
        """What is wrong with an event that a browser reports; it counts towards what is plausible from now on.

        Args:
          at_ms: when it happened, where a page reports several events at once; now, if absent.
        """
        if event not in SCREENED:
            return ""
        found = self.of_client(client)
        if found or is_tool(client):
            return found
        if event is EventType.CLICK:
            # Gateways' clocks may differ by a few ms, either way.
            if abs(now_ms - sold.issued_ms) < self._policy.min_click_ms:
                return InvalidTraffic.TOO_FAST
            gap_ms = self._last_clicks.since_another(sold.decision_id, sold.position, now_ms if at_ms is None else at_ms)
            if gap_ms is not None and gap_ms < self._policy.page_click_gap_ms:
                found = InvalidTraffic.PAGE_RATE
        shopper_may = self._by_shopper[event].take(sold.shopper_key, now_ms)
        found = self._of_address(event, client, now_ms) or found
        if not shopper_may:
            found = InvalidTraffic.SHOPPER_RATE
        return found or self._of_offer(event, sold.offer_id, now_ms)

    def of_report(self, event: EventType, client: Client, now_ms: int) -> str:
        """The same for an event that a server reports for a browser: only what it says of that can be judged."""
        if event not in SCREENED:
            return ""
        return self.of_client(client) or self._of_address(event, client, now_ms)

    def _of_address(self, event: EventType, client: Client, now_ms: int) -> str:
        origin = origin_of(client.address)
        if not origin.network or origin.is_private or self._by_address[event].take(origin.network, now_ms):
            return ""
        return InvalidTraffic.ADDRESS_RATE

    def _of_offer(self, event: EventType, offer_id: str, now_ms: int) -> str:
        """Only what seemed valid so far counts, so that a robot that is known cannot make shoppers look like one."""
        if event is EventType.IMPRESSION:
            self._shares.shown(offer_id, now_ms)
            return ""
        clicks, impressions = self._shares.clicked(offer_id, now_ms)
        if not impressions or clicks < self._policy.offer_min_clicks or clicks <= self._policy.offer_click_share * impressions:
            return ""
        return InvalidTraffic.OFFER_RATE
