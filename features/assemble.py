"""Turns a request and its candidates into the model's input tensors. TensorFlow-free; the names are the spec's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.campaign import FeatureValue
from features.market import Market
from features.spec import FeatureSpec

Tensor = NDArray[np.int64] | NDArray[np.float32] | NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class OfferColumns:
    """The catalogue's offer features, one [N] array per feature, in the market's order of offers."""

    columns: dict[str, Tensor]

    @classmethod
    def of(cls, market: Market) -> "OfferColumns":
        """All offers of a market."""
        return cls({f.name: to_tensor(f, [market.offer_value(o, f) for o in market.offers]) for f in market.offer_features})


def to_tensor(feature: FeatureSpec, values: Sequence[FeatureValue]) -> Tensor:
    """Values -> [len] array of the dtype the model's signature takes: bytes objects, int64 or float32."""
    values = [feature.fill if v is None else v for v in values]
    if feature.dtype == "string":
        out = np.empty(len(values), dtype=object)
        out[:] = [str(v).encode() for v in values]
        return out
    if feature.dtype == "int":
        return np.asarray(values, dtype=np.int64)
    return np.asarray(values, dtype=np.float32)


def request_tensors(market: Market, values: Mapping[str, FeatureValue]) -> dict[str, Tensor]:
    """Shopper, context and history features of one request, each [1]; absent ones take their default."""
    return {f.name: to_tensor(f, [values.get(f.name, f.default)]) for f in market.request_features}


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
