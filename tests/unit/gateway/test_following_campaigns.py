"""What a gateway knows of budgets while campaigns come, go and change."""

from known_catalogue import MARKET, campaign

from domain.keys import Keys
from features.market import Market
from retrieval.catalogue import UNLIMITED
from serving.budget_snapshot import Snapshot, digest
from serving.gateway.adapters.campaigns import RedisCampaigns
from serving.gateway.adapters.money_clock import MoneyClock
from serving.gateway.adapters.redis_link import RedisLink


def selling(*names: str, **changes: int) -> Market:
    """The golden market with these campaigns, some with another daily budget."""
    some = [campaign(n, daily_budget_micros=changes[n]) if n in changes else campaign(n) for n in names]
    return MARKET.selling(tuple(e.entry for e in some), ())  # type: ignore[misc]


def test_what_is_known_of_campaigns_that_stay_stays_known_and_of_the_others_nothing() -> None:
    names = ("alpha", "beta", "gamma")
    campaigns = RedisCampaigns(RedisLink("redis://127.0.0.1:1/0"), Keys("golden"), selling(*names), MoneyClock())
    day, at_ms = 20_833, 20_833 * 86_400_000
    room, multiplier = campaigns._room.copy(), campaigns._multiplier.astype("f4")
    room[:], multiplier[:] = (10, 20, 30), (0.5, 0.25, 0.125)
    told = Snapshot(day, at_ms + 1, b"m" * 32, digest(names), room, multiplier, "\n".join(names).encode())
    campaigns._take(told)
    campaigns._take(Snapshot(day, at_ms + 2, b"m" * 32, digest(names), room - 1, multiplier, told.ids))
    campaigns.follow(selling("delta", "gamma", "alpha", alpha=77))
    assert campaigns._multiplier.tolist() == [1.0, 0.125, 0.5]
    # A new budget, and a changed one, are asked for one by one until the pacer has published: their drain says so.
    assert campaigns._room.tolist() == [10_000_000, 29, 77]
    assert campaigns._drain.tolist() == [10_000_000, 1, 77]
    campaigns.learn("beta", day, 5)  # a decision under way that has held for it
    campaigns.learn("gamma", day, 5)
    assert campaigns._room.tolist() == [10_000_000, 5, 77]
    campaigns.follow(selling("house"))
    assert campaigns._room.tolist() == [UNLIMITED]
