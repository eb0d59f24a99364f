"""Bodies of alerts: our own JSON, Slack's, PagerDuty's Events API v2, and e-mail."""

from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

from monitoring.incidents.alerts.alert import Alert

Json = dict[str, Any]
_PAGERDUTY_SUMMARY = 1024


def plain(alert: Alert) -> Json:
    """Everything there is; `delivery` is the same for every attempt."""
    return {
        "delivery": f"{alert.market}-{alert.seq}",
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


def slack(alert: Alert) -> Json:
    """A line, and below it what there is to know. Nothing of it is markup but the link."""
    lines = [f"*{_escaped(alert.headline)}*", f"{_escaped(alert.market)} · {_escaped(alert.size)} · since {alert.since}"]
    if alert.note:
        lines.append(_escaped(alert.note))
    lines.append(f"<{alert.link}|What to do>" if alert.link else f"What to do: {alert.incident['runbook']}")
    section = {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines)}}
    return {"text": _escaped(alert.headline), "blocks": [section]}


def pagerduty(alert: Alert, routing_key: str) -> Json:
    """Source: PagerDuty, "Events API v2"; what was triggered under a `dedup_key` is resolved under it."""
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


def email(alert: Alert, sender: str, to: str) -> EmailMessage:
    """A message that mail programs show in one thread with the others of its incident, and know if it comes twice."""
    message = EmailMessage()
    message["From"], message["To"] = sender, to
    message["Subject"] = f"[OfferRank {alert.market}] {alert.headline}"
    message["Date"] = datetime.fromtimestamp(alert.at_ms / 1000, UTC)
    message["Message-ID"] = f"<{alert.seq}.{alert.id}@{alert.market}.offerrank>"
    message["References"] = f"<{alert.id}@{alert.market}.offerrank>"
    message["Auto-Submitted"] = "auto-generated"
    lines = [
        alert.headline,
        "",
        alert.size,
        f"Since {alert.since}.",
        f"Release {alert.incident['release'] or 'any'}.",
        alert.note,
    ]
    lines += ["", alert.link or "", f"What to do: {alert.incident['runbook']}"]
    message.set_content("\n".join(lines))
    return message


def _escaped(text: str) -> str:
    """Slack would take `<!channel>` for a call to everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
