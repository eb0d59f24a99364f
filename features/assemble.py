"""Turns a request and its candidates into the model's input tensors. TensorFlow-free; the names are the spec's."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.campaign import FeatureValue
from features.market import Market
from features.offer_table import OfferTable
from features.spec import DType, FeatureSpec, RawTensor

MANY = 1000
"""Texts of which equal ones are stored once."""

Tensor = NDArray[np.int64] | NDArray[np.float32] | NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class OfferColumns:
    """The catalogue's offer features, an array [N] or [N, width] per tensor, in the market's order of offers."""

    columns: dict[str, Tensor]

    @classmethod
    def of(cls, market: Market, values: Mapping[str, Sequence[FeatureValue]] | None = None) -> "OfferColumns":
        """All offers of a market.

        Args:
          values: `offer_values` of it, where they are known already.
        """
        values = offer_values(market) if values is None else values
        tensors: dict[str, Tensor] = {}
        for f in market.offer_features:
            tensors |= to_tensors(f, values[f.name])
        return cls(tensors)


def offer_values(market: Market) -> dict[str, list[FeatureValue]]:
    """Offer feature -> its value of every offer, [N]; equal texts are one object, of which a million need no more memory."""
    offers = market.offers
    if isinstance(offers, OfferTable):
        rows: Iterable[tuple[str, Mapping[str, FeatureValue]]] = zip(offers.ids, offers.features(), strict=True)
    else:
        rows = ((o.id, o.features) for o in offers)
    values: dict[str, list[FeatureValue]] = {f.name: [] for f in market.offer_features}
    columns: list[tuple[FeatureSpec, list[FeatureValue], dict[str, FeatureValue]]]
    columns = [(f, values[f.name], {}) for f in market.offer_features]
    for offer_id, features in rows:
        for f, column, known in columns:
            given = features.get(f.name)
            if not isinstance(given, str):
                column.append(market.value_of(offer_id, features, f))
                continue
            if (value := known.get(given)) is None:
                value = known[given] = market.value_of(offer_id, features, f)
            column.append(value)
    return values


def to_tensors(feature: FeatureSpec, values: Sequence[FeatureValue]) -> dict[str, Tensor]:
    """Values -> the feature's tensors by name, [len]; of a `multiple` feature [len, max_values], filled up."""
    if not feature.multiple:
        return {feature.name: to_tensor(feature, values)}
    flat: list[FeatureValue] = []
    weights = np.zeros((len(values), feature.max_values), dtype=np.float32)
    for row, bag in enumerate(values):
        held = list(bag) if isinstance(bag, list | dict) else []
        flat += held + [None] * (feature.max_values - len(held))
        if isinstance(bag, dict):
            weights[row, : len(held)] = list(bag.values())
    tensors: dict[str, Tensor] = {feature.name: to_tensor(feature, flat).reshape(weights.shape)}
    return tensors | {f"{feature.name}_weights": weights} if feature.weighted else tensors


def to_tensor(feature: FeatureSpec, values: Sequence[FeatureValue]) -> Tensor:
    """Single values -> [len] array of the dtype the model's signature takes: bytes objects, int64 or float32.

    Nothing, and an empty text, which training takes for the same, are the feature's `fill`.
    """
    return _array(feature.dtype, [feature.fill if v is None or v == "" else v for v in values])


def from_rows(tensor: RawTensor, rows: Sequence[Any]) -> Tensor:
    """A column of training rows -> the tensor of that name; None is what stands there for nothing."""
    values = rows if tensor.width is None else [v for row in rows for v in row]
    array = _array(tensor.dtype, [tensor.fill if v is None else v for v in values])
    return array if tensor.width is None else array.reshape(len(rows), tensor.width)


def _array(dtype: DType, values: Sequence[Any]) -> Tensor:
    if dtype == "string":
        out = np.empty(len(values), dtype=object)
        if len(values) < MANY:
            out[:] = [str(v).encode() for v in values]
        else:
            texts = list(map(str, values))
            encoded = {text: text.encode() for text in set(texts)}
            out[:] = [encoded[text] for text in texts]
        return out
    if dtype == "int":
        return np.asarray(values, dtype=np.int64)
    return np.asarray(values, dtype=np.float32)


def request_tensors(market: Market, values: Mapping[str, FeatureValue]) -> dict[str, Tensor]:
    """Shopper, context and history features of one request, each [1] or [1, width]."""
    tensors: dict[str, Tensor] = {}
    for f in market.request_features:
        tensors |= to_tensors(f, [values.get(f.name, f.absent)])
    return tensors


def assemble(
    market: Market, values: Mapping[str, FeatureValue], offers: OfferColumns, offer: NDArray[np.int32]
) -> dict[str, Tensor]:
    """Model input for one request and M candidates.

    Request features are sent once, the model repeats them: they are [1], offer features are [M].

    Args:
      values: request features by name.
      offer: [M] catalogue positions.
    """
    tensors = request_tensors(market, values)
    tensors.update({name: column[offer] for name, column in offers.columns.items()})
    return tensors
