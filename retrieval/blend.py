"""Merges what the sources found into one pool, each offer once."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from domain.candidates import Candidates, Source

SHARES: Mapping[Source, float] = {Source.ANN: 0.6, Source.POPULAR: 0.25, Source.NEW: 0.15}
"""Share of the pool each source gets; what one cannot fill goes to the others in the same proportion."""


def blend(found: Mapping[Source, NDArray[np.int32]], max_candidates: int) -> Candidates:
    """Takes from all sources in proportion to their shares, each from its best.

    The r-th offer of source s, from 0, comes at (r + 1/2) / share_s; an offer found by several sources counts for the one
    by which it comes first.

    Args:
      found: source -> catalogue positions, best first, each once.
    Returns:
      At most `max_candidates`, in the order they come; fewer where the sources found fewer.
    """
    parts = [(s, found[s][:max_candidates]) for s in SHARES if s in found]
    if not parts:
        return Candidates(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.uint8))
    turn = np.concatenate([(np.arange(len(offers)) + 0.5) / SHARES[s] for s, offers in parts])
    order = np.argsort(turn, kind="stable")
    offer = np.concatenate([offers for _, offers in parts])[order]
    source = np.concatenate([np.full(len(offers), s.value, dtype=np.uint8) for s, offers in parts])[order]
    _, first = np.unique(offer, return_index=True)
    chosen = np.sort(first)[:max_candidates]
    return Candidates(offer[chosen], source[chosen])


def whole(n_offers: int) -> Candidates:
    """All offers of a catalogue small enough to be ranked whole."""
    return Candidates(np.arange(n_offers, dtype=np.int32), np.full(n_offers, Source.ALL, dtype=np.uint8))
