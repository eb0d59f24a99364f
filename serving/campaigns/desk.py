"""What the API does, apart from HTTP: looks entries up and changes them, for whoever asks, as far as he may."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from catalogue.browsing import Browser, Listed
from catalogue.database import Database
from catalogue.edits import Edit, EditsRefused, Standing
from catalogue.kinds import CHILDREN, KINDS, Entry, Kind, kind_of
from catalogue.repository import Made, Repository
from domain.campaign import Campaign, Offer, Status
from domain.errors import CatalogueConflict, InvalidChange
from features.market import Market
from serving.campaigns.access import Who
from serving.campaigns.bodies import Refused, merged, of_change, to_record
from serving.campaigns.review import reviewed
from serving.campaigns.shown import Json, entries_shown
from serving.gateway.wire import HttpError
from store.key_records import Role

ATTEMPTS = 20
"""At a change by what is there, while others change the same."""
ANY = -1
"""Instead of a version: whatever it is."""
ALL_AT_ONCE = 10_000

Make = Callable[[Any], object]
"""An entry as it is to be, as JSON, from what it is; None is no entry."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a change."""

    who: Who
    why: str
    key: str | None = None
    """The same request sent again is answered as the first time."""
    digest: str = ""
    """Of all that is asked for."""

    @property
    def request_key(self) -> str | None:
        """One caller's keys are not another's."""
        return None if self.key is None else f"{self.who.name}:{self.key}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One edit of a bulk, as it was asked for."""

    kind: Kind
    id: str
    make: Make
    version: int
    """Seen by whoever asks, 0 for none, or ANY."""
    given: object = None


class Desk:
    """Of one catalogue. Every method raises CatalogueAway where the database does not answer, HttpError for what is refused."""

    def __init__(self, database: Database, market: Market, clock: Callable[[], int]) -> None:
        self.database, self.market, self.clock = database, market, clock
        self.repository, self.browser = Repository(database, market), Browser(database)

    def head(self) -> int:
        """The newest version.

        Raises:
          HttpError: 409 while what the market file lists is sold: a change would end the sale of all of it.
        """
        head = self.repository.head()
        if head is None and self.market.campaigns:
            sold = "there is no catalogue yet, and what market.toml lists is sold"
            message = f"{sold}: take it over first, by `offerrank campaign import` or POST /v1/import"
            raise HttpError(409, "catalogue", message)
        return 0 if head is None else head.version

    def take_over(self, asked: Asked) -> Made:
        """Makes what the market file lists the first version, where there is none yet."""
        asked.who.require(Role.OPERATOR, "an import")
        listed: list[Entry] = [*self.market.advertisers, *self.market.campaigns, *self.market.offers]
        edits = [Edit(kind_of(e), e.id, e) for e in listed]
        try:
            return self.repository.change(edits, asked.who.name, asked.why or "what market.toml listed", self.clock(), 0)
        except CatalogueConflict:
            raise HttpError(409, "catalogue", "there is a catalogue already") from None

    def head_at(self, at: int | None) -> int:
        """The version that is looked at, the newest unless one is given.

        Raises:
          HttpError: 422 of one that is to come; as `head`.
        """
        head = self.head()
        if at is not None and at > head:
            raise HttpError(422, "at_version", f"expected a version up to {head}", at)
        return head if at is None else at

    def one(self, who: Who, kind: Kind, entry_id: str, at: int | None = None) -> Json:
        """An entry; 404 where it is not there for him."""
        self.head_at(at)
        (shown,) = entries_shown(kind, [self._seen(who, kind, entry_id, at)], self.browser, at, self.clock())
        return shown

    def put(self, asked: Asked, kind: Kind, entry_id: str, make: Make, version: int, given: object = None) -> tuple[Json, bool]:
        """Changes or makes one entry; what it is then, and whether it is new."""
        wanted = [Wanted(kind, entry_id, make, version, given)]
        made = self._once(asked) or self._change(asked, lambda: wanted, single=True)
        now = self.browser.one(kind, entry_id, made.version)
        assert now is not None
        (shown,) = entries_shown(kind, [now], self.browser, made.version, self.clock())
        return shown, version == 0 and now.version == made.version

    def bulk(self, asked: Asked, wanted: Sequence[Wanted]) -> Made:
        """All or nothing."""
        return self._once(asked) or self._change(asked, lambda: wanted)

    def remove(self, asked: Asked, kind: Kind, entry_id: str, version: int, whole: bool) -> Made:
        """Takes an entry out, with all that belongs to it if that is asked for."""

        def wanted() -> list[Wanted]:
            self._seen(asked.who, kind, entry_id)
            gone = [(kind, entry_id, version)]
            for at, name, _ in gone if whole else ():
                gone += [(CHILDREN[at], row.id, ANY) for row in self._all(CHILDREN[at], name)] if at in CHILDREN else []
            return [Wanted(at, name, lambda _: None, seen) for at, name, seen in gone]

        return self._once(asked) or self._change(asked, wanted, single=not whole)

    def switch(self, asked: Asked, entry_id: str, to: Status) -> Json:
        """Pauses or resumes a campaign, whoever else changes it."""
        before = {Status.PAUSED: Status.LIVE, Status.LIVE: Status.PAUSED}[to]

        def make(now: Any) -> object:
            status = now.get("status", Status.LIVE)
            if status not in (before, to):
                raise HttpError(409, "status", f"expected a campaign that is {before}", status)
            return now | {"status": to}

        return self.put(asked, "campaign", entry_id, make, ANY)[0]

    def pause_all(self, asked: Asked, advertiser: str | None) -> Made:
        """Pauses all live campaigns of an advertiser, or of the market, in one change."""
        return self._once(asked) or self._change(asked, lambda: self._switched(asked.who, advertiser, None, Status.PAUSED))

    def resume_all(self, asked: Asked, advertiser: str | None, paused_by: int) -> Made:
        """Lets those be shown again that a change has paused, and that are still paused."""
        changed = self.browser.changed([paused_by], asked.who.owners)
        then = {c.id for c in changed if c.kind == "campaign" and c.after is not None and _status(c.after) is Status.PAUSED}
        then -= {c.id for c in changed if c.before is not None and _status(c.before) is not Status.LIVE}
        return self._once(asked) or self._change(asked, lambda: self._switched(asked.who, advertiser, then, Status.LIVE))

    def _switched(self, who: Who, advertiser: str | None, among: set[str] | None, to: Status) -> list[Wanted]:
        if advertiser is None:
            who.require(Role.OPERATOR, "all of the market")
        rows = self._all("campaign", advertiser, None if advertiser is None else who)
        if advertiser is not None and not rows and self.browser.one("advertiser", advertiser) is None:
            raise not_there("advertiser", advertiser)
        before = Status.LIVE if to is Status.PAUSED else Status.PAUSED
        found = [r for r in rows if (among is None or r.id in among) and _status(r.body) is before]
        return [Wanted("campaign", r.id, lambda now: now | {"status": to}, ANY) for r in found]

    def _all(self, kind: Kind, parent: str | None, who: Who | None = None) -> list[Listed]:
        found: list[Listed] = []
        while True:
            after = found[-1].id if found else ""
            rows = self.browser.page(kind, after, ALL_AT_ONCE, None if who is None else who.owners, parent)
            found += rows
            if len(rows) < ALL_AT_ONCE:
                return found

    def _once(self, asked: Asked) -> Made | None:
        """What became of the same request before."""
        if asked.request_key is None:
            return None
        try:
            return self.repository.done(asked.request_key, asked.digest)
        except CatalogueConflict:
            raise HttpError(409, "idempotency-key", "this key belongs to another request", asked.key) from None

    def _change(self, asked: Asked, wanted: Callable[[], Sequence[Wanted]], *, single: bool = False) -> Made:
        """As `_changed`. What the same request, made at the same time, has just done is no reason to refuse this one."""
        try:
            return self._changed(asked, wanted, single)
        except HttpError:
            made = self._once(asked)
            if made is None:
                raise
            return made

    def _changed(self, asked: Asked, wanted: Callable[[], Sequence[Wanted]], single: bool) -> Made:
        """Makes a change of what is there, again if it is another thing by then and nobody said which he has seen."""
        asked.who.require(Role.MANAGER, "a change")
        self.head()
        for attempt in range(ATTEMPTS):
            asked_for = wanted()
            edits = self._edits(asked, asked_for, single)
            if not edits:
                return Made(self.head(), 0)
            try:
                return self.repository.change_all(
                    edits, asked.who.name, asked.why, self.clock(), None, asked.request_key, asked.digest or None
                )
            except EditsRefused as e:
                moved = [i for i, error in e.errors if isinstance(error, CatalogueConflict)]
                if moved and all(asked_for[i].version == ANY for i in moved) and attempt < ATTEMPTS - 1:
                    continue
                raise _refused([(i, _as_http(error, edits[i])) for i, error in e.errors], single) from None
            except CatalogueConflict:
                raise HttpError(409, "idempotency-key", "this key belongs to another request", asked.key) from None
        raise AssertionError("the last attempt ends it")

    def _edits(self, asked: Asked, wanted: Sequence[Wanted], single: bool) -> list[Edit]:
        """What is asked for, by what is there now; all that is wrong with it at once."""
        now = self.browser.many([(w.kind, w.id) for w in wanted if w.id])
        edits, wrong = dict[int, Edit](), list[tuple[int | None, HttpError]]()
        advertiser_of = self._advertisers(wanted, now)
        # Campaigns before offers: one that is new may be whose campaign is new as well.
        for i, w in sorted(enumerate(wanted), key=lambda numbered: KINDS.index(numbered[1].kind)):
            there = now.get((w.kind, w.id))
            try:
                edit = _edit(asked.who, w, there, advertiser_of)
            except Refused as e:
                wrong += [(i, one) for _, one in e.errors]
            except HttpError as e:
                wrong.append((i, e))
            else:
                edits[i] = edit
                if isinstance(edit.entry, Campaign):
                    advertiser_of[edit.id] = edit.entry.advertiser
        if wrong:
            raise _refused(sorted(wrong, key=lambda numbered: numbered[0] or 0), single)
        return [edits[i] for i in range(len(wanted))]

    def _advertisers(self, wanted: Sequence[Wanted], now: Mapping[Any, Any]) -> dict[str, str]:
        """Campaign -> advertiser, of those that wanted offers belong to or are to belong to."""
        named = {str(row.parent) for (kind, _), row in now.items() if kind == "offer"}
        given = (w.given for w in wanted if w.kind == "offer" and isinstance(w.given, Mapping))
        named |= {one["campaign"] for one in given if isinstance(one.get("campaign"), str) and "\0" not in one["campaign"]}
        return {name: str(row.parent) for (_, name), row in self.browser.many({("campaign", n) for n in named}).items()}

    def _seen(self, who: Who, kind: Kind, entry_id: str, at: int | None = None) -> Listed:
        row = self.browser.one(kind, entry_id, at)
        if kind == "advertiser" and row is None and who.sees(entry_id):  # one that only campaigns name
            named = self.browser.page("campaign", "", 1, None, entry_id, at)
            row = Listed("advertiser", entry_id, 0, None, None, 0, "") if named else None
        owner = entry_id
        if row is not None and kind == "campaign":
            owner = str(row.parent)
        elif row is not None and kind == "offer" and who.owners is not None:
            campaign = self.browser.one("campaign", str(row.parent), at)
            owner = str(campaign.parent) if campaign else ""
        if row is None or not who.sees(owner):
            raise not_there(kind, entry_id)
        return row


def patching(patch: object) -> Make:
    """An entry by a JSON merge patch."""
    return lambda now: merged(now or {}, patch)


def not_there(kind: Kind, entry_id: str) -> HttpError:
    """It is not there, or not for who asks."""
    return HttpError(404, "id", f"there is no such {kind}", entry_id)


def _edit(who: Who, w: Wanted, there: Standing | None, advertiser_of: Mapping[str, str]) -> Edit:
    """What is asked for, by what is there.

    Raises:
      HttpError: it is not there for him, is another by now, is not right, or is not for him to make.
    """
    if w.version == 0 and there is not None:
        raise HttpError(409, "id", f"there is a {w.kind} of this id already", w.id)
    if (there is None and w.version != 0) or (there is not None and not who.sees(_owner(w, there, advertiser_of))):
        raise not_there(w.kind, w.id)
    if w.version not in (ANY, 0) and there is not None and there.version != w.version:
        raise _moved(there.version, w.version)
    body = None if there is None else there.body
    given = w.make(None if body is None else orjson.loads(body))
    entry = None if given is None else to_record(w.kind, w.id, given)
    if w.kind == "advertiser":
        who.require(Role.OPERATOR, "a change of an advertiser")
    elif isinstance(entry, Campaign):
        who.require_owner(entry.advertiser, "advertiser")
    elif isinstance(entry, Offer):
        if who.owners is not None:
            who.require_owner(advertiser_of.get(entry.campaign), "campaign")
        entry = reviewed(who, body, entry, w.given)
    return Edit(w.kind, entry.id if entry else w.id, entry, there.version if there else 0)


def _owner(w: Wanted, there: Standing, advertiser_of: Mapping[str, str]) -> str | None:
    return w.id if w.kind == "advertiser" else there.parent if w.kind == "campaign" else advertiser_of.get(str(there.parent))


def _status(body: str | None) -> Status:
    return Status(orjson.loads(body or "{}").get("status", Status.LIVE))


def _moved(now: int, seen: int) -> HttpError:
    return HttpError(412, "if-match", f"somebody else has changed it: it is version {now} by now", seen, {"etag": f'"{now}"'})


def _as_http(error: InvalidChange | CatalogueConflict, edit: Edit) -> HttpError:
    if isinstance(error, InvalidChange):
        return of_change(error, edit.kind, edit.id)
    return HttpError(412, "if-match", "somebody else has changed it just now", edit.expected_version)


def _refused(errors: list[tuple[int, HttpError]] | list[tuple[int | None, HttpError]], single: bool) -> HttpError:
    return Refused([(None if single else i, e) for i, e in errors])
