"""Looks at the money in Redis: whether the books agree with it, whether it can be sold, and whether campaigns spend as planned.

Only what is clear is told. A campaign that spends too little is one that used up its budget yesterday, and has committed less
than half of what was planned by now when half of the day's traffic is over; one that spends too fast has used up what there is
when less than half is over. A plan that is missed by less, or every day, is on the page.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Final

from domain.campaign import Campaign, Status
from domain.days import CampaignDays, day_begins_ms, day_of
from domain.keys import Keys
from features.market import Market
from features.spec import CAMPAIGN
from monitoring.incidents.standing import Standing
from monitoring.incidents.store import MONEY
from monitoring.ledger_state import LedgerState
from monitoring.summaries import ALL, Series, Slice
from store import infos

if TYPE_CHECKING:
    import redis

HALF: Final = 0.5
USED_UP: Final = 0.95
"""Share of a budget at which it counts as used up."""
AT_ONCE: Final = 500
"""Campaigns whose budgets are read in one pipeline."""
MOST_CAMPAIGNS: Final = 5
"""That are told each on its own; more at once have one cause, and are one incident."""
_UNFINISHED: Final = b"unfinished"
"""In the set of servers whose money is right: that of earlier budget days is not all there yet."""


class MoneyLook:
    """One market's money.

    Raises, in every method:
      redis.RedisError: Redis is away; nothing is known.
    """

    def __init__(self, client: "redis.Redis", market: Market) -> None:
        self._client, self._market, self._keys = client, market, Keys(market.name)
        self._repairing_since_ms: int | None = None

    def look(self, at_ms: int, revenue_micros_per_day: int) -> list[Standing]:
        """What is wrong now.

        Args:
          revenue_micros_per_day: of the market, by which the cost of what cannot be sold is estimated.
        """
        return [*self._books(at_ms, revenue_micros_per_day), *self._campaigns(at_ms)]

    def _books(self, at_ms: int, revenue: int) -> Iterator[Standing]:
        known = self._client.smembers(self._keys.verified)
        unknown = {str(info["run_id"]).encode() for info in infos(self._client, "server")} - known
        repairing = bool(unknown) or _UNFINISHED in known
        if not repairing:
            self._repairing_since_ms = None
        else:
            self._repairing_since_ms = min(self._repairing_since_ms or at_ms, at_ms)
            # Once only days before are missing, today is sold again.
            yield _of("repair", (at_ms - self._repairing_since_ms) / 60_000, 0.0, revenue if unknown else 0)
        said = self._client.hgetall(self._keys.ledger)
        state = LedgerState.of({name.decode(): value.decode() for name, value in said.items()}, at_ms)
        if state is None:
            return
        if state.differences or state.refused:
            detail: dict[str, float | str] = {"rows": float(state.accounts), "refused_entries": float(state.refused)}
            yield _of("ledger", float(state.differences + state.refused), 0.0, state.difference_micros, detail)
        if repairing:
            return  # budgets are closed, and nothing is compared, because of it
        if state.late or state.trouble:
            allowed = 3 * float(said[b"interval_s"]) / 60
            why: dict[str, float | str] = {"why": state.trouble} if state.trouble else {}
            yield _of("unreconciled", state.age_s / 60, allowed, 0, why)
        if state.closed:
            share = state.closed / max(state.budgets, 1)
            yield _of("budgets_closed", share, 0.0, round(revenue * share), {"rows": float(state.budgets)})

    def _campaigns(self, at_ms: int) -> Iterator[Standing]:
        policy = self._market.policy
        whole = [c for c in self._market.campaigns if c.daily_budget_micros and self._runs_all(c, at_ms)]
        calendar = CampaignDays.of(whole, policy.day_length_s)
        days = calendar.at(at_ms)
        passed = calendar.traffic_passed(at_ms, days, policy.traffic_shape).tolist()
        said: list[list[bytes | None]] = []
        for begin in range(0, len(whole), AT_ONCE):
            with self._client.pipeline(transaction=False) as reads:
                some = zip(whole[begin : begin + AT_ONCE], days[begin : begin + AT_ONCE].tolist(), strict=True)
                for (campaign, day), back in product(some, (0, 1)):
                    reads.hmget(self._keys.budget(campaign.id, day - back), "limit", "spent", "held", "pending")
                said += reads.execute()
        off: list[Standing] = []
        for campaign, share, today, before in zip(whole, passed, said[::2], said[1::2], strict=True):
            now, yesterday = _Budget.of(today), _Budget.of(before)
            if now is None:
                continue
            where = Slice(CAMPAIGN, campaign.id)
            if now.spent > now.limit:
                yield _of("overspend", now.spent / now.limit, 1.0, now.spent - now.limit, where=where)
            elif yesterday is not None:
                off += _off_plan(now, yesterday, share, where, even=campaign.pacing == "even")
        yield from off if len(off) <= MOST_CAMPAIGNS else [_together(off)]

    def _runs_all(self, campaign: Campaign, at_ms: int) -> bool:
        """Whether it runs from the begin of yesterday to the end of today, and does not end before."""
        if campaign.status is not Status.LIVE:
            return False
        of = campaign.time_zone, self._market.policy.day_length_s
        day = day_of(at_ms, *of)
        begins = campaign.starts is None or campaign.starts.timestamp() * 1000 <= day_begins_ms(day - 1, *of)
        return begins and (campaign.ends is None or campaign.ends.timestamp() * 1000 >= day_begins_ms(day + 1, *of))


class _Budget:
    """One campaign's of one day, in micros."""

    def __init__(self, limit: int, spent: int, expected: int) -> None:
        self.limit, self.spent, self.committed = limit, spent, spent + expected

    @classmethod
    def of(cls, said: Sequence[bytes | None]) -> "_Budget | None":
        """None where it is not open, or has none."""
        limit, spent, held, pending = said
        if limit is None or limit == b"none" or int(limit) <= 0:
            return None
        return cls(int(limit), int(spent or 0), int(held or 0) + int(float(pending or 0)))


def _off_plan(now: _Budget, yesterday: _Budget, passed: float, where: Slice, *, even: bool) -> Iterator[Standing]:
    committed = now.committed / now.limit
    could = yesterday.spent >= USED_UP * yesterday.limit and yesterday.limit >= HALF * now.limit
    if passed >= HALF and could and committed < HALF * passed:
        missed = round((passed - committed) * now.limit / passed)
        yield _of("pacing", committed, passed, missed, {"day_passed": passed}, where)
    elif even and passed < HALF and now.spent >= USED_UP * now.limit:
        yield _of("pacing", now.spent / now.limit, passed, 0, {"day_passed": passed}, where)


def _together(off: Sequence[Standing]) -> Standing:
    """Many campaigns at once, as their mean."""
    size, usual = (sum(values) / len(off) for values in ([o.size for o in off], [o.usual for o in off]))
    return _of("pacing", size, usual, sum(o.cost_micros_per_day for o in off), {"campaigns": float(len(off))})


def _of(
    kind: str, size: float, usual: float, cost: int, detail: dict[str, float | str] | None = None, where: Slice = ALL
) -> Standing:
    return Standing(kind, Series(MONEY, kind), size, usual, cost, where, detail or {})
