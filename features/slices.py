"""Slices of traffic, as metrics, gates and calibration tell them apart: one way to name them, one way to count them.

"format"               a feature with single values
"campaign"             that of the row's offer
"position"             of the page, from 0
"placement"            by its name
"format x placement"   a pair of these, each combination a value of its own
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from domain.campaign import FeatureValue
from features.monitoring_spec import PLACEMENT, POSITION
from features.spec import CAMPAIGN, OFFER_ID, FeatureSpec

if TYPE_CHECKING:
    from features.market import Market

PAIR = " x "


def parts_of(name: str) -> tuple[str, ...]:
    """What a slice is made of: itself, or the two of a pair."""
    return tuple(name.split(PAIR))


def slice_values(market: Market, names: Iterable[str], columns: Mapping[str, Iterable[FeatureValue]]) -> dict[str, list[str]]:
    """Values of slices as text, one per row; a missing or empty one as in training rows.

    Args:
      columns: feature -> value of each row, for at least the features that the names call for; of checked rows `position`, and
        `placement` as its place in the market, or -1.
    """
    wanted = list(names)
    parts = {part: _values(market, part, columns) for name in wanted for part in parts_of(name)}
    return {name: combined(name, parts) for name in wanted}


def combined(name: str, parts: Mapping[str, Sequence[str]]) -> list[str]:
    """The values of a slice from those of its parts, each one per row, or a single one that holds for all."""
    of_parts = [parts[part] for part in parts_of(name)]
    if len(of_parts) == 1:
        return list(of_parts[0])
    rows = next((len(values) for values in of_parts if len(values) != 1), 1)
    return [PAIR.join(values) for values in zip(*(v if len(v) == rows else [*v] * rows for v in of_parts), strict=True)]


def _values(market: Market, part: str, columns: Mapping[str, Iterable[FeatureValue]]) -> list[str]:
    feature = next((f for f in market.features if f.name == part), None)
    if feature is not None:
        return _texts(feature, columns[part])
    if part == CAMPAIGN:
        return _campaigns(market, columns[OFFER_ID])
    if part == PLACEMENT:
        names = [*(p.name for p in market.placements), ""]
        return [names[int(code)] for code in columns[PLACEMENT]]  # type: ignore[arg-type]
    return ["" if position == -1 else str(position) for position in columns[POSITION]]


def _texts(feature: FeatureSpec, values: Iterable[FeatureValue]) -> list[str]:
    return [str(feature.fill if v is None or v == "" else v) for v in values]


def _campaigns(market: Market, offer_ids: Iterable[FeatureValue]) -> list[str]:
    (feature,) = (f for f in market.offer_features if f.name == OFFER_ID)
    campaign = {str(market.offer_value(o, feature)): o.campaign for o in market.offers}
    return [campaign.get(str(offer_id), "") for offer_id in offer_ids]
