"""Looks into the catalogue entry by entry, change by change: for those who see a page at a time, perhaps of some advertisers."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, true, union

from catalogue.database import Database
from catalogue.edits import At, Standing, standing
from catalogue.kinds import CHILDREN, RECORDS, Kind
from catalogue.repository import Change
from catalogue.tables import CHANGE, ENTRY

Owners = Collection[str] | None
"""Advertisers whose entries are looked at; None looks at all."""


class Listed(NamedTuple):
    """An entry with the change that made it so."""

    kind: Kind
    id: str
    version: int
    """0 of an advertiser without a record."""
    body: str | None
    """JSON; None where it has no record, or is gone."""
    parent: str | None
    at_ms: int
    by: str


class Changed(NamedTuple):
    """What a version made of one entry."""

    version: int
    kind: Kind
    id: str
    before: str | None
    """JSON; None where it was not there."""
    after: str | None
    """JSON; None where it is gone."""


COLUMNS = (ENTRY.c.kind, ENTRY.c.id, ENTRY.c.version, ENTRY.c.body, ENTRY.c.parent, CHANGE.c.at_ms, CHANGE.c.by)


class Browser:
    """Of one database. Every method raises CatalogueAway where it does not answer, and finds nothing where it holds none.

    Args:
      at: a version; None is the newest.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def one(self, kind: Kind, entry_id: str, at: int | None = None) -> Listed | None:
        """An entry that is there at a version."""
        found = self._listed(_entries(kind, at).where(ENTRY.c.id == entry_id))
        return found[0] if found else None

    def page(
        self, kind: Kind, after: str, limit: int, owners: Owners, parent: str | None = None, at: int | None = None
    ) -> list[Listed]:
        """Entries beyond an id, in the order of ids; of advertisers also those that only campaigns name."""
        if kind == "advertiser":
            return self._advertisers(after, limit, owners, at)
        wanted = _entries(kind, at).where(ENTRY.c.id > after, _owned(kind, owners))
        if parent is not None:
            wanted = wanted.where(ENTRY.c.parent == parent)
        return self._listed(wanted.order_by(ENTRY.c.id).limit(limit))

    def many(self, wanted: Collection[At]) -> dict[At, Standing]:
        """Entries as they are now; those that are not there are not in it."""
        with self._database.reading() as db:
            found = {} if db is None else standing(db, wanted)
        return {at: row for at, row in found.items() if row.body is not None}

    def children(self, kind: Kind, parents: Sequence[str], at: int | None = None) -> dict[str, int]:
        """How many entries belong to each of these."""
        if kind not in CHILDREN or not parents:
            return {}
        holds = and_(ENTRY.c.kind == CHILDREN[kind], ENTRY.c.parent.in_(parents), _holding(at))
        return dict(self._rows(select(ENTRY.c.parent, func.count()).where(holds).group_by(ENTRY.c.parent)))

    def log(self, limit: int, before: int | None, owners: Owners, of: At | None = None) -> list[Change]:
        """Changes, newest first, of one entry or of all that the owners have."""
        newest = select(CHANGE.c.version, CHANGE.c.at_ms, CHANGE.c.by, CHANGE.c.why, CHANGE.c.entries)
        newest = newest.order_by(CHANGE.c.version.desc()).limit(limit)
        if before is not None:
            newest = newest.where(CHANGE.c.version < before)
        if of is not None:
            mine = and_(ENTRY.c.kind == of[0], ENTRY.c.id == of[1])
            newest = newest.where(CHANGE.c.version.in_(select(ENTRY.c.version).where(mine)))
        elif owners is not None:
            newest = newest.where(CHANGE.c.version.in_(select(ENTRY.c.version).where(_any_owned(owners))))
        return [Change(*row) for row in self._rows(newest)]

    def changed(self, versions: Sequence[int], owners: Owners, of: At | None = None, limit: int = 10_000) -> list[Changed]:
        """What these versions changed, by version, kind and id."""
        old = ENTRY.alias("old")
        was = and_(old.c.kind == ENTRY.c.kind, old.c.id == ENTRY.c.id, old.c.until == ENTRY.c.version)
        wanted = select(ENTRY.c.version, ENTRY.c.kind, ENTRY.c.id, old.c.body, ENTRY.c.body).outerjoin_from(ENTRY, old, was)
        wanted = wanted.where(ENTRY.c.version.in_(versions))
        if of is not None:
            wanted = wanted.where(ENTRY.c.kind == of[0], ENTRY.c.id == of[1])
        elif owners is not None:
            wanted = wanted.where(_any_owned(owners))
        return [Changed(*row) for row in self._rows(wanted.order_by(ENTRY.c.version, ENTRY.c.kind, ENTRY.c.id).limit(limit))]

    def _advertisers(self, after: str, limit: int, owners: Owners, at: int | None) -> list[Listed]:
        named = [
            select(ENTRY.c.id.label("name")).where(ENTRY.c.kind == "advertiser", _holding(at), _owned("advertiser", owners)),
            select(ENTRY.c.parent.label("name")).where(ENTRY.c.kind == "campaign", _holding(at), _owned("campaign", owners)),
        ]
        all_names = union(*named).subquery()
        wanted = select(all_names.c.name).where(all_names.c.name > after).order_by(all_names.c.name).limit(limit)
        names = [name for (name,) in self._rows(wanted)]
        known = {row.id: row for row in self._listed(_entries("advertiser", at).where(ENTRY.c.id.in_(names)))}
        return [known.get(name) or Listed("advertiser", name, 0, None, None, 0, "") for name in names]

    def _listed(self, wanted: Select[Any]) -> list[Listed]:
        return [Listed(*row) for row in self._rows(wanted)]

    def _rows(self, wanted: Select[Any]) -> list[Any]:
        with self._database.reading() as db:
            return [] if db is None else list(db.execute(wanted).all())


def _entries(kind: Kind, at: int | None) -> Select[Any]:
    there = and_(ENTRY.c.kind == kind, _holding(at))
    return select(*COLUMNS).join_from(ENTRY, CHANGE, ENTRY.c.version == CHANGE.c.version).where(there)


def _holding(at: int | None) -> ColumnElement[bool]:
    if at is None:
        return and_(ENTRY.c.until.is_(None), ENTRY.c.body.is_not(None))
    return and_(ENTRY.c.version <= at, or_(ENTRY.c.until.is_(None), ENTRY.c.until > at), ENTRY.c.body.is_not(None))


def _any_owned(owners: Owners) -> ColumnElement[bool]:
    """Whether a row of any kind is of these advertisers."""
    return or_(*(and_(ENTRY.c.kind == kind, _owned(kind, owners)) for kind in RECORDS))


def _owned(kind: Kind, owners: Owners) -> ColumnElement[bool]:
    """Whether a row is of these advertisers: an offer is by its campaign as that is now, or was when it went."""
    if owners is None:
        return true()
    if kind == "advertiser":
        return ENTRY.c.id.in_(owners)
    if kind == "campaign":
        return ENTRY.c.parent.in_(owners)
    campaign = ENTRY.alias("campaign")
    theirs = and_(campaign.c.kind == "campaign", campaign.c.parent.in_(owners), campaign.c.until.is_(None))
    return ENTRY.c.parent.in_(select(campaign.c.id).where(theirs))
