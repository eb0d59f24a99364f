"""Tells whoever is on call: webhooks, Slack, PagerDuty, e-mail. At least once each, in order, and nothing waits for it."""

from monitoring.incidents.alerts.sender import Sender
from monitoring.incidents.alerts.settings import AlertSettings
from monitoring.incidents.alerts.trial import try_receivers

__all__ = ["AlertSettings", "Sender", "try_receivers"]
