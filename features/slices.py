"""Slices of traffic that calibration tells apart: features, and the campaign."""

from collections.abc import Iterable, Mapping

from domain.campaign import FeatureValue
from features.market import Market
from features.spec import CAMPAIGN, OFFER_ID, FeatureSpec


def slice_values(market: Market, names: Iterable[str], columns: Mapping[str, Iterable[FeatureValue]]) -> dict[str, list[str]]:
    """Values of slices as text, one per row; a missing or empty one as in training rows.

    Args:
      names: of features, or `campaign`: that of the row's `offer_id`, "" for an offer the market does not have.
      columns: feature -> value of each row, for at least the features that the names call for.
    """
    by_name = {f.name: f for f in market.features}
    return {
        name: _campaigns(market, columns[OFFER_ID]) if name == CAMPAIGN else _texts(by_name[name], columns[name])
        for name in names
    }


def _texts(feature: FeatureSpec, values: Iterable[FeatureValue]) -> list[str]:
    return [str(feature.fill if v is None or v == "" else v) for v in values]


def _campaigns(market: Market, offer_ids: Iterable[FeatureValue]) -> list[str]:
    (feature,) = (f for f in market.offer_features if f.name == OFFER_ID)
    campaign = {str(market.offer_value(o, feature)): o.campaign for o in market.offers}
    return [campaign.get(str(offer_id), "") for offer_id in offer_ids]
