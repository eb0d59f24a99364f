"""Who may be on a page while it is not known who can pay."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray


def may_be_placed(rankings: Iterable[Sequence[int]], advertiser: Sequence[int], certain: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of N may be placed, [N]: all others cannot, whoever of the uncertain turns out unable.

    Slots are filled one after the other, each with the first of its ranking that is able and whose advertiser is not placed yet.
    So each is looked through as far as the first advertiser who is certain to be able and certain not to be placed before. If
    all are certain, these are the winners.

    Args:
      rankings: of each slot, in the order in which they are filled, those that may take it.
      advertiser: [N] codes.
      certain: [N], surely able.
    """
    found = np.zeros(len(advertiser), dtype=bool)
    sure = certain.tolist()
    perhaps: set[int] = set()  # advertisers that may be placed already
    placed: set[int] = set()  # those that are for certain
    for ranking in rankings:
        here: set[int] = set()
        done = placed.copy()
        for i in ranking:
            if advertiser[i] in done:
                continue
            found[i] = True
            here.add(advertiser[i])
            if sure[i]:
                done.add(advertiser[i])
                if advertiser[i] not in perhaps:
                    if len(here) == 1:
                        placed |= here
                    break
        perhaps |= here
    return found
