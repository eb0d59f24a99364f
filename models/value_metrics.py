"""How good predicted values of conversions are. NumPy only."""

import numpy as np
from numpy.typing import NDArray

from features.spec import Record
from models.clusters import Clusters, codes
from models.metrics import Interval, pcoc, pcoc_interval

Floats = NDArray[np.float64]


class ValueEvaluation(Record):
    """Of conversions whose value is known, and of all rows whose conversion is final; None where undefined."""

    rows: int
    """Conversions whose value is known."""
    unknown: int
    """Conversions whose value nobody said."""
    observed_micros: float
    """Mean of what they were worth."""
    predicted_micros: float
    """Mean of what was predicted."""
    pcoc: float | None
    """Value-PCOC: sum of the predicted values over that of the observed ones."""
    interval: Interval | None
    explained: float | None
    """Share of the deviance of always saying the mean that the predictions explain: 0 is no better, 1 is right each time."""
    entire_pcoc: float | None
    """Sum of P(click) P(conversion | click) value over that of what was sold, over all rows whose conversion is final: what
    bids by value would rest on. A conversion of unknown value is taken for what it was predicted to be worth."""
    entire_interval: Interval | None

    @classmethod
    def of(
        cls, observed: Floats, predicted: Floats, p: Floats, converted: NDArray[np.bool_], clusters: Clusters = None
    ) -> "ValueEvaluation | None":
        """Measures rows [R] whose conversion is final.

        Args:
          observed: micros, NaN where they are not known; of rows without a conversion not read.
          predicted: micros, if it converts.
          p: P(conversion | shown), calibrated.
          converted: whether it did.
          clusters: equal for rows that are not independent.
        Returns:
          None where no value is known.
        """
        known = converted & np.isfinite(observed)
        if not known.any():
            return None
        y, v = observed[known], predicted[known]
        of_known = None if clusters is None else codes(clusters[known])
        sold = np.where(converted, np.where(known, observed, predicted), 0.0)
        coded = codes(clusters)
        return cls(
            rows=len(y),
            unknown=int(converted.sum() - known.sum()),
            observed_micros=float(y.mean()),
            predicted_micros=float(v.mean()),
            pcoc=pcoc(y, v),
            interval=pcoc_interval(y, v, of_known),
            explained=explained_deviance(y, v),
            entire_pcoc=pcoc(sold, p * predicted),
            entire_interval=pcoc_interval(sold, p * predicted, coded),
        )


def tweedie_deviance(y: Floats, v: Floats) -> Floats:
    """[N], unit deviance of power 3/2, 0 where v is y.

        d = 4 (y / sqrt(v) + sqrt(v) - 2 sqrt(y))

    Args:
      y: [N], 0 or more.
      v: [N], above 0.
    """
    return np.asarray(4 * (y / np.sqrt(v) + np.sqrt(v) - 2 * np.sqrt(y)))


def explained_deviance(y: Floats, v: Floats) -> float | None:
    """1 - sum d(y, v) / sum d(y, mean of y); None where all values are alike."""
    mean = float(y.mean())
    alone = float(tweedie_deviance(y, np.full(len(y), mean)).sum()) if mean > 0 else 0.0
    return 1 - float(tweedie_deviance(y, v).sum()) / alone if alone > 1e-9 * len(y) * np.sqrt(max(mean, 1.0)) else None
