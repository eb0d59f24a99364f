"""Reads and changes the catalogue: the command line and the API both come through here."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, and_, bindparam, or_, select, update

from catalogue.checks import Entry, check, stored
from catalogue.database import CatalogueAway, Database
from catalogue.tables import CHANGE, ENTRY, HEAD
from domain.errors import CatalogueConflict, ContractError, InvalidChange, shown
from features.market import Market

Kind = Literal["campaign", "offer"]
At = tuple[Kind, str]
"""Which campaign or offer."""
AT_ONCE = 500
"""Ids in one statement."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A campaign or offer as it is to be; None takes it out."""

    kind: Kind
    id: str
    entry: Entry | None
    expected_version: int | None = None
    """Version of this entry that whoever edits it has seen, 0 for none; None where it does not matter."""


class Row(NamedTuple):
    """A campaign or offer at one version."""

    kind: Kind
    id: str
    version: int
    body: str | None
    """JSON; None where it is gone."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest version of a catalogue."""

    market: str
    history: str
    """Tells it from another database that has the same versions."""
    version: int


@dataclass(frozen=True, slots=True)
class Change:
    """Who made a version, when and why."""

    version: int
    at_ms: int
    by: str
    why: str
    entries: int
    """Campaigns and offers that are other by it."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a change."""

    version: int
    """That has it; the newest, where everything was so already."""
    entries: int
    """Campaigns and offers that are other by it."""


class Repository:
    """The catalogue of a market.

    Raises, in every method:
      CatalogueAway: the database does not answer.
    """

    def __init__(self, database: Database, market: Market) -> None:
        self._database, self._market = database, market

    def head(self) -> Head | None:
        """The newest version; None where there is no catalogue yet.

        Raises:
          ContractError: it is that of another market.
        """
        with self._database.reading() as db:
            head = None if db is None else _head(db)
        if head is not None and head.market != self._market.name:
            raise ContractError(f"catalogue: expected that of market {self._market.name!r}, got that of {head.market!r}")
        return head

    def rows(self, at: int, since: int = 0, kinds: Sequence[Kind] = ("campaign", "offer")) -> Iterator[Row]:
        """What holds at a version, of what changed after another: all there is, unless `since` is given, which tells what is
        gone as well. In no order."""
        wanted = [ENTRY.c.version <= at, or_(ENTRY.c.until.is_(None), ENTRY.c.until > at)]
        wanted += [ENTRY.c.version > since if since else ENTRY.c.body.is_not(None), ENTRY.c.kind.in_(kinds)]
        with self._database.reading() as db:
            if db is None:
                return
            found = db.execution_options(yield_per=10_000).execute(
                select(ENTRY.c.kind, ENTRY.c.id, ENTRY.c.version, ENTRY.c.body).where(*wanted)
            )
            yield from (Row(*row) for row in found)

    def log(self, limit: int = 50, before: int | None = None) -> list[Change]:
        """Changes, newest first."""
        with self._database.reading() as db:
            if db is None:
                return []
            newest = select(CHANGE.c.version, CHANGE.c.at_ms, CHANGE.c.by, CHANGE.c.why, CHANGE.c.entries)
            newest = newest.order_by(CHANGE.c.version.desc()).limit(limit)
            return [Change(*row) for row in db.execute(newest if before is None else newest.where(CHANGE.c.version < before))]

    def changed(self, version: int) -> list[tuple[Row | None, Row]]:
        """What a version changed: each entry as it was before, if it was there, and as it is since."""
        with self._database.reading() as db:
            if db is None:
                return []
            columns = (ENTRY.c.kind, ENTRY.c.id, ENTRY.c.version, ENTRY.c.body)
            new = [Row(*row) for row in db.execute(select(*columns).where(ENTRY.c.version == version).order_by("kind", "id"))]
            old = {(r.kind, r.id): r for r in (Row(*row) for row in db.execute(select(*columns).where(ENTRY.c.until == version)))}
            return [(old.get((r.kind, r.id)), r) for r in new]

    def change(
        self,
        edits: Sequence[Edit],
        by: str,
        why: str,
        at_ms: int,
        expected_version: int | None = None,
        request_key: str | None = None,
    ) -> Made:
        """Makes a new version with all of the edits, or none of them; what is as it was already is no edit.

        Args:
          expected_version: of the catalogue that whoever edits it has seen.
          request_key: a request that is sent again with the same key is answered as it was the first time.
        Raises:
          InvalidChange: an edit does not fit the market, or what it refers to is not there; says which field, and the value.
          CatalogueConflict: somebody else made a change since.
        """
        for edit in edits:
            if edit.entry is not None:
                check(self._market, edit.entry)
        bodies = {(e.kind, e.id): None if e.entry is None else stored(e.entry) for e in edits}
        if len(bodies) < len(edits):
            raise InvalidChange("edits", "name a campaign or an offer twice")
        digest = hashlib.sha256(repr(sorted(bodies.items())).encode()).hexdigest() if request_key else None
        with self._database.writing(self._market.name) as db:
            db.execute(update(HEAD).values(version=HEAD.c.version + 1))  # whoever comes next waits here until this is committed
            version = _head(db).version
            if request_key is not None and (done := _done(db, request_key, digest)) is not None:
                db.rollback()
                return done
            if expected_version is not None and expected_version != version - 1:
                raise CatalogueConflict(f"catalogue: expected version {expected_version}, it is {version - 1} by now")
            before = _current(db, bodies)
            for edit in edits:
                _check_expected(edit, before.get((edit.kind, edit.id)))
            other = {at: body for at, body in bodies.items() if body != (before[at].body if at in before else None)}
            if not other:
                db.rollback()
                return Made(version - 1, 0)
            entries = {(e.kind, e.id): e.entry for e in edits if (e.kind, e.id) in other}
            _check_references(db, entries)
            _write(db, version, entries, other)
            db.execute(
                CHANGE.insert().values(
                    version=version,
                    at_ms=at_ms,
                    by=by,
                    why=why,
                    entries=len(other),
                    request_key=request_key,
                    request_digest=digest,
                )
            )
            return Made(version, len(other))


def _head(db: Connection) -> Head:
    row = db.execute(select(HEAD.c.market, HEAD.c.history, HEAD.c.version)).one_or_none()
    if row is None:
        raise CatalogueAway("is just being made")
    return Head(*row)


def _done(db: Connection, request_key: str, digest: str | None) -> Made | None:
    columns = (CHANGE.c.version, CHANGE.c.entries, CHANGE.c.request_digest)
    found = db.execute(select(*columns).where(CHANGE.c.request_key == request_key)).one_or_none()
    if found is None:
        return None
    if found[2] != digest:
        raise CatalogueConflict(f"request key {request_key!r}: belongs to another change, version {found[0]}")
    return Made(found[0], found[1])


def _current(db: Connection, wanted: Iterable[At]) -> dict[At, Row]:
    """Newest rows of these entries, gone ones as well."""
    found = dict[At, Row]()
    ids = dict[Kind, list[str]]()
    for kind, entry_id in wanted:
        ids.setdefault(kind, []).append(entry_id)
    for kind, of_kind in ids.items():
        for start in range(0, len(of_kind), AT_ONCE):
            some = and_(ENTRY.c.kind == kind, ENTRY.c.id.in_(of_kind[start : start + AT_ONCE]), ENTRY.c.until.is_(None))
            for row in db.execute(select(ENTRY.c.id, ENTRY.c.version, ENTRY.c.body).where(some)):
                found[kind, row[0]] = Row(kind, *row)
    return found


def _check_expected(edit: Edit, before: Row | None) -> None:
    now = before.version if before is not None and before.body is not None else 0
    if edit.expected_version is not None and edit.expected_version != now:
        raise CatalogueConflict(f"{edit.kind} {edit.id!r}: expected version {edit.expected_version}, it is {now} by now")


def _check_references(db: Connection, edits: Mapping[At, Entry | None]) -> None:
    """Every offer has its campaign, by what is there and what these edits make of it."""
    wanted: set[At] = {("campaign", _campaign(e)) for (kind, _), e in edits.items() if kind == "offer" and e is not None}
    there = {at for at, row in _current(db, wanted - edits.keys()).items() if row.body is not None}
    there |= {at for at, entry in edits.items() if entry is not None}
    for (kind, entry_id), entry in edits.items():
        if kind == "offer" and entry is not None and ("campaign", _campaign(entry)) not in there:
            named = shown(_campaign(entry))
            raise InvalidChange(f'offer "{entry_id}".campaign', f"expected one of the campaigns, got {named}")
    for (kind, entry_id), entry in edits.items():
        if kind == "campaign" and entry is None:
            holds = and_(ENTRY.c.campaign == entry_id, ENTRY.c.until.is_(None), ENTRY.c.body.is_not(None))
            left = [i for (i,) in db.execute(select(ENTRY.c.id).where(holds)) if ("offer", i) not in edits]
            if left:
                raise InvalidChange(
                    f'campaign "{entry_id}"', f"still has {len(left)} offers, such as {left[0]!r}: take them out as well"
                )


def _campaign(entry: Entry) -> str:
    return str(getattr(entry, "campaign", ""))


def _write(db: Connection, version: int, entries: Mapping[At, Entry | None], bodies: Mapping[At, str | None]) -> None:
    ends = update(ENTRY).where(ENTRY.c.kind == bindparam("of_kind"), ENTRY.c.id == bindparam("of_id"), ENTRY.c.until.is_(None))
    db.execute(ends.values(until=version), [{"of_kind": kind, "of_id": entry_id} for kind, entry_id in bodies])
    rows: list[dict[str, Any]] = [
        {"kind": kind, "id": entry_id, "version": version, "body": body, "campaign": _campaign(entry) or None if entry else None}
        for ((kind, entry_id), body), entry in zip(bodies.items(), (entries[at] for at in bodies), strict=True)
    ]
    db.execute(ENTRY.insert(), rows)
