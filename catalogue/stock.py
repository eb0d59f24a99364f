"""A market with its catalogue at one version, and the next one from it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from catalogue.checks import check_offers, read_campaigns
from features.market import Market
from features.offer_table import OfferTable, Splice, splice


class Stored(Protocol):
    """A row of the database or of a snapshot."""

    @property
    def kind(self) -> str:
        """`campaign` or `offer`."""
        ...

    @property
    def id(self) -> str:
        """Of the campaign or offer."""
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
        campaigns, offers = dict[str, bytes](), dict[str, bytes]()
        for row in rows:
            if row.body is not None:
                (campaigns if row.kind == "campaign" else offers)[row.id] = _bytes(row.body)
        table = OfferTable.parse([offers[i] for i in sorted(offers)])
        made = market.selling(tuple(read_campaigns(market, [campaigns[i] for i in sorted(campaigns)])), table)
        return cls(made, version)

    def after(self, rows: Iterable[Stored], version: int) -> "Stock":
        """What is sold once these have changed; errors as in `of`."""
        campaigns = {c.id: c for c in self.market.campaigns}
        offers, bodies = dict[str, bytes | None](), list[bytes]()
        for row in rows:
            if row.kind == "offer":
                offers[row.id] = None if row.body is None else _bytes(row.body)
            elif row.body is None:
                campaigns.pop(row.id, None)
            else:
                bodies.append(_bytes(row.body))
        campaigns |= {c.id: c for c in read_campaigns(self.market, bodies)}
        before = self.market.offers
        assert isinstance(before, OfferTable)
        change = splice(before, offers)
        check_offers(self.market, change.table)
        sold = tuple(campaigns[i] for i in sorted(campaigns))
        return Stock(self.market.selling(sold, change.offers(before) if change else before), version, self.version, change)

    @classmethod
    def listed(cls, market: Market) -> "Stock":
        """What the market file lists, in its order."""
        return cls(market.selling(market.campaigns, OfferTable.of(market.offers)))


def _bytes(body: str | bytes) -> bytes:
    return body.encode() if isinstance(body, str) else body
