"""Merges what the sources found into one pool, each offer once."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from domain.candidates import Candidates, Source

SHARES: Mapping[Source, float] = {Source.ANN: 0.6, Source.POPULAR: 0.25, Source.NEW: 0.15}
"""Share of the pool each source is sure of. Places a source cannot fill go to the others, in this order."""


def blend(found: Mapping[Source, NDArray[np.int32]], max_candidates: int) -> Candidates:
    """Every source's sure share first, then whatever the sources found beyond it.

    An offer found by several sources counts for the first in order of `SHARES`.

    Args:
      found: source -> catalogue positions, best first, each once.
    Returns:
      At most `max_candidates`; fewer where the sources found fewer.
    """
    sure = {s: round(SHARES[s] * max_candidates) for s in SHARES}
    parts = [(s, found[s][: sure[s]]) for s in SHARES if s in found]
    parts += [(s, found[s][sure[s] :]) for s in SHARES if s in found]
    offer = np.concatenate([positions for _, positions in parts] or [np.empty(0, dtype=np.int32)])
    source = np.repeat(np.array([s for s, _ in parts], dtype=np.uint8), [len(positions) for _, positions in parts])
    _, first = np.unique(offer, return_index=True)
    chosen = np.sort(first)[:max_candidates]
    return Candidates(offer[chosen], source[chosen])


def whole(n_offers: int) -> Candidates:
    """All offers of a catalogue small enough to be ranked whole."""
    return Candidates(np.arange(n_offers, dtype=np.int32), np.full(n_offers, Source.ALL, dtype=np.uint8))
