"""Who is told. Addresses and keys are secrets: they come from the environment, and are in no error and no log."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


def _web(address: SecretStr) -> SecretStr:
    parts = urlsplit(address.get_secret_value())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected an address that begins with https:// or http://")
    return address


def _mail(address: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(address.get_secret_value())
        known = parts.scheme in ("smtp", "smtps") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known:
        raise ValueError("expected smtp://user:password@host:587 or smtps://host")
    return address


class AlertSettings(BaseSettings):
    """Read from `OFFERRANK_*`; docs/monitoring.md says how to choose them. Without any, nobody is told."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="OFFERRANK_", use_attribute_docstrings=True)

    alert_webhook_url: Annotated[SecretStr, AfterValidator(_web)] | None = None
    """Gets every alert as JSON."""
    alert_slack_url: Annotated[SecretStr, AfterValidator(_web)] | None = None
    """Incoming webhook of Slack, or of what takes its format."""
    alert_pagerduty_key: SecretStr | None = None
    """Integration key of a PagerDuty service, Events API v2."""
    alert_pagerduty_url: Annotated[SecretStr, AfterValidator(_web)] = SecretStr("https://events.pagerduty.com/v2/enqueue")
    """Where PagerDuty, or what takes its format, listens."""
    alert_smtp_url: Annotated[SecretStr, AfterValidator(_mail)] | None = None
    """Mail server: `smtp://user:password@host:587`, which turns to TLS where it can, or `smtps://`."""
    alert_mail_from: str | None = Field(default=None, validate_default=True)
    """Sender of e-mails."""
    alert_mail_to: str | None = Field(default=None, validate_default=True)
    """Who gets them, separated by commas."""
    alert_page_url: str | None = None
    """Where the page is for those who are told, such as `https://ops.example`; links in alerts begin with it."""

    @field_validator("alert_mail_from", "alert_mail_to")
    @classmethod
    def _mail_is_whole(cls, value: str | None, said: ValidationInfo) -> str | None:
        if said.data.get("alert_smtp_url") and not value:
            raise ValueError("is needed with OFFERRANK_ALERT_SMTP_URL")
        return value
