"""A message that says that it is a test, by each receiver that is set, once."""

from collections.abc import Sequence
from dataclasses import replace

from monitoring.incidents.alerts.alert import Alert
from monitoring.incidents.alerts.mail import Undelivered
from monitoring.incidents.alerts.receivers import DEADLINE_S, receivers_of, session
from monitoring.incidents.alerts.settings import AlertSettings
from monitoring.incidents.incident import Change, Incident, State
from monitoring.summaries import ALL, Series

Tried = tuple[str, str]
"""A receiver, and why it did not take the test; "" if it did."""


async def try_receivers(
    settings: AlertSettings, market: str, currency: str, now_ms: int, deadline_s: float = DEADLINE_S
) -> Sequence[Tried]:
    """One after the other. What PagerDuty triggers for it is resolved again; nothing of it is kept with the incidents."""
    alert = _test(settings, market, currency, now_ms)
    tried = []
    async with session(deadline_s) as client:
        for receiver in receivers_of(settings, client, deadline_s):
            try:
                await receiver.tell(alert)
                if receiver.name == "pagerduty":
                    await receiver.tell(replace(alert, change=Change.CLOSED))
            except Undelivered as e:
                tried.append((receiver.name, str(e)))
            else:
                tried.append((receiver.name, ""))
    return tried


def _test(settings: AlertSettings, market: str, currency: str, now_ms: int) -> Alert:
    incident = Incident(
        id="test",
        kind="other",
        series=Series("test", "test"),
        slice=ALL,
        release="",
        state=State.OPEN,
        opened_ms=now_ms,
        since_ms=now_ms,
        last_seen_ms=now_ms,
        closed_ms=None,
        silenced_until_ms=None,
        size=0.0,
        usual=0.0,
        evidence=0.0,
        cost_micros_per_day=0,
        findings=0,
        detail={},
    )
    said = incident.to_json() | {"title": "alerts arrive, and nothing is wrong", "against_usual": "no incident"}
    return Alert(
        now_ms, said, Change.TESTED, now_ms, "Sent by `offerrank alert test`.", market, currency, settings.alert_page_url
    )
