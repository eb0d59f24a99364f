"""Why an offer was shown or not. OpenRTB 3.0 loss codes where they exist; 500 and up are ours."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Reason(IntEnum):
    """The fate of one candidate in one decision."""

    WON = 0
    BELOW_FLOOR = 100
    OUTBID = 102
    ADVERTISER_EXCLUSION = 205  # another offer of the same advertiser was placed ahead
    BUDGET = 500  # no room left in the budget for this price
    FREQUENCY_CAP = 501
    TARGETING = 502
    SCHEDULE = 503  # before the campaign's start or after its end
    BUDGET_UNKNOWN = 504  # budgets cannot be read, so budgeted offers are not sold
    NOT_EXPLORED = 505  # the slate was drawn at random and this offer was not drawn
    CATEGORY_EXCLUSION = 209  # a category of the campaign is blocked
    DAY_PART = 506  # outside the hours of the week in which the campaign is shown
    BLOCKED = 507  # its advertiser or the offer is blocked
    COMPETITOR = 508  # a rival that it shares no page with was placed ahead
    OUTRANKED = 509  # every slot whose reserve it passes went to a higher tier


@dataclass(frozen=True, slots=True)
class Slate:
    """Which of N bidders takes which of S slots, before prices. W <= S slots are filled; the others stay empty.

    slot [W] page-wide slot numbers, ascending; winner [W] indices into the bidders, of W different advertisers;
    propensity [W] probability, given the bidders, that the policy puts this bidder in this slot.
    """

    slot: NDArray[np.int64]
    winner: NDArray[np.int64]
    propensity: NDArray[np.float64]
    explored: bool
    """Drawn at random, rather than by eCPM."""


@dataclass(frozen=True, slots=True)
class Sale:
    """A priced slate. slot, winner, propensity and explored as in `Slate`; a slot that is absent from `slot` stays empty.

    price_micros [W] int64, per billed event; reason [N] int16 `Reason` codes, one for every bidder; examination [W] what the slot
    was taken to leave of the clicks at the first position, 1 where that is not known.
    """

    slot: NDArray[np.int64]
    winner: NDArray[np.int64]
    price_micros: NDArray[np.int64]
    propensity: NDArray[np.float64]
    reason: NDArray[np.int16]
    explored: bool
    examination: NDArray[np.float64]
