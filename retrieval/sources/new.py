"""Offers the release has never seen: servable at once, on the model's estimate for unknown offers."""

import numpy as np
from numpy.typing import NDArray

from retrieval.catalogue import Catalogue


def new_offers(catalogue: Catalogue, indexed_ids: tuple[str, ...]) -> NDArray[np.int32]:
    """Catalogue positions of the offers missing from a release's index; before the first release, all of them."""
    known = frozenset(indexed_ids)
    return np.array([i for i, offer in enumerate(catalogue.offer_ids) if offer not in known], dtype=np.int32)


def draw(offers: NDArray[np.int32], k: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Up to k of `offers` uniformly without replacement: with none preferred, all of them gather events."""
    return rng.choice(offers, min(k, len(offers)), replace=False)
