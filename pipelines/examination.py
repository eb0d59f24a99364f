"""Reads what the bias tower of a SavedModel has learned of positions, for the release to bring to the auction."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.campaign import FeatureValue
from features.assemble import OfferColumns, assemble
from features.market import Market
from models.examination import LEAST, MOST, ByValue, ExaminationCurve
from models.legacy_keras import tf
from models.release import EXAMINATION


def curve_of(evaluate: Any, market: Market) -> ExaminationCurve | None:
    """The curve of a market's model; None without a bias tower, or where it has seen no position but the first.

    The tower adds up logs, position and features: each feature's values beside the others' defaults say everything.

    Args:
      evaluate: the signature of `models.export`.
    """
    if market.model.bias is None:
        return None
    catalogue, positions = OfferColumns.of(market), np.arange(sum(p.count for p in market.placements))

    def looked(request: dict[str, FeatureValue]) -> NDArray[np.float64]:
        rows = assemble(market, request, catalogue, np.zeros(1, np.int32))
        tensors = {name: tf.constant(np.repeat(column, len(positions), axis=0)) for name, column in rows.items()}
        found: NDArray[np.float64] = evaluate(position=tf.constant(positions), **tensors)[EXAMINATION].numpy().astype(np.float64)
        return found

    usual = looked({})
    by: dict[str, tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]] = {}
    for name in market.model.bias.features:
        (feature,) = (f for f in market.request_features if f.name == name)
        assert isinstance(feature.vocabulary, tuple)
        values = {"" if v is None else str(v): looked({name: v}) / usual for v in (*feature.vocabulary, None)}
        by[name] = values, looked({name: _beside(feature.vocabulary)}) / usual
    learned = np.any([usual != 1.0, *(f != 1.0 for values, other in by.values() for f in (*values.values(), other))], axis=0)
    if not learned.any():
        return None
    # Where the tower never saw a position it has nothing to say: that is as looked at as the last one it did see.
    upto = np.flatnonzero(learned)[-1] + 1
    known = np.maximum.accumulate(np.where(learned[:upto], np.arange(upto), 0))

    def rounded(curve: NDArray[np.float64]) -> tuple[float, ...]:
        return tuple(float(e) for e in np.clip(curve[known], LEAST, MOST).round(6))

    return ExaminationCurve(
        seen=rounded(usual),
        by={
            name: ByValue(values={v: rounded(f) for v, f in values.items()}, other=rounded(other))
            for name, (values, other) in by.items()
        },
    )


def _beside(vocabulary: Iterable[str | int]) -> str | int:
    """A value that is none of a vocabulary's, of its kind."""
    listed = list(vocabulary)
    if all(isinstance(v, int) for v in listed):
        return max(int(v) for v in listed) + 1
    return "".join(map(str, listed)) + "?"
