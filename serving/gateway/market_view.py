"""A market, with everything that is computed from it once and looked up per decision."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from auction.bids import effective_bids
from domain.campaign import FeatureValue, Offer
from features.assemble import OfferColumns
from features.market import Market
from features.spec import FeatureSpec
from retrieval.catalogue import UNLIMITED, Catalogue


@dataclass(frozen=True, slots=True)
class MarketView:
    """Read-only for the life of the process."""

    market: Market
    catalogue: Catalogue
    columns: OfferColumns
    offer_features: tuple[dict[str, FeatureValue], ...]
    """[N] as logged with a shown offer."""
    offer_ids: NDArray[np.object_]
    """[N], to look up many at once."""
    offer_by_id: dict[str, Offer]
    request_defaults: dict[str, FeatureValue]
    """Shopper and context features."""
    history: tuple[FeatureSpec, ...]
    """Features whose value is a counter of the shopper's."""

    @classmethod
    def of(cls, market: Market) -> Self:
        """The view of a market."""
        return cls(
            market=market,
            catalogue=Catalogue.of(market),
            columns=OfferColumns.of(market),
            offer_features=tuple({f.name: market.offer_value(o, f) for f in market.offer_features} for o in market.offers),
            offer_ids=np.array([o.id for o in market.offers], dtype=object),
            offer_by_id={o.id: o for o in market.offers},
            request_defaults={f.name: f.absent for f in market.request_features if f.source != "history"},
            history=tuple(f for f in market.request_features if f.counter),
        )

    @property
    def has_budgets(self) -> bool:
        """Whether any campaign has one."""
        return bool((self.catalogue.budget_micros != UNLIMITED).any())

    @property
    def task_names(self) -> tuple[str, ...]:
        """P(click | shown) first, then P(conversion | click) where the market has it."""
        return tuple(t.name for t in self.market.tasks)

    def priors(self, n: int) -> dict[str, NDArray[np.float64]]:
        """Task -> [n] times its prior: what is assumed where no model answers."""
        return {task: np.full(n, self.market.policy.priors[task]) for task in self.task_names}

    def prior_value(self) -> NDArray[np.float64]:
        """[N] eCPM of every offer at the priors, unpaced."""
        c = self.catalogue
        p = list(self.priors(len(c)).values())
        return effective_bids(
            c.advertiser, c.bid_kind, c.bid_micros, p[0], p[1] if len(p) > 1 else None, np.ones(len(c))
        ).ecpm_micros
