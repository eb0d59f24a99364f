"""Offers under consideration, as parallel arrays over the catalogue's order."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Source(IntEnum):
    """Where retrieval found a candidate."""

    ANN = 0
    POPULAR = 1
    NEW = 2
    ALL = 3  # the catalogue is small enough to rank whole


@dataclass(frozen=True, slots=True)
class Candidates:
    """offer [N] int32 catalogue positions, each once; source [N] uint8 `Source` codes."""

    offer: NDArray[np.int32]
    source: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.offer)

    def take(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> "Candidates":
        """The kept candidates, by mask or by position."""
        return Candidates(self.offer[keep], self.source[keep])
