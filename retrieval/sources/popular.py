"""A rule source: offers of the greatest value before anything is known of the shopper."""

import numpy as np
from numpy.typing import NDArray


def popular_order(value: NDArray[np.float64], advertiser: NDArray[np.int32]) -> NDArray[np.int32]:
    """All catalogue positions, best first: the best offer of every advertiser, then the second best of each, and so on.

    A page shows one offer per advertiser, so the hundredth offer of the highest bidder is worth less than the first of
    another.

    Args:
      value: [N] worth of an impression, such as the eCPM at prior or measured rates.
      advertiser: [N] codes.
    Returns:
      int32 [N]; ties go to the lower position.
    """
    by_value = np.argsort(-value, kind="stable")
    # Stable sorts keep the order by value within an advertiser, so the place in its run is the offer's rank there.
    grouped = by_value[np.argsort(advertiser[by_value], kind="stable")]
    _, starts, sizes = np.unique(advertiser[grouped], return_index=True, return_counts=True)
    rank = np.empty(len(value), dtype=np.int64)
    rank[grouped] = np.arange(len(value)) - np.repeat(starts, sizes)
    return by_value[np.argsort(rank[by_value], kind="stable")].astype(np.int32)
