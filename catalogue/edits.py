"""Edits of a catalogue, and what can be wrong with them: all of it, by the index of the edit."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, and_, select

from catalogue.checks import check
from catalogue.kinds import CHILDREN, Entry, Kind, parent_of
from catalogue.tables import ENTRY
from domain.campaign import BidKind, Campaign, Status
from domain.errors import CatalogueConflict, InvalidChange, OfferRankError, shown
from features.market import Market

At = tuple[Kind, str]
"""Which advertiser, campaign or offer."""
AT_ONCE = 500
"""Ids in one statement."""


@dataclass(frozen=True, slots=True)
class Edit:
    """An advertiser, campaign or offer as it is to be; None takes it out."""

    kind: Kind
    id: str
    entry: Entry | None
    expected_version: int | None = None
    """Version of this entry that whoever edits it has seen, 0 for none; None where it does not matter."""

    @property
    def at(self) -> At:
        """Which it is."""
        return self.kind, self.id


class Standing(NamedTuple):
    """An entry as it is now, or as it went."""

    version: int
    body: str | None
    """JSON; None where it is gone."""
    parent: str | None

    @property
    def seen(self) -> int:
        """What `Edit.expected_version` has to be."""
        return 0 if self.body is None else self.version


class EditsRefused(OfferRankError):
    """Some edits cannot be made, so none was: what is wrong with each, by index, an InvalidChange or a CatalogueConflict."""

    def __init__(self, errors: Iterable[tuple[int, InvalidChange | CatalogueConflict]]) -> None:
        self.errors = tuple(sorted(errors, key=lambda e: e[0]))
        super().__init__(f"edit {self.errors[0][0]}: {self.errors[0][1]}")


def check_form(market: Market, edits: Sequence[Edit]) -> None:
    """Whether each fits the market, and none is there twice; raises EditsRefused."""
    wrong: list[tuple[int, InvalidChange | CatalogueConflict]] = []
    seen: set[At] = set()
    for i, edit in enumerate(edits):
        if edit.at in seen:
            wrong.append((i, InvalidChange("edits", f"name {edit.kind} {edit.id!r} twice")))
        seen.add(edit.at)
        if edit.entry is not None:
            try:
                check(market, edit.entry)
            except InvalidChange as e:
                wrong.append((i, e))
    if wrong:
        raise EditsRefused(wrong)


def check_against(db: Connection, edits: Sequence[Edit], before: Mapping[At, Standing]) -> None:
    """Whether each is made by what is there, and what it refers to is there once all are made; raises EditsRefused."""
    wrong: list[tuple[int, InvalidChange | CatalogueConflict]] = []
    for i, edit in enumerate(edits):
        now = before[edit.at].seen if edit.at in before else 0
        if edit.expected_version is not None and edit.expected_version != now:
            expected = f"expected version {edit.expected_version}, it is {now} by now"
            wrong.append((i, CatalogueConflict(f"{edit.kind} {edit.id!r}: {expected}")))
    wrong += _sold_otherwise(edits, before)
    wrong += _without_campaign(db, edits)
    for kind in CHILDREN:
        wrong += _left_over(db, edits, kind)
    if wrong:
        raise EditsRefused(wrong)


def standing(db: Connection, wanted: Iterable[At]) -> dict[At, Standing]:
    """Newest rows of these entries, gone ones as well."""
    found = dict[At, Standing]()
    ids = dict[Kind, list[str]]()
    for kind, entry_id in wanted:
        ids.setdefault(kind, []).append(entry_id)
    for kind, of_kind in ids.items():
        for some in _batches(of_kind):
            newest = and_(ENTRY.c.kind == kind, ENTRY.c.id.in_(some), ENTRY.c.until.is_(None))
            for row in db.execute(select(ENTRY.c.id, ENTRY.c.version, ENTRY.c.body, ENTRY.c.parent).where(newest)):
                found[kind, row[0]] = Standing(*row[1:])
    return found


def _sold_otherwise(edits: Sequence[Edit], before: Mapping[At, Standing]) -> Iterator[tuple[int, InvalidChange]]:
    """Campaigns that were shown and would pay for conversions now, or not any more.

    What is held for a conversion is its expectation, and for all else the price: where both are under way, one may take the room
    that the other was promised.
    """
    for i, edit in enumerate(edits):
        was = before.get(edit.at)
        if not isinstance(edit.entry, Campaign) or was is None or was.body is None:
            continue
        then, kind = orjson.loads(was.body), edit.entry.bid_kind
        if then.get("status") != Status.DRAFT and (then["bid_kind"] == BidKind.CPA) != (kind is BidKind.CPA):
            expected = f"expected {then['bid_kind']}, as it was sold: make another campaign to pay for something else, got {kind}"
            yield i, InvalidChange(f'campaign "{edit.id}".bid_kind', expected)


def _without_campaign(db: Connection, edits: Sequence[Edit]) -> list[tuple[int, InvalidChange]]:
    made = {edit.at: edit.entry for edit in edits}
    wanted: set[At] = {("campaign", parent_of(e) or "") for (kind, _), e in made.items() if kind == "offer" and e is not None}
    there = {at for at, row in standing(db, wanted - made.keys()).items() if row.body is not None}
    there |= {at for at, entry in made.items() if entry is not None}
    return [
        (i, InvalidChange(f'offer "{edit.id}".campaign', f"expected one of the campaigns, got {shown(parent_of(edit.entry))}"))
        for i, edit in enumerate(edits)
        if edit.kind == "offer" and edit.entry is not None and ("campaign", parent_of(edit.entry)) not in there
    ]


def _left_over(db: Connection, edits: Sequence[Edit], kind: Kind) -> list[tuple[int, InvalidChange]]:
    """Entries of a kind that are taken out while something that belongs to them stays."""
    gone = {edit.id: i for i, edit in enumerate(edits) if edit.kind == kind and edit.entry is None}
    child, edited = CHILDREN[kind], {edit.at for edit in edits}
    left: dict[str, list[str]] = {}
    for some in _batches(list(gone)):
        holds = and_(ENTRY.c.kind == child, ENTRY.c.parent.in_(some), ENTRY.c.until.is_(None), ENTRY.c.body.is_not(None))
        for name, parent in db.execute(select(ENTRY.c.id, ENTRY.c.parent).where(holds).order_by(ENTRY.c.id)):
            if (child, name) not in edited:  # which stays as it is
                left.setdefault(parent, []).append(name)
    return [
        (
            gone[parent],
            InvalidChange(f'{kind} "{parent}"', f"still has {len(names)} {child}s, such as {names[0]!r}: take them out as well"),
        )
        for parent, names in left.items()
    ]


def _batches(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE))
