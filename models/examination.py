"""How far down a page is looked: what a slot leaves of the clicks at the first, as a release brings it to the auction.

TensorFlow-free: it is learned by the tower of `models.bias`, and read by the gateway.
"""

from collections.abc import Mapping
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from domain.campaign import FeatureValue
from features.spec import Record

LEAST, MOST = 0.001, 10.0
"""Of the clicks at the first position; a lower position may be the better one, but what lies beyond is no page."""


class ByValue(Record):
    """What a request feature changes, by position: factors of the curve."""

    values: dict[str, tuple[float, ...]]
    """Value as text, "" for none -> [K]."""
    other: tuple[float, ...]
    """[K], of any other value."""


class ExaminationCurve(Record):
    """e(k, f) = seen[k] times the factor of each feature's value; positions further down are as the last."""

    seen: tuple[float, ...]
    """[K], clicks at position k of those at the first; 1 at the first."""
    by: dict[str, ByValue] = Field(default={})
    """Request feature -> its factors."""

    @model_validator(mode="after")
    def _checked(self) -> Self:
        curves = {"seen": self.seen}
        for name, feature in self.by.items():
            curves |= {f"by.{name}.{value!r}": factors for value, factors in feature.values.items()}
            curves[f"by.{name}.other"] = feature.other
        for where, curve in curves.items():
            if len(curve) != len(self.seen) or not curve:
                raise ValueError(f"{where}: expected {max(len(self.seen), 1)} positions, got {len(curve)}")
            if curve[0] != 1.0:
                raise ValueError(f"{where}: expected 1 at the first position, got {curve[0]}")
            for k, share in enumerate(curve):
                if not LEAST <= share <= MOST:  # a NaN is not
                    raise ValueError(f"{where}: expected {LEAST:g} to {MOST:g} at position {k}, got {share}")
        return self

    def at(self, slots: int, features: Mapping[str, FeatureValue]) -> NDArray[np.float64] | None:
        """[slots] of a page, each in [LEAST, MOST]; None where all are looked at alike.

        Args:
          features: of the request, as used.
        """
        seen = self.seen[:slots]
        for name, feature in self.by.items():
            value = features.get(name)
            factors = feature.values.get("" if value is None else str(value), feature.other)
            seen = tuple(min(max(e * f, LEAST), MOST) for e, f in zip(seen, factors, strict=False))
        if all(e == 1.0 for e in seen):
            return None
        return np.array(seen + seen[-1:] * (slots - len(seen)))
