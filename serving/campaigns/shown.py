"""What goes out: entries with what a list of them needs, and changes field by field."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import orjson
from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from catalogue.browsing import Browser, Changed, Listed
from catalogue.kinds import CHILDREN, RECORDS, Kind
from catalogue.repository import Change
from domain.campaign import Advertiser, Campaign, Status
from serving.campaigns.bodies import plain

Json = dict[str, Any]


def state_of(campaign: Campaign, now_ms: int) -> str:
    """What people call a campaign by its status and its dates: draft, scheduled, live, paused, ended."""
    if campaign.status is not Status.LIVE:
        return campaign.status.value
    if campaign.ends is not None and now_ms >= campaign.ends.timestamp() * 1000:
        return "ended"
    return "scheduled" if campaign.starts is not None and now_ms < campaign.starts.timestamp() * 1000 else "live"


def entries_shown(kind: Kind, rows: Sequence[Listed], browser: Browser, at: int | None, now_ms: int) -> list[Json]:
    """Entries, each with its version, its last change, and how many belong to it."""
    counts = browser.children(kind, [row.id for row in rows], at)
    shown = []
    for row in rows:
        record = record_of(row)
        one: Json = {kind: plain(record) if isinstance(record, RECORDS[kind]) else record, "version": row.version}
        if isinstance(record, Campaign):
            one["state"] = state_of(record, now_ms)
        if kind in CHILDREN:
            one[f"{CHILDREN[kind]}s"] = counts.get(row.id, 0)
        one["changed"] = {"at": iso(row.at_ms), "by": row.by} if row.version else None
        shown.append(one)
    return shown


def record_of(row: Listed) -> Any:
    """What a row holds: a record, or, where another version of OfferRank wrote what this one does not take, JSON."""
    if row.body is None:
        return Advertiser(id=row.id)
    try:
        return RECORDS[row.kind].model_validate_json(row.body)
    except ValidationError:
        return orjson.loads(row.body)


def change_shown(change: Change, changed: Sequence[Changed] | None) -> Json:
    """A change, with what it changed unless that is too much."""
    one: Json = {"version": change.version, "at": iso(change.at_ms), "by": change.by, "why": change.why}
    return one | {"entries": change.entries, "changed": None if changed is None else [difference(c) for c in changed]}


def difference(changed: Changed) -> Json:
    """What became of one entry, field by field, from what to what: what it did not say is the field's default."""
    before, after = (None if body is None else orjson.loads(body) for body in (changed.before, changed.after))
    what = "added" if before is None else "removed" if after is None else "changed"
    usual = _usual(changed.kind) if what == "changed" else {}
    fields = [{"field": name, "from": a, "to": b} for name, a, b in _fields("", before or {}, after or {}, usual)]
    return {"kind": changed.kind, "id": changed.id, "what": what, "fields": fields}


@cache
def _usual(kind: Kind) -> Json:
    """Defaults, as JSON."""
    fields = RECORDS[kind].model_fields.items()
    return {name: to_jsonable_python(f.get_default(call_default_factory=True)) for name, f in fields if not f.is_required()}


def _fields(path: str, before: Json, after: Json, usual: Json) -> list[tuple[str, Any, Any]]:
    found = []
    for name in dict.fromkeys((*before, *after)):
        a, b = (side.get(name, usual.get(name)) for side in (before, after))
        if isinstance(a, dict) and isinstance(b, dict):
            found += _fields(f"{path}{name}.", a, b, {})
        elif a != b:
            found.append((f"{path}{name}", a, b))
    return found


def iso(at_ms: int) -> str:
    """RFC 3339, UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
