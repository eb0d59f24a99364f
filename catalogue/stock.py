"""A market with its catalogue at one version, and the next one from it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import orjson

from catalogue.checks import check_offers, read_advertisers, read_campaigns
from domain.campaign import Advertiser, Campaign, Review
from features.market import Market
from features.offer_table import OfferTable, Splice, splice

Record = TypeVar("Record", Advertiser, Campaign)


class Stored(Protocol):
    """A row of the database or of a snapshot."""

    @property
    def kind(self) -> str:
        """`advertiser`, `campaign` or `offer`."""
        ...

    @property
    def id(self) -> str:
        """Of what it is."""
        ...

    @property
    def body(self) -> str | bytes | None:
        """JSON; None where it is gone."""
        ...


@dataclass(frozen=True, slots=True)
class Stock:
    """What is sold, with campaigns and offers sorted by id: the same whichever way a process came to it."""

    market: Market
    """Its offers are an OfferTable."""
    version: int = 0
    """0 for what the market file lists."""
    since: int = -1
    """Version before it, which `splice` is to."""
    splice: Splice | None = None
    """What its offers are other by; None where it is not known."""

    @classmethod
    def of(cls, market: Market, rows: Iterable[Stored], version: int) -> "Stock":
        """All that is sold at a version.

        Raises:
          InvalidMarket: it does not fit the market file.
        """
        bodies: dict[str, dict[str, bytes]] = {"advertiser": {}, "campaign": {}, "offer": {}}
        for row in rows:
            if (body := _shown(row)) is not None:
                bodies[row.kind][row.id] = body
        advertisers, campaigns, offers = ([of_kind[i] for i in sorted(of_kind)] for of_kind in bodies.values())
        sold = tuple(read_campaigns(market, campaigns)), OfferTable.parse(offers), tuple(read_advertisers(advertisers))
        return cls(market.selling(*sold), version)

    def after(self, rows: Iterable[Stored], version: int) -> "Stock":
        """What is sold once these have changed; errors as in `of`."""
        bodies: dict[str, dict[str, bytes | None]] = {"advertiser": {}, "campaign": {}, "offer": {}}
        for row in rows:
            bodies[row.kind][row.id] = _shown(row)
        campaigns = {c.id: c for c in self.market.campaigns if c.id not in bodies["campaign"]}
        campaigns |= {c.id: c for c in read_campaigns(self.market, _there(bodies["campaign"]))}
        advertisers = {a.id: a for a in self.market.advertisers if a.id not in bodies["advertiser"]}
        advertisers |= {a.id: a for a in read_advertisers(_there(bodies["advertiser"]))}
        before = self.market.offers
        assert isinstance(before, OfferTable)
        change = splice(before, bodies["offer"])
        check_offers(self.market, change.table)
        offers = change.offers(before) if change else before
        return Stock(self.market.selling(_sorted(campaigns), offers, _sorted(advertisers)), version, self.version, change)

    @classmethod
    def listed(cls, market: Market) -> "Stock":
        """What the market file lists, in its order."""
        return cls(market.selling(market.campaigns, OfferTable.of(market.offers)))


def _shown(row: Stored) -> bytes | None:
    """Its JSON; None where it is gone, or an offer that no operator has approved, which is sold as little."""
    body = row.body.encode() if isinstance(row.body, str) else row.body
    if body is None or row.kind != "offer" or b'"review"' not in body:
        return body
    return body if orjson.loads(body).get("review", Review.APPROVED) == Review.APPROVED else None


def _sorted(by_id: dict[str, Record]) -> tuple[Record, ...]:
    return tuple(by_id[i] for i in sorted(by_id))


def _there(bodies: dict[str, bytes | None]) -> list[bytes]:
    return [body for body in bodies.values() if body is not None]
