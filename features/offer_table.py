"""Offers by the hundred thousand: each as its JSON, parsed when it is looked at, and as columns of what is asked of all."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, overload

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel

from domain.campaign import Image, Offer, Review, Value, Video

_NESTED: dict[str, type[BaseModel]] = {"image": Image, "video": Video}
Column = TypeVar("Column", bound=NDArray[Any])


@dataclass(frozen=True)
class OfferTable(Sequence[Offer]):
    """N offers, a fifth of the memory of so many objects. Looked at one by one they are what they were made from."""

    ids: NDArray[np.object_]
    """[N] text."""
    bodies: NDArray[np.object_]
    """[N] bytes: the offer as JSON, with its id."""
    campaign: NDArray[np.int32]
    """[N] index into `campaign_ids`."""
    campaign_ids: tuple[str, ...]
    """Campaigns in order of appearance; some may have no offers any more."""

    @classmethod
    def of(cls, offers: Iterable[Offer]) -> "OfferTable":
        """Offers that were checked, in their order, but for those that no operator has approved; a table is what it is."""
        if isinstance(offers, OfferTable):
            return offers
        bodies = [orjson.dumps(o.model_dump(exclude_defaults=True)) for o in offers if o.review == Review.APPROVED]
        return cls.parse(bodies)

    @classmethod
    def parse(cls, bodies: Sequence[bytes], campaign_ids: Sequence[str] = ()) -> "OfferTable":
        """Offers as `of` stores them.

        Args:
          campaign_ids: those that are to come first.
        """
        ids, stored, campaign = (np.empty(len(bodies), dtype=t) for t in (object, object, np.int32))
        index = {name: i for i, name in enumerate(campaign_ids)}
        for i, body in enumerate(bodies):
            read = orjson.loads(body)
            ids[i], stored[i] = read["id"], body
            campaign[i] = index.setdefault(read["campaign"], len(index))
        return cls(ids, stored, campaign, tuple(index))

    @cached_property
    def position_of(self) -> dict[str, int]:
        """Offer id -> position."""
        return dict(zip(self.ids.tolist(), range(len(self.ids)), strict=True))

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, at: int) -> Offer: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Offer]: ...
    def __getitem__(self, at: int | slice) -> Offer | Sequence[Offer]:
        if isinstance(at, slice):
            return [_offer(body) for body in self.bodies[at]]
        return _offer(self.bodies[at])

    def __iter__(self) -> Iterator[Offer]:
        return map(_offer, self.bodies)

    def features(self) -> Iterator[Mapping[str, Value | list[Value] | dict[str, float]]]:
        """What each offer says of its features."""
        return (orjson.loads(body).get("features", {}) for body in self.bodies)


@dataclass(frozen=True, slots=True)
class Splice:
    """What one catalogue has other offers by than the one before: the same for every column of them."""

    gone: NDArray[np.int64]
    """Positions before."""
    changed: NDArray[np.int64]
    """Positions before of offers that are other now."""
    added: NDArray[np.int64]
    """Positions, among those that stay, before which the new ones come."""
    table: OfferTable
    """The changed ones, then the new ones, each in the order of positions."""

    def __bool__(self) -> bool:
        return bool(len(self.gone) or len(self.table))

    def column(self, before: Column, theirs: Column) -> Column:
        """A column of all offers, from that of before and that of `table`."""
        spliced = before.copy()
        spliced[self.changed] = theirs[: len(self.changed)]
        if len(self.gone):
            spliced = np.delete(spliced, self.gone, axis=0)  # type: ignore[assignment]
        if len(self.added):
            spliced = np.insert(spliced, self.added, theirs[len(self.changed) :], axis=0)  # type: ignore[assignment]
        return spliced

    def offers(self, before: OfferTable) -> OfferTable:
        """All offers; `table` must have begun with the campaigns of before."""
        return OfferTable(
            self.column(before.ids, self.table.ids),
            self.column(before.bodies, self.table.bodies),
            self.column(before.campaign, self.table.campaign),
            self.table.campaign_ids,
        )


def splice(before: OfferTable, bodies: Mapping[str, bytes | None]) -> Splice:
    """How to get from offers that are sorted by id to those with these changes.

    Args:
      bodies: by id, None for one that is gone; one that was not there and is gone changes nothing.
    """
    at = before.position_of
    gone = sorted(at[i] for i, body in bodies.items() if body is None and i in at)
    known = sorted((i for i, body in bodies.items() if body is not None and i in at), key=at.__getitem__)
    new = sorted(i for i, body in bodies.items() if body is not None and i not in at)
    stay = np.delete(before.ids, gone) if gone else before.ids
    table = OfferTable.parse([body for i in (*known, *new) if (body := bodies[i]) is not None], before.campaign_ids)
    return Splice(
        np.array(gone, dtype=np.int64),
        np.array([at[i] for i in known], dtype=np.int64),
        np.searchsorted(stay, np.array(new, dtype=object)).astype(np.int64) if new else np.empty(0, dtype=np.int64),
        table,
    )


def _offer(body: bytes) -> Offer:
    given = orjson.loads(body)
    for name, record in _NESTED.items():
        if name in given:
            given[name] = record.model_construct(**given[name])
    return Offer.model_construct(**given)
