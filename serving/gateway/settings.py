"""Settings of the gateway process: environment variables OFFERRANK_*."""

import ipaddress
from pathlib import Path

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from catalogue import CatalogueUrl
from domain.addresses import host_port
from domain.errors import OfferRankError
from serving.gateway.traffic.networks import NetworkFile
from store import RedisUrl

WILDCARDS = ("0.0.0.0", "::")
"""Hosts that stand for all addresses of a machine, and are none themselves."""


class GatewaySettings(BaseSettings):
    """Built once at the entry point and passed down."""

    model_config = SettingsConfigDict(env_prefix="OFFERRANK_", frozen=True, extra="ignore", use_attribute_docstrings=True)

    market: Path
    """Path of market.toml."""
    catalogue: CatalogueUrl | None = None
    """Database of what is sold ([forms](catalogue.md#where-it-is)), followed live; without one, the market file lists them."""
    catalogue_snapshot: Path | None = None
    """Folder for the last catalogue, which is sold while the database is away at the start; without one, there is no start."""
    secret: SecretStr
    """Encrypts tokens; the same for all replicas. To rotate: `new,old`."""
    redis_url: RedisUrl = "redis://127.0.0.1:6379/0"
    """Redis 6.2 or newer ([forms](redis.md#its-address)); it need not be there yet."""
    model_server: str = "127.0.0.1:8500"
    """host:port of the model server's gRPC API; it need not be there, the priors rank then."""
    releases: Path | None = None
    """Folder of releases, the same as the model server's; without one, the priors rank."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8080, ge=1, le=65535)
    """Port to listen on."""
    operator_host: str = "127.0.0.1"
    """Address of the operators' port: one that only they reach."""
    operator_port: int | None = Field(default=None, ge=1, le=65535)
    """Serves /metrics and /docs without a key, beside everything else; without one, they need an operator's key."""
    public_url: str | None = Field(default=None, pattern=r"^https?://[^\s]+$", validate_default=True)
    """What impression and click URLs begin with; http://host:port if absent."""
    keys: Path | None = Field(default=None, validate_default=True)
    """File of keys; without one, who is on this machine may do what a publisher may, and the gateway listens there only."""
    address_per_second: float = Field(default=20.0, ge=0, le=1e6)
    """Decisions, and as many reports of events, that one address may ask for with publishers' keys; 0 for any number."""
    trusted_proxies: str = "127.0.0.1,::1"
    """Addresses and networks of proxies whose `X-Forwarded-For` is believed."""
    datacentres: Path | None = None
    """File of networks where no shoppers are, one a line: what comes from them is marked. Read again when it changes."""
    log_dir: Path | None = None
    """Root of the archive, by which decisions are [explained](replay.md#explain) that are past; without one, they are not."""
    journal_dir: Path | None = None
    """Local folder where clicks and impressions wait while Redis is away; without one, in memory, and a crash loses them."""
    max_connections: int = Field(default=8192, ge=16)
    """Connections at one time; when it is reached, idle and half-sent ones make way, then new ones get 503."""
    max_header_bytes: int = Field(default=16_384, ge=1024)
    """Request line and headers; beyond it, 431."""
    max_waiting_body_bytes: int = Field(default=64 << 20, ge=1 << 20)
    """Bodies in memory, all requests together; beyond it, 503."""
    request_timeout_s: float = Field(default=10.0, gt=0, le=600)
    """From the first byte of a request to its last; beyond it, 408."""
    max_decisions: int = Field(default=64, ge=1)
    """Decisions under way at one time; beyond it, 503 with `Retry-After`. Times the CPU of one it is the longest wait."""
    max_events: int = Field(default=512, ge=1)
    """The same for events, impressions and clicks."""
    decision_stream_mb: int = Field(default=256, ge=1)
    """Memory of Redis, in MB of 2^20 bytes, that decisions may take while no archiver takes them; beyond it, the oldest go."""
    otlp_endpoint: str | None = Field(default=None, pattern=r"^(https?://[^\s]+)?$")
    """OTLP collector that [traces](monitoring.md#traces) go to, such as http://127.0.0.1:4318; without one, there are none."""

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr) -> SecretStr:
        if any(len(s) < 16 for s in secret.get_secret_value().split(",")):
            raise ValueError("each secret must have at least 16 characters")
        return secret

    @field_validator("public_url")
    @classmethod
    def _reachable(cls, public_url: str | None, info: ValidationInfo) -> str | None:
        if public_url is None and info.data.get("host") in WILDCARDS:
            raise ValueError(f"shoppers cannot reach {info.data['host']}: say what impression and click URLs begin with")
        return public_url

    @field_validator("keys")
    @classmethod
    def _guarded(cls, keys: Path | None, info: ValidationInfo) -> Path | None:
        host = info.data.get("host", "")
        if keys is None and not (host.startswith("127.") or host in ("localhost", "::1", "")):
            raise ValueError(f"a gateway that listens on {host} needs a keys file; `offerrank keys create` makes one")
        return keys

    @field_validator("datacentres")
    @classmethod
    def _readable(cls, datacentres: Path | None) -> Path | None:
        if datacentres is not None:
            try:
                NetworkFile(datacentres)
            except OfferRankError as e:
                raise ValueError(str(e)) from None
        return datacentres

    @field_validator("trusted_proxies")
    @classmethod
    def _addresses(cls, trusted_proxies: str) -> str:
        for proxy in filter(None, (p.strip() for p in trusted_proxies.split(","))):
            ipaddress.ip_network(proxy)
        return trusted_proxies

    @property
    def secrets(self) -> tuple[str, ...]:
        """Token secrets; the first signs."""
        return tuple(self.secret.get_secret_value().split(","))

    @property
    def tracking_url(self) -> str:
        """Base of impression and click URLs, without a slash at the end."""
        return (self.public_url or f"http://{host_port(self.host, self.port)}").rstrip("/")
