"""What the model server can be told."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ModelServerSettings(BaseSettings):
    """Settings of the model server, from OFFERRANK_* or flags of the same names as TF Serving's."""

    model_config = SettingsConfigDict(
        env_prefix="OFFERRANK_", frozen=True, cli_kebab_case=True, cli_prog_name="python -m serving.model_server"
    )

    model_base_path: Path = Field(description="folder with one sub-folder per version, named by its number; may be empty")
    model_name: str = Field(default="ranker", min_length=1, description="name of the model in requests")
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8500, ge=0, le=65535, description="gRPC port; 0 takes a free one")
    rest_port: int = Field(default=8501, ge=0, le=65535, description="REST port; 0 takes a free one")
    poll_interval_s: float = Field(default=1.0, gt=0, description="seconds between looks for new versions")
    versions_kept: int = Field(default=2, ge=1, description="how many of the newest versions answer at once")
    workers: int = Field(default=4, ge=1, description="gRPC calls answered at once; more wait")
    tf_threads: int = Field(default=1, ge=1, description="threads one operation of a model may use")
    drain_s: float = Field(default=10.0, ge=0, description="seconds that calls under way may take at the end")
    otlp_endpoint: str | None = Field(
        default=None,
        pattern=r"^(https?://[^\s]+)?$",
        description="OTLP collector that [traces](monitoring.md#traces) go to; without one, there are none",
    )
