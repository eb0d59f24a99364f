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


@dataclass(frozen=True, slots=True)
class Sale:
    """Outcome of an auction over N bidders for at most S slots.

    winner [S'] indices into the bidders by slot, S' <= S; price_micros [S'] int64, per billed event;
    propensity [S'] probability that the policy put this bidder in this slot; reason [N] `Reason` codes.
    """

    winner: NDArray[np.int64]
    price_micros: NDArray[np.int64]
    propensity: NDArray[np.float64]
    reason: NDArray[np.int16]
    explored: bool
