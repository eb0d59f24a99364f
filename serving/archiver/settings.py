"""Settings of the archiver process."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from catalogue import CatalogueUrl
from store import RedisUrl


class ArchiverSettings(BaseSettings):
    """Read from `OFFERRANK_*`; docs/event-log.md says how to choose them."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="OFFERRANK_", use_attribute_docstrings=True)

    market: Path
    """The market.toml whose streams are archived."""
    catalogue: CatalogueUrl | None = None
    """Database of what is sold, followed live; without one, the market file lists it."""
    redis_url: RedisUrl = "redis://127.0.0.1:6379/0"
    log_dir: Path = Path(".offerrank/log")
    """Root of the archive; one market to a folder."""
    archive_interval_s: float = Field(default=60.0, gt=0)
    """Most time an entry waits in Redis before it is in a file."""
    archive_batch_rows: int = Field(default=20_000, ge=1)
    """Rows that are written at once; so many are written before the interval has passed."""
    archive_retention_s: float = Field(default=600.0, ge=0)
    """Archived entries stay in the stream this long, for those who read its tail."""
    reconcile_interval_s: float = Field(default=60.0, gt=0)
    """Time between two comparisons of the ledger with Redis."""
