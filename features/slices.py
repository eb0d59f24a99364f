"""Slices of traffic that calibration tells apart: features, and the campaign."""

from collections.abc import Iterable, Mapping

from domain.campaign import Value
from features.market import CAMPAIGN, OFFER_ID, Market


def slice_values(market: Market, names: Iterable[str], columns: Mapping[str, Iterable[Value]]) -> dict[str, list[str]]:
    """Values of slices as text, one per row.

    Args:
      names: of features, or `campaign`: that of the row's `offer_id`, "" for an offer the market does not have.
      columns: feature -> value of each row, for at least the features that the names call for.
    """
    return {
        name: _campaigns(market, columns[OFFER_ID]) if name == CAMPAIGN else [str(v) for v in columns[name]] for name in names
    }


def _campaigns(market: Market, offer_ids: Iterable[Value]) -> list[str]:
    (feature,) = (f for f in market.offer_features if f.name == OFFER_ID)
    campaign = {market.offer_value(o, feature): o.campaign for o in market.offers}
    return [campaign.get(offer_id, "") for offer_id in offer_ids]
