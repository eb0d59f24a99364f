"""What could be had at best: the market's own auction, told the truth instead of a model's guess."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auction.bids import effective_bids
from auction.gsp import best_slate
from auction.slate import sell
from domain.campaign import BidKind
from domain.targeting import holds
from simulation.shoppers import Purchase
from simulation.world import World


@dataclass(frozen=True, slots=True)
class Expected:
    """What a page earns on average over all the ways its shopper may react."""

    slots: int
    clicks: float
    conversions: float
    revenue_micros: float


class Valuation:
    """Values pages by the truth of a world: those the best policy would show, and those that were shown.

    The best policy has the market's bids, targeting, reserve and exclusion of one advertiser's second offer, but knows each
    pctr and pcvr, including what of a shopper no feature tells, and how far down a page is looked. It never runs out of budget
    or into a frequency cap: it is a bound for the policy served, not a rival to it.
    """

    def __init__(self, world: World) -> None:
        market = world.market
        campaigns = [market.campaign_by_id[o.campaign] for o in market.offers]
        advertisers = {a: i for i, a in enumerate(sorted({c.advertiser for c in campaigns}))}
        self._world = world
        self.position = {o.id: i for i, o in enumerate(market.offers)}
        """Offer id -> place in the catalogue."""
        self._advertiser = np.array([advertisers[c.advertiser] for c in campaigns], dtype=np.int32)
        self._kind = np.array([c.bid_kind.code for c in campaigns], dtype=np.uint8)
        self._bid = np.array([c.bid_micros for c in campaigns], dtype=np.int64)
        self._targeted = [(i, c.targeting) for i, c in enumerate(campaigns) if c.targeting]
        self._bid_share = market.policy.least_bid_share
        self._reserve = np.full(len(world.examination), market.policy.reserve_ecpm_micros, dtype=np.int64)

    def best(self, purchase: Purchase) -> Expected:
        """The page the best policy would show."""
        live = self._live(purchase)
        bids = effective_bids(
            self._advertiser[live],
            self._kind[live],
            self._bid[live],
            self._world.pctr(purchase)[live],
            self._world.pcvr(purchase)[live],
            np.ones(len(live)),
        )
        seen = self._world.examination
        sale = sell(best_slate(bids, self._reserve, seen), bids, self._reserve, self._bid_share, seen)
        return self._expected(purchase, sale.slot, live[sale.winner], sale.price_micros)

    def shown(self, purchase: Purchase, slots: list[int], offer_ids: list[str], price_micros: list[int]) -> Expected:
        """A page as it was answered: each offer with its slot and its price per billed event."""
        offers = np.array([self.position[o] for o in offer_ids], dtype=np.int64)
        return self._expected(purchase, np.array(slots, dtype=np.int64), offers, np.array(price_micros, dtype=np.int64))

    def _live(self, purchase: Purchase) -> NDArray[np.int64]:
        """Catalogue positions whose targeting the purchase meets."""
        live = np.ones(len(self._bid), dtype=bool)
        known = purchase.shopper | purchase.context
        for i, targeting in self._targeted:
            live[i] = holds(targeting, known)
        return np.flatnonzero(live)

    def _expected(
        self, purchase: Purchase, slot: NDArray[np.int64], offer: NDArray[np.int64], price: NDArray[np.int64]
    ) -> Expected:
        click = self._world.examination[slot] * self._world.pctr(purchase)[offer]
        conversion = click * self._world.pcvr(purchase)[offer]
        kind = self._kind[offer]
        billed = np.where(kind == BidKind.CPM.code, 1.0, np.where(kind == BidKind.CPC.code, click, conversion))
        return Expected(len(offer), float(click.sum()), float(conversion.sum()), float(billed @ price))
