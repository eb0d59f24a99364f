"""Opens budget days: nothing is sold, and no event accepted, on a budget that nobody has opened."""

from collections.abc import Iterable, Sequence

import numpy as np
import redis
from numpy.typing import NDArray

from domain.campaign import BidKind, Campaign
from domain.keys import Keys
from features.market import Market
from retrieval.catalogue import Catalogue

DEVIATIONS = 1.0
"""How many standard deviations of what is pending a budget of conversions is sold beyond its expectation; on the last day of a
campaign as many below. docs/pacing.md has the measurements."""
NO_LIMIT = "none"
"""What an open budget says of a campaign without one: it counts what is spent and stops nothing."""


def open_days(client: "redis.Redis", market: Market, days: Iterable[int], campaigns: Sequence[Campaign] | None = None) -> None:
    """Opens the budgets of all campaigns, or of some, for days whose money is known to be right; sets the limit of open ones.

    Repeating it changes nothing but the limits, which take effect at once.

    Raises:
      redis.RedisError: Redis is away; what was opened stays open.
    """
    keys, day_ms = Keys(market.name), market.policy.day_length_s * 1000
    for day in days:
        span = {"from_ms": day * day_ms, "until_ms": (day + 1) * day_ms}
        pipe = client.pipeline(transaction=False)
        for campaign in market.campaigns if campaigns is None else campaigns:
            name, limit = keys.budget(campaign.id, day), campaign.daily_budget_micros
            pipe.hset(name, mapping={"limit": NO_LIMIT if limit is None else limit, **span})
            pipe.pexpire(name, 2 * day_ms + budget_ttl_ms(market))
        pipe.execute()


def budget_ttl_ms(market: Market) -> int:
    """How long a budget outlives its last use: past the last event that may still charge it, or give its charge back."""
    training, policy = market.training, market.policy
    windows_s = training.click_window_s + training.conversion_window_s + policy.return_window_s
    return 1000 * (windows_s + max(policy.hold_ttl_s, policy.unseen_hold_ttl_s) + policy.day_length_s + 86_400)


def conversion_delay_ms(market: Market) -> int:
    """Mean time from a click to its conversion, before any was seen."""
    given = market.policy.conversion_delay_s
    return 1000 * (given if given is not None else max(market.training.conversion_window_s // 10, 1))


def slack_micros(market: Market, catalogue: Catalogue, day: int) -> NDArray[np.float64]:
    """[C] how far budgets are sold beyond what is pending on them: price times DEVIATIONS squared, in the sign of the deviations.

    0 for campaigns that hold their whole price. On the last day of a campaign less is sold than is expected to fit, since what is
    left over then finds no other day.

    Args:
      catalogue: of the market; making one at every turn costs more than all the rest.
    """
    day_ms = market.policy.day_length_s * 1000
    price = np.array([c.bid_micros if c.bid_kind is BidKind.CPA else 0 for c in market.campaigns], dtype=np.float64)
    slack: NDArray[np.float64] = price * DEVIATIONS**2 * np.where(last_day(catalogue, day_ms) <= day, -1.0, 1.0)
    return slack


def last_day(catalogue: Catalogue, day_ms: int) -> NDArray[np.int64]:
    """[C] the budget day in which each campaign ends."""
    last: NDArray[np.int64] = (catalogue.ends_ms - 1) // day_ms
    return last
