"""`offerrank catalogue`: changes what is sold, and says who changed what."""

import getpass
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import typer

from catalogue.address import parse_url
from catalogue.database import Database
from catalogue.formats import lines, read, whole_market, write
from catalogue.kinds import RECORDS, Entry, Kind, kind_of
from catalogue.repository import Edit, Made, Repository, Row
from domain.clock import now_ms
from domain.errors import InvalidChange, OfferRankError
from features.market import load_market


def import_files(
    files: Sequence[Path], market: Path, url: str, replace: bool, expect: int | None, by: str | None, why: str
) -> None:
    """Errors as `Repository.change`."""
    repository, loaded = _repository(market, url)
    entries = [entry for path in files for entry in read(path, loaded)]
    edits = [Edit(kind_of(e), e.id, e) for e in entries]
    if replace:
        kept = {(e.kind, e.id) for e in edits}
        edits += [Edit(kind, i, None) for kind, i in _there(repository) if (kind, i) not in kept]
    _say(repository.change(edits, _who(by), why or f"import of {', '.join(f.name for f in files)}", now_ms(), expect))


def remove(campaigns: Sequence[str], offers: Sequence[str], market: Path, url: str, by: str | None, why: str) -> None:
    """Errors as `Repository.change`; one that is not there is a mistake."""
    repository, _ = _repository(market, url)
    there = _there(repository)
    wanted: list[tuple[Kind, str]] = [*(("campaign", c) for c in campaigns), *(("offer", o) for o in offers)]
    for kind, name in wanted:
        if (kind, name) not in there:
            raise InvalidChange(kind, f"there is no {name!r} in the catalogue")
    gone = dict.fromkeys(wanted) | {("offer", o): None for (kind, o), of in there.items() if kind == "offer" and of in campaigns}
    _say(repository.change([Edit(kind, i, None) for kind, i in gone], _who(by), why, now_ms()))


def export(out: Path, market: Path, url: str, at: int | None, whole: bool) -> None:
    """Errors as `write`."""
    repository, loaded = _repository(market, url)
    version, entries = _entries(repository, at)
    if whole:
        out.write_text(whole_market(market, entries), encoding="utf-8")
        load_market(out)
        typer.echo(f"{out}: catalogue {version}")
        return
    for path in write(out, entries, loaded):
        typer.echo(f"{path}: catalogue {version}")


def show_at(version: int, market: Path, url: str) -> None:
    """Prints a version."""
    repository, _ = _repository(market, url)
    for line in lines(_entries(repository, version)[1]):
        typer.echo(line, nl=False)


def show_log(market: Path, url: str, version: int | None, limit: int, as_json: bool) -> None:
    """Prints changes, or what one of them changed."""
    repository, _ = _repository(market, url)
    if version is not None:
        _at(repository, version)
        for before, after in repository.changed(version):
            said = {"kind": after.kind, "id": after.id, "from": _body(before), "to": _body(after)}
            typer.echo(orjson.dumps(said).decode() if as_json else _difference(said))
        return
    for change in repository.log(limit):
        if as_json:
            typer.echo(orjson.dumps(change).decode())
        else:
            at = datetime.fromtimestamp(change.at_ms / 1000, UTC).isoformat(timespec="seconds")
            typer.echo(
                f"{change.version:>6}  {at}  {change.by}: {change.entries} changed{f'; {change.why}' if change.why else ''}"
            )


def _repository(market: Path, url: str) -> tuple[Repository, Any]:
    try:
        database = Database(parse_url(url))
    except ValueError as e:
        raise OfferRankError(f"--catalogue: {e}") from None
    loaded = load_market(market, listed=False)
    return Repository(database, loaded), loaded


def _there(repository: Repository) -> dict[tuple[Kind, str], str]:
    """Everything there is, an offer with its campaign."""
    head = repository.head()
    rows = repository.rows(head.version) if head else ()
    return {(row.kind, row.id): orjson.loads(row.body or "{}").get("campaign", "") for row in rows}


def _at(repository: Repository, version: int | None) -> int:
    head = repository.head()
    if head is None or head.version == 0:
        raise OfferRankError("there is no catalogue yet; `offerrank catalogue import` makes one")
    if version is not None and version > head.version:
        raise OfferRankError(f"expected a version up to {head.version}, got {version}")
    return version or head.version


def _entries(repository: Repository, version: int | None) -> tuple[int, list[Entry]]:
    at = _at(repository, version)
    rows = sorted(repository.rows(at), key=lambda r: (r.kind, r.id))
    return at, [RECORDS[row.kind].model_validate_json(row.body or "") for row in rows]


def _who(by: str | None) -> str:
    return by or getpass.getuser()


def _say(made: Made) -> None:
    typer.echo(f"catalogue {made.version}: {made.entries} changed")


def _body(row: Row | None) -> Any:
    return None if row is None or row.body is None else orjson.loads(row.body)


def _difference(said: dict[str, Any]) -> str:
    before, after = said["from"] or {}, said["to"] or {}
    if not before or not after:
        return f"{said['kind']} {said['id']}: {'added' if after else 'taken out'}"
    keys = [k for k in dict.fromkeys((*before, *after)) if before.get(k) != after.get(k)]
    return f"{said['kind']} {said['id']}: " + ", ".join(f"{k} {_shown(before.get(k))} -> {_shown(after.get(k))}" for k in keys)


def _shown(value: Any) -> str:
    return orjson.dumps(value).decode()
