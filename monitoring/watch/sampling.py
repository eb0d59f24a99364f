"""Which decisions of an hour are looked at closely. The same for whoever asks again: it follows from the part and the rate."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from monitoring.watch.columns import Ints


def rate_of(pages: int, before: int, most: int) -> float:
    """The share for an hour that begins.

    Args:
      pages: that came at once.
      before: pages of the hour before; 0 where it is unknown.
      most: `monitoring.rows_per_hour`.
    """
    return min(1.0, most / max(before, pages, 1))


def sampled(part: int, hour: Ints, rate: Mapping[int, float]) -> NDArray[np.bool_]:
    """[R], whether a row of a part is looked at closely.

    Args:
      part: its number.
      hour: [R]
    """
    different, of = np.unique(hour, return_inverse=True)
    rates = np.array([rate[int(h)] for h in different])
    return np.asarray(np.random.default_rng(part).random(len(hour)) < rates[of], bool)
