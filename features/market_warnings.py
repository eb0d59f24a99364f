"""What in a market file can be used and yet will not sell: nothing is refused for it, `offerrank market check` says it."""

from collections.abc import Iterator

from domain.campaign import IMPRESSIONS_PER_CPM, BidKind, Campaign, Review, Status
from domain.targeting import conditions, rules_of
from features.market import Market
from features.market_checks import place
from features.spec import first_repeated


def market_warnings(market: Market, now_ms: int) -> list[str]:
    """One line each, by key, in file order."""
    return [*_campaigns(market, now_ms), *_offers(market)]


def _campaigns(market: Market, now_ms: int) -> Iterator[str]:
    advertised = {o.campaign for o in market.offers}
    vocabulary = {f.name: f.vocabulary for f in market.request_features if isinstance(f.vocabulary, tuple)}
    for i, c in enumerate(market.campaigns):
        at = place("campaigns", i, c.id)
        if c.id not in advertised:
            yield f"{at}: no offer belongs to it"
        if c.status is not Status.LIVE:
            yield f"{at}.status: is {c.status}, it is shown nowhere"
        if c.ends and c.ends.timestamp() * 1000 <= now_ms:
            yield f"{at}.ends: is past, it is shown no more"
        per_event, best_ecpm = _worth(c)
        if c.daily_budget_micros is not None and c.daily_budget_micros < per_event:
            yield f"{at}.daily_budget_micros: is less than its bid for one {c.bid_kind.billed_on}, {per_event}"
        if c.lifetime_budget_micros is not None and c.lifetime_budget_micros < per_event:
            yield f"{at}.lifetime_budget_micros: is less than its bid for one {c.bid_kind.billed_on}, {per_event}"
        if best_ecpm < market.policy.reserve_ecpm_micros:
            yield f"{at}.bid_micros: its eCPM never reaches policy.reserve_ecpm_micros, {market.policy.reserve_ecpm_micros}"
        for way, rule in rules_of(c.targeting):
            for name, condition in conditions(rule):
                for values in (condition.get(listed, ()) for listed in ("in", "not_in")):
                    if (twice := first_repeated(values)) is not None:
                        yield f"{at}.targeting.{way}{name}: lists {twice!r} twice"
                    for value in values:
                        if name in vocabulary and value not in vocabulary[name]:
                            yield f"{at}.targeting.{way}{name}: {value!r} is not in the vocabulary of {name}"


def _worth(c: Campaign) -> tuple[int, int]:
    """Its bid for one billed event, and its eCPM if every impression led to one."""
    if c.bid_kind is BidKind.CPM:
        return c.bid_micros // IMPRESSIONS_PER_CPM, c.bid_micros
    return c.bid_micros, c.bid_micros * 1000


def _offers(market: Market) -> Iterator[str]:
    seen: dict[tuple[str, str, str, str], str] = {}
    for i, o in enumerate(market.offers):
        if o.review is not Review.APPROVED:
            yield f"{place('offers', i, o.id)}.review: is {o.review}, it is shown nowhere"
        first = seen.setdefault((o.campaign, o.title, o.body, o.landing_url), o.id)
        if first != o.id:
            yield f"{place('offers', i, o.id)}: says the same as {first!r} and leads to the same address"
