"""The receivers of alerts, from the settings: what each is called, and how it is told."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import aiohttp
import orjson

from monitoring.incidents.alerts import formats
from monitoring.incidents.alerts.alert import Alert
from monitoring.incidents.alerts.digest import Digest
from monitoring.incidents.alerts.mail import Undelivered, send_mail
from monitoring.incidents.alerts.settings import AlertSettings

DEADLINE_S = 15.0
Json = formats.Json
Message = Alert | Digest


@dataclass(frozen=True, slots=True)
class Receiver:
    """Takes alerts, or raises Undelivered."""

    name: str
    tell: Callable[[Message], Awaitable[None]]


def receivers_of(settings: AlertSettings, session: aiohttp.ClientSession, deadline_s: float = DEADLINE_S) -> list[Receiver]:
    """Those that are set."""
    found = []
    if settings.alert_webhook_url:
        found.append(Receiver("webhook", partial(_hook, session, settings.alert_webhook_url.get_secret_value(), formats.plain)))
    if settings.alert_slack_url:
        found.append(Receiver("slack", partial(_hook, session, settings.alert_slack_url.get_secret_value(), formats.slack)))
    if settings.alert_pagerduty_key:
        key, url = settings.alert_pagerduty_key.get_secret_value(), settings.alert_pagerduty_url.get_secret_value()
        found.append(Receiver("pagerduty", partial(_page, session, url, key)))
    if settings.alert_smtp_url:
        found.append(Receiver("email", partial(_mail, settings, deadline_s)))
    return found


def session(deadline_s: float = DEADLINE_S) -> aiohttp.ClientSession:
    """A client that waits no longer than that for a whole answer, and takes cookies from nobody."""
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=deadline_s), cookie_jar=aiohttp.DummyCookieJar())


async def _hook(session: aiohttp.ClientSession, url: str, body: Callable[[Message], Json], message: Message) -> None:
    await _post(session, url, body(message), message.delivery)


async def _page(session: aiohttp.ClientSession, url: str, key: str, message: Message) -> None:
    for event in formats.pagerduty(message, key):
        await _post(session, url, event, message.delivery)


async def _post(session: aiohttp.ClientSession, url: str, body: Json, delivery: str) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": delivery}
    try:
        # A redirect would take what is said, and the key, to wherever the answer pleases.
        async with session.post(url, data=orjson.dumps(body), headers=headers, allow_redirects=False) as answer:
            status, wait = answer.status, answer.headers.get("Retry-After", "")
    except TimeoutError:
        raise Undelivered("no answer in time") from None
    except (aiohttp.ClientError, OSError, ValueError) as e:
        raise Undelivered(f"no answer: {type(e).__name__}") from None
    if 300 <= status < 400:
        raise Undelivered(f"answered {status}: redirects are not followed")
    if not 200 <= status < 300:
        raise Undelivered(f"answered {status}", int(wait) * 1000 if wait.isdecimal() and len(wait) < 7 else None)


async def _mail(settings: AlertSettings, deadline_s: float, message: Message) -> None:
    assert settings.alert_smtp_url is not None
    mail = formats.email(message, settings.alert_mail_from or "", settings.alert_mail_to or "")
    await asyncio.to_thread(send_mail, settings.alert_smtp_url.get_secret_value(), mail, deadline_s)
