"""Offers whose embedding lies nearest to the shopper's."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.catalogue import Catalogue
from retrieval.index import OfferIndex


@dataclass(frozen=True, slots=True)
class AnnSource:
    """A release's index over today's catalogue, which may have gained and lost offers since the release was trained.

    catalogue_position [I] int32 for every row of the index; -1 for offers that are gone.
    """

    index: OfferIndex
    catalogue_position: NDArray[np.int32]

    @classmethod
    def of(cls, index: OfferIndex, catalogue: Catalogue) -> "AnnSource":
        """Joins index and catalogue by offer id."""
        return cls(index, np.array([catalogue.position_of.get(i, -1) for i in index.ids], dtype=np.int32))

    def nearest(self, query: NDArray[np.float32], k: int) -> NDArray[np.int32]:
        """Up to k catalogue positions, nearest first.

        Args:
          query: [D], of length 1.
        """
        gone = np.count_nonzero(self.catalogue_position < 0)
        # Offers that are gone still take places in the index: look further by as many, but not without end.
        positions, _ = self.index.search(query, k + min(gone, k))
        found = self.catalogue_position[positions]
        return found[found >= 0][:k]
