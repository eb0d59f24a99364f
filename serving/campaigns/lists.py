"""Lists of entries and of changes, a page at a time: a page begins after an id or below a version, so nothing is missed or told
twice while others change the catalogue."""

from typing import Any

from starlette.requests import Request

from catalogue.browsing import Listed
from catalogue.edits import At
from catalogue.kinds import Kind
from domain.campaign import Campaign
from serving.campaigns import asking
from serving.campaigns.access import Who
from serving.campaigns.desk import Desk
from serving.campaigns.shown import Json, change_shown, entries_shown, record_of, state_of
from serving.gateway.wire import HttpError

SCANNED = 5_000
"""Entries looked at for one page: where few fit a filter, a page has few or none, and `next` leads on."""
TOLD = 20
"""Entries of a change that a list tells; more are told by the change itself."""
STATES = ("draft", "scheduled", "live", "paused", "ended")
REVIEWS = ("pending", "approved", "rejected")
FILTERS: dict[Kind, tuple[str, ...]] = {
    "advertiser": ("text",),
    "campaign": ("text", "advertiser", "status"),
    "offer": ("text", "campaign", "review"),
}
PAGE = ("cursor", "limit", "at_version")


def entries(desk: Desk, who: Who, kind: Kind, request: Request) -> Json:
    """A page of entries that fit the filters."""
    asking.only(request, (*PAGE, *FILTERS[kind]))
    at, most, after = asking.number(request, "at_version", 1), asking.limit(request), asking.cursor(request)
    parent = asking.text(request, "advertiser" if kind == "campaign" else "campaign") or None
    fits, version = _filter(kind, request, desk.clock()), desk.head_at(at)
    found, scanned, ended = list[Listed](), 0, False
    while len(found) < most and scanned < SCANNED and not ended:
        batch = most if fits is None else 1_000
        rows = desk.browser.page(kind, after, batch, who.owners, parent, at)
        ended, scanned = len(rows) < batch, scanned + len(rows)
        for row in rows:
            after = row.id
            if fits is None or fits(row):
                found.append(row)
            if len(found) == most:
                ended = ended and row is rows[-1]
                break
    shown = entries_shown(kind, found, desk.browser, at, desk.clock())
    return {"items": shown, "next": None if ended else asking.to_cursor(after), "catalogue": version}


def changes(desk: Desk, who: Who, request: Request, of: At | None) -> Json:
    """A page of changes, newest first."""
    asking.only(request, ("before", "limit"))
    desk.head()
    if of is not None:
        _seen_once(desk, who, of)
    found = desk.browser.log(asking.limit(request), asking.number(request, "before", 1), who.owners, of)
    told = [c.version for c in found if of is not None or c.entries <= TOLD]
    by_version: dict[int, list[Any]] = {version: [] for version in told}
    for changed in desk.browser.changed(told, who.owners, of) if told else ():
        by_version[changed.version].append(changed)
    items = [change_shown(c, by_version.get(c.version)) for c in found]
    return {"items": items, "next": found[-1].version if len(found) == asking.limit(request) else None}


def change(desk: Desk, who: Who, version: int) -> Json:
    """One change with all that it changed, as far as it is there for who asks."""
    found = desk.browser.log(1, version + 1, who.owners)
    if not found or found[0].version != version:
        raise HttpError(404, "version", "there is no such change", version)
    return change_shown(found[0], desk.browser.changed([version], who.owners))


def _seen_once(desk: Desk, who: Who, of: At) -> None:
    """An entry that is gone has its changes still; of which advertiser it was, the last of them says."""
    if who.owners is not None:
        desk.one(who, *of)
    elif not desk.browser.log(1, None, None, of):
        raise HttpError(404, "id", f"there is no such {of[0]}", of[1])


def _filter(kind: Kind, request: Request, now_ms: int) -> Any:
    looked_for = asking.text(request, "text").casefold()
    wanted = asking.text(request, "review" if kind == "offer" else "status") if kind != "advertiser" else ""
    known = REVIEWS if kind == "offer" else STATES
    if wanted and not {*wanted.split(",")} <= {*known}:
        raise HttpError(422, "review" if kind == "offer" else "status", f"expected some of {', '.join(known)}", wanted)
    if not looked_for and not wanted:
        return None

    def fits(row: Listed) -> bool:
        record = record_of(row)
        if isinstance(record, dict):  # which this version cannot read: shown, so that it is seen
            return not wanted
        state = state_of(record, now_ms) if isinstance(record, Campaign) else getattr(record, "review", "")
        if wanted and state not in wanted.split(","):
            return False
        said = (record.id, getattr(record, "name", ""), getattr(record, "title", ""), getattr(record, "body", ""))
        return not looked_for or any(looked_for in one.casefold() for one in said)

    return fits
