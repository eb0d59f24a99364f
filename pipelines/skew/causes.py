"""Why a probability differs: what serving may have done otherwise, so that exactly the logged probabilities come out.

A suspicion is something that could go wrong alike for many decisions: a feature that is missing, in another unit, another of its
values, swapped with another feature, or a calibrator that is not the release's. It explains a decision if with it all logged
probabilities of the decision, of every offer and task, are those recomputed. Of several, the one that explains most decisions is
believed first; of as many, the simplest.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from features.assemble import to_tensors
from features.market import Market
from features.spec import FeatureSpec
from models.calibration import Calibrator
from pipelines.skew.ranked import Columns

UNITS = (10.0, 60.0, 100.0, 1000.0, 3600.0)
"""What a number is multiplied or divided by when its unit is mistaken."""
VALUES = 40
"""Other values of a feature that are tried, at most."""
PAIRS = 300
"""Pairs of features that are tried for being swapped, at most."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Something serving may have done otherwise than training."""

    said: str
    """As `country is missing`."""
    features: tuple[str, ...]
    """Whose values differ then; none for a calibrator."""
    changes: Callable[[Columns, Columns], Iterator[Columns]]
    """Rows of one decision as training reads them, and as serving assembles them -> tensors to put in place of training's."""
    calibrator: Calibrator | None = None


def suspicions(market: Market, training: Columns, calibrators: Mapping[str, Calibrator]) -> list[Suspicion]:
    """All there are, the simplest first.

    Args:
      training: of the whole sample: what values there are.
      calibrators: others than the release's, by what they are.
    """
    found = [Suspicion(name, (), lambda *_: iter([{}]), calibrator) for name, calibrator in calibrators.items()]
    found += [_catalogue(f) for f in market.offer_features]
    found += [_missing(f) for f in market.features]
    found += [_unit(f) for f in market.features if f.dtype != "string" and not f.multiple and not isinstance(f.vocabulary, tuple)]
    found += [_another_value(f, training) for f in market.features if not f.multiple]
    pairs = [
        pair
        for side in (market.request_features, market.offer_features)
        for pair in combinations([f for f in side if not f.multiple], 2)
        if pair[0].dtype == pair[1].dtype
    ]
    return found + [_swapped(*pair) for pair in pairs[:PAIRS]]


def _catalogue(f: FeatureSpec) -> Suspicion:
    """The log says otherwise than the catalogue, which serving takes offers' features from."""
    names = [t.name for t in f.tensors]
    return Suspicion(
        f"{f.name} is logged otherwise than the offer has it", (f.name,), lambda _, served: iter([{n: served[n] for n in names}])
    )


def _missing(f: FeatureSpec) -> Suspicion:
    absent = {name: _text(tensor) for name, tensor in to_tensors(f, [f.absent]).items()}

    def changes(training: Columns, _: Columns) -> Iterator[Columns]:
        yield {name: np.repeat(tensor, len(training[name]), axis=0) for name, tensor in absent.items()}

    return Suspicion(f"{f.name} was missing when it was ranked", (f.name,), changes)


def _unit(f: FeatureSpec) -> Suspicion:
    def changes(training: Columns, _: Columns) -> Iterator[Columns]:
        column = training[f.name]
        for factor in (*UNITS, *(1 / u for u in UNITS)):
            with np.errstate(invalid="ignore", over="ignore"):
                yield {f.name: (column.astype(np.float64) * factor).astype(column.dtype)}

    return Suspicion(f"{f.name} was in another unit when it was ranked", (f.name,), changes)


def _another_value(f: FeatureSpec, training: Columns) -> Suspicion:
    column = training[f.name]
    values, counts = np.unique(column[column == column], return_counts=True)
    frequent = values[np.argsort(-counts, kind="stable")].tolist()
    given = list(f.vocabulary) if isinstance(f.vocabulary, tuple) else []
    tried = list(dict.fromkeys([*given, *frequent]))[:VALUES]

    def changes(rows: Columns, _: Columns) -> Iterator[Columns]:
        for value in tried:
            yield {f.name: np.full_like(rows[f.name], value)}

    return Suspicion(f"{f.name} had another value when it was ranked", (f.name,), changes)


def _swapped(one: FeatureSpec, other: FeatureSpec) -> Suspicion:
    def changes(rows: Columns, _: Columns) -> Iterator[Columns]:
        yield {one.name: rows[other.name], other.name: rows[one.name]}

    return Suspicion(f"{one.name} and {other.name} are swapped", (one.name, other.name), changes)


def _text(tensor: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return np.vectorize(bytes.decode, otypes=[object])(tensor) if tensor.dtype == object else tensor
