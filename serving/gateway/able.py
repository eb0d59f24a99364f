"""Which campaigns could be on a page: what the budgets and caps of that moment said, and nothing can find out again later."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from auction.bids import Bids
from auction.contenders import Contenders
from domain.outcome import Reason

Mask = NDArray[np.bool_]


class Unable(NamedTuple):
    """A campaign that could not be on a page, or not on one of the other kind: by eCPM or drawn at random."""

    campaign: int
    """Index into the catalogue's."""
    why: int
    """`Reason`; 0 where it could be on this page."""
    otherwise: int
    """1 where it could have been on a page of the other kind, else 0: propensities tell of both."""


@dataclass(frozen=True, slots=True)
class Able:
    """Which of K contenders could be on either kind of page, and why not on the one that it was: 0 where they could."""

    ranked: Mask
    drawn: Mask
    why: NDArray[np.int16]

    @classmethod
    def but(cls, unable: Sequence[Unable], campaign: NDArray[np.int32], *, drawn: bool) -> Self:
        """All but some.

        Args:
          campaign: [K] of the contenders.
          drawn: whether it is a page drawn at random.
        """
        this, other = (np.ones(len(campaign), dtype=bool) for _ in range(2))
        why = np.zeros(len(campaign), dtype=np.int16)
        for one in unable:
            here = campaign == one.campaign
            why[here] = one.why
            this[here] = one.why == 0
            other[here] = bool(one.otherwise)
        return cls(other, this, why) if drawn else cls(this, other, why)

    def unable(self, campaign: NDArray[np.int32], *, drawn: bool) -> list[Unable]:
        """What `but` takes; empty where all could."""
        if self.ranked.all() and self.drawn.all() and not self.why.any():
            return []
        other = self.ranked if drawn else self.drawn
        some = np.flatnonzero(~other | (self.why != 0))
        columns = (campaign[some].tolist(), self.why[some].tolist(), other[some].astype(int).tolist())
        return [Unable(*row) for row in zip(*columns, strict=True)]

    def reasons(self, reason: NDArray[np.int16], contenders: Contenders) -> NDArray[np.int16]:
        """[N] of the bidders, where those of the unable have their own."""
        if not self.why.any():
            return reason
        why = contenders.per_bidder(self.why, Reason.WON)
        return np.where(why != 0, why, reason)


def only(able: Mask, contenders: Contenders) -> Bids:
    """The same bidders, of which those that are not able bid nothing; a bid of nothing never wins."""
    bids = contenders.bids
    if able.all():
        return bids
    here = contenders.per_bidder(able, otherwise=True)
    return replace(bids, bid_micros=np.where(here, bids.bid_micros, 0), ecpm_micros=np.where(here, bids.ecpm_micros, 0.0))
