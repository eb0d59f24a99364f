"""Options that several commands share, each with the environment variable that the process itself would read."""

import re
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Market = Annotated[Path, typer.Option(envvar="OFFERRANK_MARKET", help="The market.toml to use.", show_default=False)]
Data = Annotated[Path, typer.Option(help="Training log: .csv, .tsv, .parquet, .tfrecord, or a folder of them; .csv.gz as well.")]
RedisUrl = Annotated[str, typer.Option(envvar="OFFERRANK_REDIS_URL", help="Redis with budgets, counters and streams.")]
LogDir = Annotated[Path, typer.Option(envvar="OFFERRANK_LOG_DIR", help="Root of the Parquet archive.")]
Log = Annotated[Path, typer.Option("--log", "--log-dir", envvar="OFFERRANK_LOG_DIR", help="Root of the Parquet archive.")]
"""`LogDir` of commands that are typed by hand."""
FolderOfReleases = Annotated[Path, typer.Option(envvar="OFFERRANK_RELEASES", help="Folder of releases.")]
ServedMarket = Annotated[
    Path | None,
    typer.Option(envvar="OFFERRANK_MARKET", help="The market.toml that is served.", show_default="the release's own"),
]
Releases = Annotated[
    Path | None, typer.Option(envvar="OFFERRANK_RELEASES", help="Folder with one release per version.", show_default="none")
]
ModelServer = Annotated[
    str | None,
    typer.Option(envvar="OFFERRANK_MODEL_SERVER", help="HOST:PORT of the model server's gRPC API.", show_default="priors rank"),
]
GatewayUrl = Annotated[str, typer.Option(envvar="OFFERRANK_GATEWAY_URL", help="Where the gateway is reached.")]
Host = Annotated[str, typer.Option(envvar="OFFERRANK_HOST", help="Address to listen on; 0.0.0.0 for all.")]
PublicUrl = Annotated[
    str | None,
    typer.Option(
        envvar="OFFERRANK_PUBLIC_URL", help="What impression and click URLs begin with.", show_default="http://HOST:PORT"
    ),
]
Keys = Annotated[Path, typer.Option("--keys", envvar="OFFERRANK_KEYS", help="File of keys.", show_default=False)]
KeyName = Annotated[str, typer.Argument(help="Names the key in logs.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
IfAsked = Annotated[bool, typer.Option("--if-asked", help="Only if an incident asks for it, as the market lets it.")]
Metadata = Annotated[
    str | None,
    typer.Option(
        envvar="OFFERRANK_METADATA",
        help="Where ML Metadata is kept: sqlite:///PATH, mysql://... or postgresql://...",
        show_default="metadata.sqlite among the releases",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Fixes shoppers, purchases and tastes: same seed, same market.")]
BeamRunner = Annotated[
    str | None,
    typer.Option(help="Where Beam runs: direct, flink, spark or dataflow.", show_default="in this process"),
]
BeamArgs = Annotated[
    list[str],
    typer.Option(help="An option of that runner, such as --flink_master=HOST:8081; may be repeated.", show_default=False),
]


class By(StrEnum):
    """What a row of the books' balance stands for."""

    ADVERTISER = "advertiser"
    CAMPAIGN = "campaign"
    DAY = "day"


Catalogue = Annotated[
    str, typer.Option(envvar="OFFERRANK_CATALOGUE", help="Its database: sqlite:///PATH or postgresql://USER@HOST/DATABASE.")
]
CatalogueIfAny = Annotated[
    str | None,
    typer.Option(
        envvar="OFFERRANK_CATALOGUE",
        help="Its database: sqlite:///PATH or postgresql://USER@HOST/DATABASE.",
        show_default="the market file lists what is sold",
    ),
]
By_ = Annotated[str | None, typer.Option("--by", help="Who makes the change.", show_default="whoever is logged in")]
Why = Annotated[str, typer.Option("--why", help="Why, for the log.", show_default=False)]
CampaignUrl = Annotated[str, typer.Option("--api", envvar="OFFERRANK_CAMPAIGN_URL", help="Where the campaign API is.")]
CampaignKey = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="OFFERRANK_CAMPAIGN_KEY",
        help="A viewer's, manager's or operator's key.",
        show_default=".offerrank/serve/operator-key",
    ),
]
CampaignId = Annotated[str, typer.Argument(help="Id of the campaign.", show_default=False)]
SomeCampaign = Annotated[str | None, typer.Argument(help="Id of the campaign.", show_default=False)]
Fields = Annotated[list[str], typer.Argument(metavar="[NAME=VALUE]...", help="Fields of it.", show_default=False)]
Since = Annotated[
    str | None, typer.Option(help="From this time on, UTC, such as 2026-11-26 or 2026-11-26T08:00.", show_default="the beginning")
]
Until = Annotated[str | None, typer.Option(help="Up to this time; a date means its end.", show_default="now")]

CAMPAIGN_URL = "http://127.0.0.1:8084"
CATALOGUE = "sqlite:///.offerrank/serve/catalogue.sqlite"
REDIS_URL = "redis://127.0.0.1:6379/0"
LOG_DIR = Path(".offerrank/log")
RELEASES = Path(".offerrank/releases")
GATEWAY_URL = "http://127.0.0.1:8080"

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(duration: str) -> int:
    """`90s`, `15m`, `1h`, `2d` as seconds.

    Raises:
      typer.BadParameter: anything else.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", duration)
    if match is None:
        raise typer.BadParameter(f"expected a duration such as 90s, 15m, 1h or 1d, got {duration!r}")
    return int(match[1]) * _UNITS[match[2]]


def moment(text: str | None, end: bool = False) -> int | None:
    """An ISO 8601 time, UTC unless it says otherwise, as ms since the epoch; None stays None.

    Args:
      end: a date without a time means its last millisecond instead of its first.
    Raises:
      typer.BadParameter: it is none.
    """
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"expected a time such as 2026-11-26 or 2026-11-26T08:00, got {text!r}") from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    whole_day = 86_400_000 - 1 if end and len(text) == len("2026-11-26") else 0
    return round(at.timestamp() * 1000) + whole_day
