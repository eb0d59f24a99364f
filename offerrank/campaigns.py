"""`offerrank campaign`: what the campaign API does, typed by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import typer

from domain.campaign import Campaign
from domain.errors import OfferRankError
from domain.money import format_micros
from offerrank.client import ApiError, CampaignClient, Held, Made

SERVED_KEY = Path(".offerrank/serve/operator-key")
"""What `offerrank serve` has made."""


def client(url: str, key: str | None) -> CampaignClient:
    """With the key given, or that of an OfferRank that is served from this folder.

    Raises:
      OfferRankError: there is neither.
    """
    if not key and SERVED_KEY.is_file():
        key = SERVED_KEY.read_text(encoding="utf-8").strip()
    if not key:
        raise OfferRankError(f"--key: expected a viewer's, manager's or operator's key; there is none in {SERVED_KEY} either")
    return CampaignClient(url, key)


def take_over(api: CampaignClient, why: str) -> None:
    """Of the market file's list."""
    with api:
        _made(api.take_over(why=why))


def show_list(
    api: CampaignClient, advertiser: str | None, status: str | None, text: str | None, limit: int, as_json: bool
) -> None:
    """One line a campaign."""
    with api:
        currency = str(api.me()["currency"])
        found = api.campaigns.list(page=min(limit, 500), advertiser=advertiser, status=status, text=text)
        for i, held in enumerate(found):
            if i == limit:
                typer.echo(f"... and more than {limit}: --limit shows them", err=True)
                return
            typer.echo(orjson.dumps(_json(held)).decode() if as_json else _line(held, currency))


def show(api: CampaignClient, campaign: str, at_version: int | None, as_json: bool) -> None:
    """One campaign with the fields that are not their default."""
    with api:
        held = api.campaigns.get(campaign, at_version)
    if as_json:
        typer.echo(orjson.dumps(_json(held)).decode())
        return
    _say(held)
    for name, value in held.record.model_dump(mode="json", exclude_defaults=True).items():
        typer.echo(f"  {name} = {orjson.dumps(value).decode()}")


def create(api: CampaignClient, campaign: str, fields: Sequence[str], file: Path | None, why: str) -> None:
    """From fields, a file of JSON, or both."""
    given: Any = {}
    if file is not None:
        given = _read(file)
        if not isinstance(given, dict):
            raise OfferRankError(f"{file}: expected a JSON object")
    with api:
        _say(api.campaigns.create({**given, **_fields(fields), "id": campaign}, why=why))


def change(api: CampaignClient, campaign: str, fields: Sequence[str], version: int | None, why: str) -> None:
    """Sets some fields."""
    with api:
        _say(api.campaigns.patch(campaign, _fields(fields), version, why=why))


def switch(
    api: CampaignClient, campaign: str | None, advertiser: str | None, all_: bool, paused_by: int | None, why: str
) -> None:
    """Pauses, or where `paused_by` is given resumes what that version paused."""
    if sum((campaign is not None, advertiser is not None, all_)) != 1:
        raise typer.BadParameter("say which: a campaign, --advertiser or --all")
    with api:
        if campaign is not None:
            _say(api.pause(campaign, why=why) if paused_by is None else api.resume(campaign, why=why))
        else:
            _made(api.pause_all(advertiser, why=why) if paused_by is None else api.resume_all(paused_by, advertiser, why=why))


def archive(api: CampaignClient, campaign: str, why: str) -> None:
    """It is over; it stays in the catalogue."""
    with api:
        _say(api.campaigns.patch(campaign, {"status": "ended"}, None, why=why))


def bulk(api: CampaignClient, file: Path, why: str) -> None:
    """Edits of a file, JSON or JSON lines; all that is wrong is said.

    Raises:
      OfferRankError: nothing was changed.
    """
    given = _read(file)
    edits = given.get("edits", [given]) if isinstance(given, dict) else given
    with api:
        try:
            _made(api.bulk(edits, why=why))
        except ApiError as e:
            for one in e.errors:
                error = one["error"]
                got = f", got {orjson.dumps(error['got']).decode()}" if "got" in error else ""
                typer.echo(f"edits[{one.get('index', '')}].{error['field']}: {error['message']}{got}", err=True)
            raise


def show_log(api: CampaignClient, campaign: str | None, version: int | None, limit: int, as_json: bool) -> None:
    """Who changed what, newest first."""
    with api:
        changes = [api.change_of(version)] if version is not None else api.changes(campaign, min(limit, 500))
    for one in changes:
        if as_json:
            typer.echo(orjson.dumps(one).decode())
            continue
        why = f"; {one['why']}" if one["why"] else ""
        typer.echo(f"{one['version']:>6}  {one['at']}  {one['by']}: {one['entries']} changed{why}")
        for entry in one["changed"] or ():
            fields = ", ".join(f"{f['field']} {_shown(f['from'])} -> {_shown(f['to'])}" for f in entry["fields"])
            typer.echo(
                f"        {entry['kind']} {entry['id']} {entry['what']}{f': {fields}' if entry['what'] == 'changed' else ''}"
            )


def _line(held: Held[Campaign], currency: str) -> str:
    c = held.record
    bid = f"{format_micros(c.bid_micros, currency)} {c.bid_kind}"
    budget = "no budget" if c.daily_budget_micros is None else f"{format_micros(c.daily_budget_micros, currency)} a day"
    offers = f"{held.children} offer{'' if held.children == 1 else 's'}"
    return f"{c.id:20}  {held.state:9}  {c.advertiser:16}  {bid:18}  {budget:22}  {offers:9}  {c.name}".rstrip()


def _say(held: Held[Campaign]) -> None:
    by = f", {held.changed_at:%Y-%m-%d %H:%M:%SZ} by {held.changed_by}" if held.changed_at else ""
    typer.echo(f"{held.record.id}: {held.state}, version {held.version}{by}")


def _made(made: Made) -> None:
    typer.echo(f"version {made.version}: {made.entries} changed")


def _json(held: Held[Campaign]) -> dict[str, Any]:
    return {
        "campaign": held.record.model_dump(mode="json"),
        "version": held.version,
        "state": held.state,
        "offers": held.children,
    }


def _fields(given: Sequence[str]) -> dict[str, Any]:
    """`name=value`: JSON, or else text; nothing is the default; `targeting.country=["DE"]` is within a table."""
    fields: dict[str, Any] = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"expected name=value, got {one!r}")
        try:
            value = orjson.loads(text) if text else None
        except orjson.JSONDecodeError:
            value = text
        within = fields
        *outer, last = name.split(".")
        for step in outer:
            within = within.setdefault(step, {})
        within[last] = value
    return fields


def _read(file: Path) -> Any:
    try:
        content = file.read_bytes()
    except OSError as e:
        raise OfferRankError(f"{file}: cannot be read: {e.strerror}") from None
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        pass
    found = []
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip():
            try:
                found.append(orjson.loads(line))
            except orjson.JSONDecodeError as e:
                raise OfferRankError(f"{file}: line {number}: is not JSON: {e}") from None
    return found


def _shown(value: Any) -> str:
    return orjson.dumps(value).decode()
