"""`offerrank skew`: recomputes what releases ranked, once or again and again, and says what training would have had otherwise."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from domain.errors import ContractError, OfferRankError
from features.market import Market, load_market
from features.slices import parts_of
from models.calibration import Calibrator, TaskCalibration
from models.release import CALIBRATOR, MARKET, Release, load_release, versions
from pipelines.recalibration import newest_release
from pipelines.skew.check import Skew, check_skew
from pipelines.skew.sample import releases_in

SIBLINGS = 20
"""Releases in the same folder, the newest ones, whose calibrators are tried where probabilities differ."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to recompute."""

    log_dir: Path
    releases: Path
    """Folder of releases."""
    release: str | None
    """One of them by version, or a folder; none for each that ranked in that time."""
    market: Path | None
    """None for the one that the release was trained with."""
    since_ms: int
    until_ms: float
    sample: int
    """Decisions of each release."""
    catalogue: str | None = None
    """Database of what was sold, for decisions to be made again; none where the market file lists it."""


def check(asked: Asked, as_json: bool) -> int:
    """Prints what differs; 1 if anything does, else 0. A release that cannot be looked at is named, and the others are.

    Raises:
      ContractError: no release could be looked at; why.
      InvalidMarket: of the market file.
    """
    done: list[Skew] = []
    refused: list[OfferRankError] = []
    for found in _releases(asked):
        try:
            done.append(_skew(asked, found))
        except OfferRankError as e:
            refused.append(e)
    if not done:
        raise refused[0] if refused else ContractError(f"{asked.log_dir}: expected decisions that a release ranked, found none")
    for error in [*map(str, refused), *(f"left out: {u}" for skew in done for u in skew.unreadable)]:
        typer.echo(f"offerrank: {error}", err=True)
    if as_json:
        result = {"releases": [_as_json(skew) for skew in done], "refused": [str(e) for e in refused]}
        typer.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
    else:
        for skew in done:
            _print(skew)
    return int(any(skew.differences for skew in done))


def _releases(asked: Asked) -> Iterator[Path]:
    """Their folders."""
    if asked.release is not None:
        yield release_folder(asked.release, asked.releases)
        return
    ranked = releases_in(asked.log_dir, asked.since_ms, asked.until_ms)
    yield from (asked.releases / version for version in sorted(ranked) if version.isdecimal())


def release_folder(given: str, releases: Path) -> Path:
    """Of a version, or of the newest release in a folder of them."""
    if given.isascii() and given.isdecimal() and not Path(given).exists():
        return releases / given
    folder = Path(given).resolve()
    return newest_release(folder).path if folder.is_dir() and versions(folder) else folder


def release_and_market(folder: Path, market: Path | None) -> tuple[Release, Market]:
    """A release and the market that it is asked about: its own, unless one is given.

    Raises:
      ContractError: the release cannot be used, or not with that market.
      InvalidMarket: of the market file.
    """
    release, loaded = load_release(folder), load_market(market or folder / MARKET)
    release.compatible_with(loaded)
    return release, loaded


def _skew(asked: Asked, folder: Path) -> Skew:
    release, market = release_and_market(folder, asked.market)
    return check_skew(
        market, release, asked.log_dir, asked.since_ms, asked.until_ms, asked.sample, other_calibrators(market, release)
    )


def other_calibrators(market: Market, release: Release) -> dict[str, Calibrator]:
    """Those that serving may have used by mistake; one that cannot be read is none of them."""
    tasks = {t.name for t in market.served_tasks}
    parts = {f.name for f in market.features} | {"campaign"}
    found = {"not calibrated": Calibrator(tasks={name: TaskCalibration() for name in tasks})}
    for version in versions(release.path.parent)[-SIBLINGS:]:
        try:
            other = Calibrator.model_validate_json((release.path.parent / str(version) / CALIBRATOR).read_bytes())
        except (OSError, ValueError):
            continue
        told = all(parts.issuperset(parts_of(name)) for name in other.slices)
        if version != release.version and tasks <= other.tasks.keys() and told:
            found[f"calibrated as release {version}"] = Calibrator(tasks={name: other.tasks[name] for name in tasks})
    own = {name: release.calibrator.tasks[name] for name in tasks}
    return {name: other for name, other in found.items() if other.tasks != own}


def _as_json(skew: Skew) -> dict[str, Any]:
    said = {name: value for name, value in asdict(skew).items() if name != "differences"}
    groups = [{**asdict(largest), "decisions": count} for largest, count in skew.groups]
    return said | {"groups": groups, "differences": [asdict(d) for d in skew.differences]}


def _print(skew: Skew) -> None:
    compared = f"{skew.decisions:,} decisions, {skew.features:,} features and {skew.probabilities:,} probabilities recomputed"
    found = f"{len(skew.differences):,} differences" if skew.differences else "no difference"
    typer.echo(f"release {skew.release}: {compared}: {found}")
    if skew.edited:
        typer.echo(f"edited since they were ranked: {', '.join(skew.edited[:5])}{' ...' if len(skew.edited) > 5 else ''}")
    if not skew.differences:
        return
    table = Table(box=box.SIMPLE, title=None)
    for column in ("", "decisions", "apart", "such as decision", "offer", "serving", "training", "why"):
        table.add_column(column, overflow="fold")
    for d, count in skew.groups:
        values = (_value(v) for v in (d.served, d.recomputed))
        table.add_row(f"{d.kind} {d.name}", f"{count:,}", f"{d.size:.3g}", d.decision_id, d.offer_id, *values, d.why)
    Console(width=None if Console().is_terminal else 200).print(table)


def _value(value: str | float | None) -> str:
    return "missing" if value is None else repr(value) if isinstance(value, str) else f"{value:.9g}"
