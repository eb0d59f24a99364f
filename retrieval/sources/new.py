"""Offers the release has never seen: servable at once, on the model's estimate for unknown offers."""

import numpy as np
from numpy.typing import NDArray


def new_offers(n_offers: int, indexed: NDArray[np.int32]) -> NDArray[np.int32]:
    """Catalogue positions of the offers missing from a release's index; before the first release, all of them.

    Args:
      indexed: position of every row of the index; -1 for offers that are gone.
    """
    is_new = np.ones(n_offers, dtype=bool)
    is_new[indexed[indexed >= 0]] = False
    return np.flatnonzero(is_new).astype(np.int32)


def draw(offers: NDArray[np.int32], k: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Up to k of `offers` uniformly without replacement: with none preferred, all of them gather events."""
    return rng.choice(offers, min(k, len(offers)), replace=False)
