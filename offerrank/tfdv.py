"""`offerrank tfdv`: TFDV's comparators on what was served, as a table, JSON or a page."""

import os
import sys
import warnings
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from domain.clock import now_ms
from domain.errors import ContractError
from models.release import STATISTICS
from offerrank.skew import release_and_market, release_folder

if TYPE_CHECKING:
    from pipelines.comparators import Comparison

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What to compare."""

    log_dir: Path
    releases: Path
    release: str | None
    """A version, or a folder; the newest of `releases` unless given."""
    market: Path | None
    """None for the one that the release was trained with."""
    since_ms: int | None
    """None for an hour before the end."""
    until_ms: int | None
    """None for the archive's end."""
    infinity_norm: float
    jensen_shannon: float


def compare(asked: Asked, as_json: bool, html: Path | None) -> int:
    """Prints what TFDV says; 1 if it speaks of an anomaly, else 0. Errors as of `pipelines.comparators.compare`."""
    folder = release_folder(asked.release or str(asked.releases), asked.releases)
    release, market = release_and_market(folder, asked.market)
    from pipelines.examples import archive_end_ms
    from pipelines.scratch import scratch_folder

    until_ms = archive_end_ms(asked.log_dir, now_ms()) - 1 if asked.until_ms is None else asked.until_ms
    since_ms = until_ms + 1 - HOUR_MS if asked.since_ms is None else asked.since_ms
    if since_ms > until_ms:
        raise ContractError(f"tfdv: expected a time to begin before {_time(until_ms)}, got {_time(since_ms)}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TensorFlow, and of Google's client libraries, about the Python version
        from pipelines import comparators

    thresholds = comparators.Thresholds(asked.infinity_norm, asked.jensen_shannon)
    with scratch_folder("tfdv") as work:
        found = comparators.compare(market, release.path / STATISTICS, asked.log_dir, since_ms, until_ms, thresholds, work)
    if html is not None:
        page = comparators.page(market, release.version, since_ms, until_ms, found)
        try:
            html.write_text(page, encoding="utf-8")
        except OSError as e:
            raise ContractError(f"{html}: cannot be written: {e.strerror}") from None
    if as_json:
        said = {"release": release.version, "since_ms": since_ms, "until_ms": until_ms, **asdict(found)}
        typer.echo(orjson.dumps(said, option=orjson.OPT_INDENT_2).decode())
    else:
        typer.echo(f"release {release.version} and what was served from {_time(since_ms)} to {_time(until_ms)}")
        _print(found)
    return int(bool(found.anomalies))


def _print(found: "Comparison") -> None:
    before = f"{found.before_rows:,} before" if found.before_rows else "none before: drift is not compared"
    typer.echo(f"{found.rows:,} rows served, {found.training_rows:,} of training, {before}")
    table = Table("", "feature", "comparator", "distance", "threshold", "", box=box.SIMPLE_HEAD, pad_edge=False)
    for d in found.distances:
        over = "over" if d.value > d.threshold else ""
        table.add_row(d.kind, d.feature, d.comparator, f"{d.value:.4f}", f"{d.threshold:g}", over)
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200).print(table)
    for a in found.anomalies:
        typer.echo(f"{a.kind} of {a.feature}: {a.description or a.what}")
    if not found.anomalies:
        typer.echo("no anomaly")


def _time(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
