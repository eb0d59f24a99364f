"""Bodies of alerts: our own JSON, Slack's, PagerDuty's Events API v2, and e-mail."""

from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

from monitoring.incidents.alerts.alert import Alert
from monitoring.incidents.alerts.digest import Digest

Json = dict[str, Any]
_PAGERDUTY_SUMMARY = 1024
_SLACK_TEXT = 3000


def plain(message: Alert | Digest) -> Json:
    """Everything there is; `delivery` is the same for every attempt."""
    if isinstance(message, Digest):
        return {
            "delivery": message.delivery,
            "market": message.market,
            "change": "digest",
            "severity": message.severity,
            "headline": message.headline,
            "url": message.link,
            "alerts": [plain(alert) for alert in message.alerts],
        }
    alert = message
    return {
        "delivery": alert.delivery,
        "market": alert.market,
        "currency": alert.currency,
        "change": str(alert.change),
        "at_ms": alert.at_ms,
        "note": alert.note,
        "severity": alert.severity,
        "headline": alert.headline,
        "url": alert.link,
        "incident": alert.incident,
    }


def slack(message: Alert | Digest) -> Json:
    """A line, and below it what there is to know. Nothing of it is markup but the link."""
    if isinstance(message, Digest):
        ranked = [f"*{_escaped(message.headline)}*", _escaped(message.market), *map(_escaped, message.lines)]
        return _slack(message.headline, [*ranked, f"<{message.link}|All of them>"] if message.link else ranked)
    alert = message
    lines = [f"*{_escaped(alert.headline)}*", f"{_escaped(alert.market)} · {_escaped(alert.size)} · since {alert.since}"]
    if alert.note:
        lines.append(_escaped(alert.note))
    lines.append(f"<{alert.link}|What to do>" if alert.link else f"What to do: {alert.incident['runbook']}")
    return _slack(alert.headline, lines)


def _slack(headline: str, lines: list[str]) -> Json:
    section = {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines)[:_SLACK_TEXT]}}
    return {"text": _escaped(headline), "blocks": [section]}


def pagerduty(message: Alert | Digest, routing_key: str) -> list[Json]:
    """One event; of a digest one for the storm, and those that resolve what was triggered before it.

    Source: PagerDuty, "Events API v2"; what was triggered under a `dedup_key` is resolved under it, and what never was is left.
    """
    storm = {"routing_key": routing_key, "dedup_key": f"{message.market}-storm"}
    if isinstance(message, Alert):
        over = [storm | {"event_action": "resolve"}] if message.over and message.calm else []
        return [_pagerduty(message, routing_key), *over]
    payload = {
        "summary": message.headline[:_PAGERDUTY_SUMMARY],
        "source": message.market,
        "severity": message.severity,
        "custom_details": {"incidents": list(message.lines)},
    }
    event: Json = storm | {"event_action": "resolve" if message.calm else "trigger", "payload": payload}
    event |= {"links": [{"href": message.link, "text": "The incidents"}]} if message.link else {}
    return [event, *(_pagerduty(alert, routing_key) for alert in message.ranked if alert.over)]


def _pagerduty(alert: Alert, routing_key: str) -> Json:
    event: Json = {
        "routing_key": routing_key,
        "event_action": "resolve" if alert.over else "trigger",
        "dedup_key": f"{alert.market}-{alert.id}",
        "payload": {
            "summary": alert.headline[:_PAGERDUTY_SUMMARY],
            "source": alert.market,
            "severity": alert.severity,
            "timestamp": datetime.fromtimestamp(alert.at_ms / 1000, UTC).isoformat(),
            "component": alert.incident["series"]["name"],
            "group": alert.incident["slice"]["by"] or "all traffic",
            "class": alert.incident["kind"],
            "custom_details": {
                "size": alert.size,
                "since": alert.since,
                "cost": alert.cost,
                "runbook": alert.incident["runbook"],
            },
        },
    }
    return event | ({"links": [{"href": alert.link, "text": "The incident"}]} if alert.link else {})


def email(message: Alert | Digest, sender: str, to: str) -> EmailMessage:
    """A message that mail programs show in one thread with the others of its incident, and know if it comes twice."""
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, to
    mail["Subject"] = f"[OfferRank {message.market}] {message.headline}"
    mail["Date"] = datetime.fromtimestamp(message.at_ms / 1000, UTC)
    mail["Message-ID"] = f"<{message.seq}.{message.id}@{message.market}.offerrank>"
    mail["References"] = f"<{message.id}@{message.market}.offerrank>"
    mail["Auto-Submitted"] = "auto-generated"
    if isinstance(message, Digest):
        mail.set_content("\n".join([message.headline, "", *message.lines, "", message.link or ""]))
        return mail
    alert = message
    lines = [
        alert.headline,
        "",
        alert.size,
        f"Since {alert.since}.",
        f"Release {alert.incident['release'] or 'any'}.",
        alert.note,
    ]
    lines += ["", alert.link or "", f"What to do: {alert.incident['runbook']}"]
    mail.set_content("\n".join(lines))
    return mail


def _escaped(text: str) -> str:
    """Slack would take `<!channel>` for a call to everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
