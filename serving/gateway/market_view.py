"""A market, with everything that is computed from it once and looked up per decision."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from auction.bids import effective_bids
from domain.campaign import FeatureValue, Offer
from features.assemble import OfferColumns
from features.market import Market
from features.slices import combined, parts_of, slice_values
from features.spec import CAMPAIGN, OFFER_ID, FeatureSpec
from retrieval.catalogue import UNLIMITED, Catalogue

Floats = NDArray[np.float64]


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
    offer_slices: dict[str, NDArray[np.object_]]
    """[N] values of the slices that calibration may tell offers apart by, as text."""
    request_defaults: dict[str, FeatureValue]
    """Shopper and context features."""
    history: tuple[FeatureSpec, ...]
    """Features whose value is a counter of the shopper's."""

    @classmethod
    def of(cls, market: Market) -> Self:
        """The view of a market."""
        single = [f for f in market.offer_features if not f.multiple]
        offer_values = {f.name: [market.offer_value(o, f) for o in market.offers] for f in single}
        slices = slice_values(market, [*offer_values, *([CAMPAIGN] if OFFER_ID in offer_values else [])], offer_values)
        return cls(
            market=market,
            catalogue=Catalogue.of(market),
            columns=OfferColumns.of(market),
            offer_features=tuple({f.name: market.offer_value(o, f) for f in market.offer_features} for o in market.offers),
            offer_ids=np.array([o.id for o in market.offers], dtype=object),
            offer_by_id={o.id: o for o in market.offers},
            offer_slices={name: np.array(values, dtype=object) for name, values in slices.items()},
            request_defaults={f.name: f.absent for f in market.request_features if f.source != "history"},
            history=tuple(f for f in market.request_features if f.counter),
        )

    @property
    def has_budgets(self) -> bool:
        """Whether any campaign has one."""
        return bool((self.catalogue.budget_micros != UNLIMITED).any())

    @property
    def task_names(self) -> tuple[str, ...]:
        """What the model is asked for, P(click | shown) first."""
        return tuple(t.name for t in self.market.served_tasks)

    def click_and_conversion(self, probability: Mapping[str, Floats]) -> tuple[Floats, Floats | None]:
        """P(click | shown) and P(conversion | click), if the market predicts it: what bids are priced by."""
        conversion = self.market.conversion_task
        return probability[self.market.tasks[0].name], probability[conversion.name] if conversion else None

    def slices(
        self, names: Iterable[str], features: Mapping[str, FeatureValue], offer: NDArray[np.int32]
    ) -> dict[str, list[str]]:
        """Values of calibration's slices: [M] of the candidates' offers, [1] of the request."""
        wanted = list(names)
        parts = {part for name in wanted for part in parts_of(name)}
        of_offers = {part: self.offer_slices[part][offer].tolist() for part in parts if part in self.offer_slices}
        of_request = {part: [features[part]] for part in parts if part not in self.offer_slices}
        values = of_offers | slice_values(self.market, of_request, of_request)
        return {name: combined(name, values) for name in wanted}

    def priors(self, n: int) -> dict[str, NDArray[np.float64]]:
        """Task -> [n] times its prior: what is assumed where no model answers."""
        return {task: np.full(n, self.market.policy.priors[task]) for task in self.task_names}

    def prior_value(self) -> NDArray[np.float64]:
        """[N] eCPM of every offer at the priors, unpaced."""
        c = self.catalogue
        pctr, pcvr = self.click_and_conversion(self.priors(len(c)))
        return effective_bids(c.advertiser, c.bid_kind, c.bid_micros, pctr, pcvr, np.ones(len(c))).ecpm_micros
