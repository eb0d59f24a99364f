"""Settings of the page's process."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from catalogue import CatalogueUrl
from store import RedisUrl


class DashboardSettings(BaseSettings):
    """Read from `OFFERRANK_*`; docs/dashboard.md says how to choose them."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="OFFERRANK_", use_attribute_docstrings=True)

    market: Path
    """The market.toml that the page shows."""
    catalogue: CatalogueUrl | None = None
    """Database of what is sold, followed live; without one, the market file lists it."""
    redis_url: RedisUrl = "redis://127.0.0.1:6379/0"
    """Redis 6.2 or newer."""
    gateway_url: str | None = None
    """Whose /readyz is shown; none shows no gateway."""
    log_dir: Path | None = None
    """Root of the archive, beside which the watch keeps statistics and incidents; none shows neither."""
    releases: Path | None = None
    """Folder of releases, in which trainings keep their runs; none shows no *Releases* and no *Pipeline*."""
    faults: Path | None = None
    """File in which a demo lists what can be broken in it, for buttons on *Now*; none shows no buttons."""
    host: str = "127.0.0.1"
    """Beyond a loopback address the page wants an operator's key, or a proxy that says who asks."""
    port: int = Field(default=8081, ge=0, le=65_535)
    """0 takes a free one."""
    keys: Path | None = None
    """The keys file, by whose operator keys one logs in."""
    user_header: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]{1,64}$")
    """Header in which a proxy says who has logged in there, such as `X-Forwarded-User`; only where nobody gets past the proxy."""
    page_bucket_s: int = Field(default=5, ge=1, le=3600)
    """Length of a point in the charts."""
    page_window_s: int = Field(default=3600, ge=60)
    """How far the charts reach back; older entries count only in the totals, if the page has seen them."""
