"""Events from pages and shops: checked one by one, accepted together."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from domain.campaign import Status
from domain.errors import InvalidRequest
from domain.events import OF_AN_ORDER, EventStatus, EventType
from features.market import Market
from monitoring import metrics
from serving.gateway.event_window import valid_until_ms
from serving.gateway.ports import Ledger, PageEvent, Settlement
from serving.gateway.reporter import Reporter
from serving.gateway.schema import (
    EVENT_BODY,
    EVENT_FIELDS,
    MAX_EVENTS,
    AnyEvent,
    ConversionEvent,
    CorrectionEvent,
    DismissEvent,
    ReturnEvent,
    ShownEvent,
)
from serving.gateway.tokens import Sold, TokenError, Tokens
from serving.gateway.traffic import Client
from serving.gateway.wire import HttpError, invalid, parse_json

SKEW_MS = 600_000
"""How far a reporter's clock may be off: times beyond the decision or beyond now are taken as those."""
FROM_SERVERS = frozenset(OF_AN_ORDER)
"""Events that shops report, whose keys nobody reads from a page."""
TOKEN_STATUS = {"unknown": 404, "expired": 410}


def open_token(tokens: Tokens, token: str, event: EventType, market: Market, now_ms: int) -> Sold:
    """What a token says, if the event still counts.

    Raises:
      TokenError: unknown, or expired.
    """
    sold = tokens.read(token)
    if now_ms >= valid_until_ms(event, sold, market):
        raise TokenError("expired", f"a token young enough for a {event}", token)
    return sold


def is_over(event: EventType, sold: Sold, market: Market, at_ms: int) -> bool:
    """Whether an event no longer counts because of what became of the campaign since the page.

    Impressions and clicks count until the campaign ends or is taken out of the catalogue, conversions of clicks from before
    that come after it. What takes something back always counts. A pause ends nothing: pages from before it are still out there.
    """
    if event not in (EventType.IMPRESSION, EventType.CLICK):
        return False
    campaign = market.campaign_by_id.get(sold.campaign_id)
    if campaign is None or campaign.status is Status.ENDED:
        return True
    return campaign.ends is not None and at_ms >= campaign.ends.timestamp() * 1000


def page_event(event: EventType, sold: Sold, now_ms: int) -> PageEvent:
    """An event that is reported as it happens."""
    return PageEvent(event, sold, default_event_id(event, sold), now_ms)


def default_event_id(event: EventType, sold: Sold, order_id: str = "") -> str:
    """Stable over retries, another one for each order."""
    return f"{sold.impression_id}.{event}.{order_id}" if order_id else f"{sold.impression_id}.{event}"


@dataclass(slots=True)
class Batch:
    """A request of up to 100 events, sorted into what can be accepted and what cannot."""

    events: list[PageEvent] = field(default_factory=list)
    index: list[int] = field(default_factory=list)
    """Of each event in the request; a dismissal of several offers repeats its own."""
    tests: list[int] = field(default_factory=list)
    refused: dict[int, HttpError] = field(default_factory=dict)


def read_batch(body: bytes, tokens: Tokens, market: Market, reporter: Reporter, now_ms: int) -> Batch:
    """Checks every event by itself.

    Raises:
      HttpError: the body as a whole is not what was expected.
    """
    content = parse_json(body)
    if not isinstance(content, dict) or content.keys() != {"events"}:
        raise HttpError(422, "body", 'expected {"events": [...]} and nothing else', content)
    events = content["events"]
    if not isinstance(events, list) or not 1 <= len(events) <= MAX_EVENTS:
        got = f"{len(events)} entries" if isinstance(events, list) else events
        raise HttpError(422, "events", f"expected a list of 1 to {MAX_EVENTS} events", got)
    batch = Batch()
    for i, raw in enumerate(events):
        try:
            for event in _read_event(raw, tokens, market, reporter, now_ms):
                if event.sold.test:
                    batch.tests.append(i)
                else:
                    batch.events.append(event)
                    batch.index.append(i)
        except HttpError as e:
            batch.refused[i] = e
            metrics.EVENTS_REFUSED.labels(e.field if e.field in EVENT_FIELDS else "body").inc()
    return batch


def _read_event(raw: object, tokens: Tokens, market: Market, reporter: Reporter, now_ms: int) -> list[PageEvent]:
    try:
        body = EVENT_BODY.validate_python(raw)
    except ValidationError as e:
        raise invalid(e, raw) from None
    if body.type in FROM_SERVERS and not reporter.is_server:
        raise HttpError(403, "type", f"a {body.type} needs a server's key: a page could report any", body.type)
    try:
        shown = body.tokens if isinstance(body, DismissEvent) else (body.token,)
        events = [_checked(body, token, tokens, market, now_ms) for token in shown]
    except TokenError as e:
        raise HttpError.of(e, TOKEN_STATUS[e.kind]) from None
    except InvalidRequest as e:
        raise HttpError.of(e) from None
    browser = _browser(body, reporter)
    return [e if e.sold.test else reporter.screened(e, now_ms, browser) for e in events]


def _browser(body: AnyEvent, reporter: Reporter) -> Client | None:
    """What a server says of the browser it speaks for."""
    if not isinstance(body, ShownEvent) or (body.ip is None and body.user_agent is None):
        return None
    if not reporter.is_server:
        field = "user_agent" if body.ip is None else "ip"
        raise HttpError(403, field, "needs a server's key: a browser shows it by itself")
    return Client(body.ip or "", body.user_agent)


def _checked(body: AnyEvent, token: str, tokens: Tokens, market: Market, now_ms: int) -> PageEvent:
    event = EventType(body.type)
    sold = open_token(tokens, token, event, market, now_ms)
    time_ms = now_ms if body.event_time is None else _happened_ms(body.event_time, sold, now_ms)
    if is_over(event, sold, market, time_ms):
        raise TokenError("expired", f"a token of a campaign that runs, for a {event}", token)
    value_micros, order_id = None, ""
    if isinstance(body, ConversionEvent | ReturnEvent | CorrectionEvent):
        order_id = body.order_id or ""
    if isinstance(body, ConversionEvent | CorrectionEvent):
        if body.currency not in (None, market.currency):
            raise InvalidRequest("currency", market.currency, body.currency)
        value_micros = body.value_micros
    event_id = body.event_id or default_event_id(event, sold, order_id)
    if isinstance(body, CorrectionEvent) and body.event_id is None:
        event_id += f".{value_micros}"  # another value is another correction
    return PageEvent(event, sold, event_id, time_ms, value_micros, order_id)


def _happened_ms(event_time: str, sold: Sold, now_ms: int) -> int:
    """RFC 3339 -> ms, held between decision and now.

    Raises:
      InvalidRequest: no such time, no time zone, or more than SKEW_MS before the decision or after now.
    """
    try:
        at = datetime.fromisoformat(event_time.upper())
        if at.tzinfo is None:
            raise ValueError("no time zone")
        at_ms = round(at.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise InvalidRequest("event_time", "an RFC 3339 time with time zone", event_time) from None
    if not sold.issued_ms - SKEW_MS <= at_ms <= now_ms + SKEW_MS:
        raise InvalidRequest("event_time", "a time between the decision and now", event_time)
    return min(max(at_ms, sold.issued_ms), now_ms)


async def accept_batch(batch: Batch, ledger: Ledger, now_ms: int, timeout_s: float) -> tuple[int, dict[str, Any]]:
    """Status and answer. The status is 200 if any event was accepted, else that of the first refusal.

    Raises:
      DependencyError: nothing is half done; the request can be repeated as it is.
    """
    settled = await ledger.accept(batch.events, now_ms, timeout_s) if batch.events else []
    results = {i: {"index": i, "status": "test", "charged_micros": 0} for i in batch.tests}
    for i, settlement in zip(batch.index, settled, strict=True):
        results[i] = _merged(results.get(i), i, settlement)
    errors = [{"index": i, "error": e.body()} for i, e in sorted(batch.refused.items())]
    status = 200 if results else batch.refused[min(batch.refused)].status
    return status, {"results": [results[i] for i in sorted(results)], "errors": errors}


def _merged(before: dict[str, Any] | None, index: int, settlement: Settlement) -> dict[str, Any]:
    """A dismissal of several offers counts as released if any of them was."""
    status = settlement.status.value
    if before is not None and before["status"] == EventStatus.RELEASED.value:
        status = before["status"]
    return {"index": index, "status": status, "charged_micros": settlement.charged_micros}
