"""Accounts, one of each kind for a campaign and budget day, and what is on them."""

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """Whose money, or which. A balance is what came in less what went out, so all balances together are 0."""

    ADVERTISER = "advertiser"  # minus what was charged, net of what was given back: minus `spent` in Redis
    MARKET = "market"  # what was charged, gross
    ADJUSTMENTS = "adjustments"  # minus what was given back: returns, and by reason the charges found invalid later
    INVALID = "invalid"  # what invalid traffic would have cost, by reason; the account without a reason is its other side
    HOLDS = "holds"  # pending only: what Redis held for offers on show when it was last looked at


class Account(NamedTuple):
    """One account. `reason` is empty but for kinds `invalid` and `adjustments`."""

    kind: Kind
    campaign: str
    advertiser: str
    day: int
    reason: str = ""


class Balance(NamedTuple):
    """Signed micros: what has moved, and what would move beside if all that is pending were posted."""

    posted_micros: int = 0
    pending_micros: int = 0
