"""Reads and changes the catalogue: the command line and the API both come through here."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, or_, select, update

from catalogue.checks import stored
from catalogue.database import CatalogueAway, Database
from catalogue.edits import At, Edit, EditsRefused, Standing, check_against, check_form, standing
from catalogue.kinds import KINDS, Entry, Kind, parent_of
from catalogue.tables import CHANGE, ENTRY, HEAD
from domain.errors import CatalogueConflict, ContractError
from features.market import Market

__all__ = ["At", "Change", "Edit", "Head", "Kind", "Made", "Repository", "Row"]


class Row(NamedTuple):
    """An advertiser, campaign or offer at one version."""

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
    """Advertisers, campaigns and offers that are other by it."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a change."""

    version: int
    """That has it; the newest, where everything was so already."""
    entries: int
    """Advertisers, campaigns and offers that are other by it."""


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

    def rows(self, at: int, since: int = 0, kinds: Sequence[Kind] = KINDS) -> Iterator[Row]:
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
        request_digest: str | None = None,
    ) -> Made:
        """As `change_all`, and of what is wrong with the edits the first thing alone.

        Raises:
          InvalidChange: an edit does not fit the market, or what it refers to is not there; says which field, and the value.
          CatalogueConflict: somebody else made a change since.
        """
        try:
            return self.change_all(edits, by, why, at_ms, expected_version, request_key, request_digest)
        except EditsRefused as e:
            raise e.errors[0][1] from None

    def change_all(
        self,
        edits: Sequence[Edit],
        by: str,
        why: str,
        at_ms: int,
        expected_version: int | None = None,
        request_key: str | None = None,
        request_digest: str | None = None,
    ) -> Made:
        """Makes a new version with all of the edits, or none of them; what is as it was already is no edit.

        Args:
          expected_version: of the catalogue that whoever edits it has seen.
          request_key: a request that is sent again with the same key is answered as it was the first time.
          request_digest: tells whether it is the same request; where the edits follow from what was there, they do not.
        Raises:
          EditsRefused: some edits do not fit the market, refer to what is not there, or were made by what is there no more.
          CatalogueConflict: the catalogue is at another version, or the key belongs to another request.
        """
        check_form(self._market, edits)
        bodies = {e.at: None if e.entry is None else stored(e.entry) for e in edits}
        if request_key is not None and request_digest is None:
            request_digest = hashlib.sha256(repr(sorted(bodies.items())).encode()).hexdigest()
        with self._database.writing(self._market.name) as db:
            db.execute(update(HEAD).values(version=HEAD.c.version + 1))  # whoever comes next waits here until this is committed
            version = _head(db).version
            if request_key is not None and (done := _done(db, request_key, request_digest)) is not None:
                db.rollback()
                return done
            if expected_version is not None and expected_version != version - 1:
                raise CatalogueConflict(f"catalogue: expected version {expected_version}, it is {version - 1} by now")
            before = standing(db, bodies)
            check_against(db, edits, before)
            other = {at: body for at, body in bodies.items() if body != (before[at].body if at in before else None)}
            if not other:
                db.rollback()
                return Made(version - 1, 0)
            _write(db, version, {e.at: e.entry for e in edits if e.at in other}, other, before)
            made = {"version": version, "at_ms": at_ms, "by": by, "why": why, "entries": len(other)}
            db.execute(CHANGE.insert().values(**made, request_key=request_key, request_digest=request_digest))
            return Made(version, len(other))

    def done(self, request_key: str, request_digest: str) -> Made | None:
        """What became of a request with this key; None of one that changed nothing yet.

        Raises:
          CatalogueConflict: the key belongs to another request.
        """
        with self._database.reading() as db:
            return None if db is None else _done(db, request_key, request_digest)


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


def _write(
    db: Connection,
    version: int,
    entries: Mapping[At, Entry | None],
    bodies: Mapping[At, str | None],
    before: Mapping[At, Standing],
) -> None:
    ends = update(ENTRY).where(ENTRY.c.kind == bindparam("of_kind"), ENTRY.c.id == bindparam("of_id"), ENTRY.c.until.is_(None))
    db.execute(ends.values(until=version), [{"of_kind": kind, "of_id": entry_id} for kind, entry_id in bodies])
    rows: list[dict[str, Any]] = [
        {"kind": at[0], "id": at[1], "version": version, "body": body, "parent": parent_of(entry) if entry else before[at].parent}
        for (at, body), entry in zip(bodies.items(), (entries[at] for at in bodies), strict=True)
    ]
    db.execute(ENTRY.insert(), rows)
