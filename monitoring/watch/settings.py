"""Settings of the watch."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from catalogue import CatalogueUrl
from store import RedisUrl


class WatchSettings(BaseSettings):
    """Read from `OFFERRANK_*`; docs/monitoring.md says how to choose them."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="OFFERRANK_", use_attribute_docstrings=True)

    market: Path
    """The market.toml whose traffic is watched."""
    catalogue: CatalogueUrl | None = None
    """Database of what is sold, followed live; without one, the market file lists it."""
    log_dir: Path = Path(".offerrank/log")
    """The archive; what the monitor knows is kept beside it."""
    releases: Path | None = None
    """Releases, for what their rows of training were like; none is compared with nothing."""
    gateway_url: str | None = None
    """Whose readiness is the availability that is promised; none is not looked at."""
    redis_url: RedisUrl = "redis://127.0.0.1:6379/0"
    """Only to say that the watch is alive: it works without."""
    watch_interval_s: float = Field(default=5.0, gt=0, le=600)
    """Time between two looks for new parts of the archive."""
