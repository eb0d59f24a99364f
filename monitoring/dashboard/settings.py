"""Settings of the page's process."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from store import RedisUrl


class DashboardSettings(BaseSettings):
    """Read from `OFFERRANK_*`; docs/dashboard.md says how to choose them."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="OFFERRANK_", use_attribute_docstrings=True)

    market: Path
    """The market.toml that the page shows."""
    redis_url: RedisUrl = "redis://127.0.0.1:6379/0"
    gateway_url: str | None = None
    """Whose /readyz is shown; none shows no gateway."""
    host: str = "127.0.0.1"
    """The page has no log-in and shows shopper keys: keep it on an address that only operators reach."""
    port: int = Field(default=8081, ge=0, le=65_535)
    page_bucket_s: int = Field(default=5, ge=1, le=3600)
    """Length of a point in the charts."""
    page_window_s: int = Field(default=3600, ge=60)
    """How far the charts reach back; older entries count only in the totals, if the page has seen them."""
