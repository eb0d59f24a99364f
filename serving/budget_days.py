"""Opens budget days: nothing is sold, and no event accepted, on a budget that nobody has opened."""

from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np
import redis
from numpy.typing import NDArray

from domain.campaign import BidKind, Campaign
from domain.days import DAY_S, UTC, day_begins_ms
from domain.keys import LIFETIME, Keys
from features.market import Market
from retrieval.catalogue import Catalogue

DEVIATIONS = 1.0
"""How many standard deviations of what is pending a budget of conversions is sold beyond its expectation; on the last day of a
campaign as many below. docs/pacing.md has the measurements."""
AT_ONCE = 1000
"""Commands in one pipeline."""
SHORTEST_DAY_S = DAY_S - 7200
"""Clocks are put on by two hours at most."""
NO_LIMIT = "none"
"""What an open budget says of a campaign without one: it counts what is spent and stops nothing."""


def open_days(client: "redis.Redis", market: Market, days: Iterable[int], campaigns: Sequence[Campaign] | None = None) -> None:
    """Opens the budgets of all campaigns, or of some, for days whose money is known to be right; sets the limit of open ones.

    Repeating it changes nothing but the limits, which take effect at once.

    Raises:
      redis.RedisError: Redis is away; what was opened stays open.
    """
    open_new(client, market, product(market.campaigns if campaigns is None else campaigns, list(days)))


def open_new(client: "redis.Redis", market: Market, budgets: Iterable[tuple[Campaign, int]]) -> None:
    """The same for a day of its own for each campaign."""
    keys, pipe = Keys(market.name), client.pipeline(transaction=False)
    for campaign, day in budgets:
        name, limit = keys.budget(campaign.id, day), campaign.daily_budget_micros
        from_ms, until_ms, ttl_ms = span(market, campaign.id, day)
        said = {"limit": NO_LIMIT if limit is None else limit, "from_ms": from_ms, "until_ms": until_ms}
        pipe.hset(name, mapping=said | ({"total": 1} if has_total(campaign) else {}))
        pipe.pexpire(name, ttl_ms)
        if len(pipe) >= AT_ONCE:
            pipe.execute()
    pipe.execute()


def limit_micros(campaign: Campaign, day: int) -> int | None:
    """The limit of a campaign's budget of a day, or of `LIFETIME`; None for none."""
    return campaign.lifetime_budget_micros if day == LIFETIME else campaign.daily_budget_micros


def has_total(campaign: Campaign | None) -> bool:
    """Whether all of a campaign's days together have a budget."""
    return campaign is not None and campaign.lifetime_budget_micros is not None


def holds_back(market: Market) -> int:
    """On how many budget days before today holds may be live."""
    policy = market.policy
    shortest_s = policy.day_length_s if policy.day_length_s < DAY_S else SHORTEST_DAY_S
    # An edited time zone may skip two dates.
    return 3 + (policy.unseen_hold_ttl_s + policy.hold_ttl_s) // shortest_s


def span(market: Market, campaign_id: str, day: int) -> tuple[int, int, int]:
    """First ms of a campaign's budget day, first after it, and for how long its budget is kept from now.

    A campaign that has gone has days of UTC. A lifetime budget is kept for ever, which is 0.
    """
    if day == LIFETIME:
        return 0, 0, 0
    campaign, length_s = market.campaign_by_id.get(campaign_id), market.policy.day_length_s
    zone = UTC if campaign is None else campaign.time_zone
    from_ms, until_ms = (day_begins_ms(d, zone, length_s) for d in (day, day + 1))
    return from_ms, until_ms, 2000 * length_s + budget_ttl_ms(market)


def budget_ttl_ms(market: Market) -> int:
    """How long a budget outlives its last use: past the last event that may still charge it, or give its charge back."""
    training, policy = market.training, market.policy
    windows_s = training.click_window_s + training.conversion_window_s + policy.return_window_s
    return 1000 * (windows_s + max(policy.hold_ttl_s, policy.unseen_hold_ttl_s) + policy.day_length_s + 86_400)


def conversion_delay_ms(market: Market) -> int:
    """Mean time from a click to its conversion, before any was seen."""
    given = market.policy.conversion_delay_s
    return 1000 * (given if given is not None else max(market.training.conversion_window_s // 10, 1))


def slack_micros(market: Market, catalogue: Catalogue, days: NDArray[np.int64]) -> NDArray[np.float64]:
    """[C] how far budgets are sold beyond what is pending on them: price times DEVIATIONS squared, in the sign of the deviations.

    0 for campaigns that hold their whole price. On the last day of a campaign less is sold than is expected to fit, since what is
    left over then finds no other day.

    Args:
      catalogue: of the market; making one at every turn costs more than all the rest.
      days: [C] budget day of each campaign.
    """
    price = np.array([c.bid_micros if c.bid_kind is BidKind.CPA else 0 for c in market.campaigns], dtype=np.float64)
    slack: NDArray[np.float64] = price * DEVIATIONS**2 * np.where(last_day(catalogue) <= days, -1.0, 1.0)
    return slack


def last_day(catalogue: Catalogue) -> NDArray[np.int64]:
    """[C] the budget day in which each campaign ends."""
    return catalogue.days.of_each(catalogue.ends_ms - 1)
