"""Settings of the campaign API's process: environment variables OFFERRANK_*."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from catalogue import CatalogueUrl


class CampaignSettings(BaseSettings):
    """Built once at the entry point and passed down."""

    model_config = SettingsConfigDict(env_prefix="OFFERRANK_", frozen=True, extra="ignore", use_attribute_docstrings=True)

    market: Path
    """Path of market.toml, which what is sold must fit."""
    catalogue: CatalogueUrl
    """Database of what is sold ([forms](catalogue.md#where-it-is)); it need not be there yet."""
    keys: Path
    """File of keys: operators', viewers' and managers' let in."""
    host: str = "127.0.0.1"
    """Address to listen on; beyond this machine, put TLS in front."""
    port: int = Field(default=8084, ge=1, le=65535)
    """Port to listen on."""
    max_requests: int = Field(default=64, ge=1)
    """Requests under way at one time; beyond it, 503."""
