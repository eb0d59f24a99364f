"""A market, with everything that is computed from it once and looked up per decision."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from auction.bids import effective_bids
from domain.campaign import Campaign, FeatureValue, Offer
from features.assemble import OfferColumns, offer_values
from features.market import Market
from features.offer_table import OfferTable, Splice
from features.slices import combined, parts_of, slice_values
from features.spec import CAMPAIGN, OFFER_ID, FeatureSpec
from retrieval.catalogue import UNLIMITED, Catalogue

Floats = NDArray[np.float64]


MOST_SHOWN = 10_000
"""Offers whose parsed form is kept: pages show the same few again and again."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page and the log say of an offer."""

    offer: Offer
    features: dict[str, FeatureValue]
    """As logged."""


@dataclass(frozen=True, slots=True)
class MarketView:
    """One version of the catalogue, read-only: a decision uses the same one from its start to its end."""

    version: int
    """Of the catalogue; 0 for that of the market file."""
    file: str
    """Stands for the market file, where it is one: see `features.kept_market`."""
    market: Market
    catalogue: Catalogue
    offers: OfferTable
    columns: OfferColumns
    offer_slices: dict[str, NDArray[np.object_]]
    """[N] values of the slices that calibration may tell offers apart by, as text."""
    request_defaults: dict[str, FeatureValue]
    """Shopper and context features."""
    history: tuple[FeatureSpec, ...]
    """Features whose value is a counter of the shopper's."""
    _shown: dict[int, Shown] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, market: Market, version: int = 0, file: str = "") -> Self:
        """The view of a market."""
        offers = OfferTable.of(market.offers)
        market = market.selling(market.campaigns, offers)
        values = offer_values(market)
        return cls(
            version=version,
            file=file,
            market=market,
            catalogue=Catalogue.of(market),
            offers=offers,
            columns=OfferColumns.of(market, values),
            offer_slices=_offer_slices(market, offers, values),
            request_defaults={f.name: f.absent for f in market.request_features if f.source != "history"},
            history=tuple(f for f in market.request_features if f.counter),
        )

    def after(self, market: Market, version: int, splice: Splice) -> Self:
        """The view of the same market with another catalogue, for as much work as there are changes.

        Args:
          splice: what the offers of `market` are other by than these, with all of `market.offers` an OfferTable.
        """
        assert isinstance(market.offers, OfferTable)
        replaced: dict[str, Any] = {"version": version, "market": market, "catalogue": Catalogue.of(market)}
        if splice:
            few = market.selling(market.campaigns, splice.table)
            values = offer_values(few)
            columns, slices = OfferColumns.of(few, values).columns, _offer_slices(few, splice.table, values)
            spliced = {name: splice.column(column, columns[name]) for name, column in self.columns.columns.items()}
            replaced |= {
                "offers": market.offers,
                "columns": OfferColumns(spliced),
                "offer_slices": {name: splice.column(values, slices[name]) for name, values in self.offer_slices.items()},
                "_shown": {},
            }
        return replace(self, **replaced)

    @property
    def offer_ids(self) -> NDArray[np.object_]:
        """[N], to look up many at once."""
        return self.offers.ids

    def shown(self, position: int) -> Shown:
        """An offer by its position, parsed."""
        known = self._shown.get(position)
        if known is None:
            offer = self.offers[position]
            known = Shown(offer, {f.name: self.market.offer_value(offer, f) for f in self.market.offer_features})
            if len(self._shown) >= MOST_SHOWN:
                self._shown.clear()
            self._shown[position] = known
        return known

    def offer(self, offer_id: str) -> Offer | None:
        """An offer by its id, if it is in this catalogue."""
        position = self.offers.position_of.get(offer_id)
        return None if position is None else self.shown(position).offer

    def campaign_of(self, offer_id: str) -> Campaign:
        """Who pays for an offer of this catalogue."""
        return self.market.campaigns[int(self.catalogue.campaign[self.offers.position_of[offer_id]])]

    @property
    def has_budgets(self) -> bool:
        """Whether any campaign has one."""
        return bool((self.catalogue.most_micros != UNLIMITED).any())

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


def _offer_slices(market: Market, offers: OfferTable, values: Mapping[str, list[FeatureValue]]) -> dict[str, NDArray[np.object_]]:
    """Slice -> [N] its value of each offer as text; equal ones are one object."""
    single = {f.name for f in market.offer_features if not f.multiple}
    given = {name: of_all for name, of_all in values.items() if name in single}
    slices, known = {}, dict[str, str]()
    for name, texts in slice_values(market, given, given).items():
        slices[name] = np.empty(len(offers), dtype=object)
        slices[name][:] = [known.setdefault(text, text) for text in texts]
    if OFFER_ID in given:
        slices[CAMPAIGN] = np.array([*offers.campaign_ids, ""], dtype=object)[offers.campaign]
    return slices
