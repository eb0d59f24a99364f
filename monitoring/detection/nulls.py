"""How far an hour is from its reference when nothing happened but sampling: closed form from 300 rows, simulated below."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from monitoring.detection.distances import LEVELS, Floats, freeman_tukey, wasserstein
from monitoring.summaries import Series, Slice

Place = tuple[Series, Slice]

FEWEST_ROWS: Final = 100
"""Below, an hour says "too few rows" and neither raises nor lowers any evidence."""
FEWEST_OF_A_RATE: Final = 30
"""The same of a rate, whose scale is even from fewer rows on than a distribution's."""
CLOSED_FORM_ROWS: Final = 300
SIMULATIONS: Final = 200
_STEP: Final = 1.25  # between sample sizes that are simulated
_MOST_RATIOS: Final = 200_000


def wasserstein_noise(reference: Floats, rows: Floats, reference_rows: Floats) -> Floats:
    """Root mean square of the Wasserstein distance of a sample from its reference, if they are of one distribution.

        E|F_n - F_m| = sqrt(2/pi) sqrt(F (1 - F) (1/n + 1/m)), integrated over the feature's range

    Its square misses the variance of the integral, for which pi/2 is an upper bound: that of one single normal deviation.

    Args:
      reference: [..., 64] quantiles at LEVELS.
      rows, reference_rows: [...]
    """
    between = (LEVELS[1:] + LEVELS[:-1]) / 2
    spread = (np.diff(reference, axis=-1) * np.sqrt(between * (1 - between))).sum(axis=-1)
    return np.asarray(spread * np.sqrt(1 / rows + 1 / reference_rows))


def shares_noise(reference: Floats, rows: Floats, reference_rows: Floats) -> Floats:
    """Root mean square of the Freeman-Tukey distance under no change: sqrt((V - 1) (1/n + 1/m)), of V values that can be seen.

    A value of which less than one row is expected counts as much as it is expected.
    """
    seen = np.minimum(reference * rows[..., None], 1.0).sum(axis=-1)
    return np.asarray(np.sqrt(np.maximum(seen - 1.0, 0.25) * (1 / rows + 1 / reference_rows)))


def simulated_wasserstein_noise(reference: Floats, rows: int, rng: np.random.Generator) -> float:
    """As `wasserstein_noise`, by drawing samples of `rows` from the reference itself, [64]."""
    drawn = np.sort(_smooth(reference, rng.random((SIMULATIONS, rows))), axis=-1)
    at = np.clip((LEVELS * rows).astype(np.int64), 0, rows - 1)
    return float(np.sqrt((wasserstein(drawn[:, at], reference) ** 2).mean()))


def simulated_shares_noise(reference: Floats, rows: int, rng: np.random.Generator) -> float:
    """As `shares_noise`, by drawing samples of `rows` from the reference itself, [V]."""
    total = reference.sum()
    if total <= 0.0:
        return 0.0
    drawn = rng.multinomial(rows, reference / total, size=SIMULATIONS) / rows
    return float(np.sqrt((freeman_tukey(drawn, reference / total) ** 2).mean()))


@dataclass(slots=True)
class Simulated:
    """Mends closed forms where rows are few: by the ratio that a simulation shows, made once per stream and size of sample.

    It is of the reference that the stream had then, so it has to be kept: whoever starts again would find another.
    """

    ratios: dict[tuple[Place, int], float] = field(default_factory=dict)

    def mended(
        self,
        names: Sequence[Place],
        noise: Floats,
        reference: Floats,
        rows: Floats,
        closed_form: Callable[[Floats, Floats, Floats], Floats],
        simulated: Callable[[Floats, int, np.random.Generator], float],
    ) -> Floats:
        """`noise`, [S], with that of samples of FEWEST_ROWS to CLOSED_FORM_ROWS corrected.

        Args:
          names: [S], equal for what has about the same reference.
          reference: [S, ...]
        """
        mended = noise.copy()
        for i in np.flatnonzero((rows >= FEWEST_ROWS) & (rows < CLOSED_FORM_ROWS) & (noise > 0)):
            n = int(_STEP ** round(np.log(rows[i]) / np.log(_STEP)))
            if (ratio := self.ratios.get((names[i], n))) is None:
                closed = float(closed_form(reference[i], np.asarray(float(n)), np.asarray(np.inf)))
                drawn = simulated(reference[i], n, np.random.default_rng(n))
                ratio = self.ratios[names[i], n] = drawn / closed if closed > 0 and drawn > 0 else 1.0
            mended[i] *= ratio
        if len(self.ratios) > _MOST_RATIOS:
            self.ratios.clear()
        return mended

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """For `from_arrays`; each place once, as it has several sizes."""
        places = list(dict.fromkeys(place for place, _ in self.ratios))
        index = {place: i for i, place in enumerate(places)}
        return {
            "places": np.array([[*series, *where] for series, where in places], dtype=np.str_).reshape(-1, 4),
            "place": np.array([index[place] for place, _ in self.ratios], dtype=np.int64),
            "rows": np.array([rows for _, rows in self.ratios], dtype=np.int64),
            "ratio": np.array(list(self.ratios.values()), dtype=np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The inverse of `to_arrays`."""
        places = [(Series(kind, name), Slice(by, value)) for kind, name, by, value in arrays["places"].tolist()]
        kept = zip(arrays["place"].tolist(), arrays["rows"].tolist(), arrays["ratio"].tolist(), strict=True)
        return cls({(places[i], rows): ratio for i, rows, ratio in kept})


def _smooth(quantiles: Floats, level: Floats) -> Floats:
    return np.interp(level, LEVELS, quantiles)
