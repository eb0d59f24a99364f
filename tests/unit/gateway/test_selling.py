"""Pages to the end of budgets: nothing sellable stays unsold, nothing unheld is sold, and the log says how likely it was."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import MISSING, fields, replace
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stall import Seller, Stall

from domain.candidates import Candidates
from domain.errors import Unavailable
from domain.outcome import Reason, Sale
from serving.gateway.means import hold_micros
from serving.gateway.ports import Grant

RICH = [Seller(f"rich{i}", 900_000 - 100_000 * i) for i in range(6)]


def held(stall: Stall, sale: Sale) -> dict[str, int]:
    """What has to be held for a page: campaign -> micros."""
    winner = sale.winner
    micros = hold_micros(sale.price_micros, stall.catalogue.bid_kind[winner], stall.bids.quality[winner] * sale.examination)
    names = [stall.catalogue.campaign_ids[c] for c in stall.catalogue.campaign[winner]]
    budgeted = {s.name for s in stall.sellers if s.budget_micros is not None}
    return {n: int(m) for n, m in zip(names, micros, strict=True) if n in budgeted and m}


def reasons(stall: Stall, sale: Sale) -> dict[str, Reason]:
    return {o: Reason(r) for o, r in zip(stall.catalogue.offer_ids, sale.reason.tolist(), strict=True)}


def test_a_campaign_with_little_left_and_many_offers_empties_no_page() -> None:
    # Three offers that cannot pay what is asked, each ahead of six that can.
    stall = Stall([Seller("poor", 1_000_000, (0.05, 0.05, 0.05), 10_000_000), *RICH], spent_micros={"poor": 9_900_000})
    pages = [stall.sell(5_000_000, 5_000_000, epsilon=0.05) for _ in range(300)]
    assert Counter(len(p.winner) for p in pages) == {2: 300}
    assert stall.spent("poor") <= 10_000_000


def test_a_campaign_without_room_leaves_with_all_its_offers_and_the_next_pay_their_own_prices() -> None:
    stall = Stall(
        [Seller("poor", 1_000_000, (0.05, 0.04), 800_000), *RICH], seen_micros={"poor": 900_000}, spent_micros={"poor": 1}
    )
    sale = stall.sell(0, 0)
    assert stall.shown(sale) == ["rich0-0", "rich1-0"]
    assert sale.price_micros.tolist() == [800_000, 700_000]
    said = reasons(stall, sale)
    assert {said["poor-0"], said["poor-1"]} == {Reason.BUDGET}
    assert said["rich2-0"] == Reason.OUTBID
    assert stall.budgets.asked == 1


def test_an_ordinary_page_is_one_round_trip_and_keeps_what_it_holds() -> None:
    stall = Stall([replace(s, budget_micros=10**12) for s in RICH])
    sale = stall.sell(0, 0, 0, epsilon=0.0)
    assert stall.budgets.asked == 1
    assert stall.budgets.held == {(f"rich{i}", "d1"): int(p) for i, p in enumerate(sale.price_micros)}
    assert sale.price_micros.tolist() == [800_000, 700_000, 600_000]


def test_any_number_of_nearly_spent_campaigns_is_one_round_trip() -> None:
    poor = [Seller(f"poor{i}", 2_000_000, budget_micros=100_000) for i in range(40)]
    stall = Stall([*poor, *RICH])
    sale = stall.sell(0, 0, 0, epsilon=0.05)
    assert stall.budgets.asked <= 1  # none, where it is known that they cannot pay
    assert len(sale.winner) == 3


def test_a_reading_that_was_wrong_costs_one_more_round_trip_however_many_it_was_wrong_about() -> None:
    gone = [Seller(f"gone{i}", 2_000_000 + i, budget_micros=10**9) for i in range(30)]
    stall = Stall(
        [*gone, *RICH],
        seen_micros={s.name: 10**9 for s in gone},
        spent_micros={s.name: 10**9 for s in gone},
    )
    sale = stall.sell(0, 0, 0)
    assert stall.shown(sale) == ["rich0-0", "rich1-0", "rich2-0"]
    assert stall.budgets.asked == 2
    assert stall.budgets.held == {}


def test_offers_without_a_budget_ask_nobody() -> None:
    stall = Stall(RICH)
    assert len(stall.sell(0, 0, epsilon=1.0).winner) == 2
    assert stall.budgets.asked == 0


def test_nothing_is_sold_for_nothing_unless_the_market_says_so() -> None:
    alone = Stall([Seller("a", 1_000_000, budget_micros=10**9)])
    assert alone.sell(0).price_micros.tolist() == [100_000]
    assert alone.sell(0, epsilon=1.0).price_micros.tolist() == [500_000]
    assert alone.sell(0, least_bid_share=0.0).price_micros.tolist() == [0]
    # What costs nothing is not held, and does not need room.
    assert alone.budgets.held == {("a", "d1"): 100_000, ("a", "d2"): 500_000}


def test_a_test_request_holds_nothing_and_sees_the_budgets_as_they_were_read() -> None:
    stall = Stall(
        [Seller("poor", 2_000_000, budget_micros=10), Seller("fit", 1_000_000, budget_micros=10**9), *RICH], spent_micros={}
    )
    assert stall.shown(stall.sell(0, 0, billable=False)) == ["fit-0", "rich0-0"]
    assert (stall.budgets.asked, stall.budgets.held) == (0, {})


def test_where_holds_cannot_be_had_the_rest_is_sold_among_itself() -> None:
    stall = Stall([Seller("a", 2_000_000, budget_micros=10**9), *RICH])
    stall.budgets.away = True
    sale = stall.sell(0, 0)
    assert stall.shown(sale) == ["rich0-0", "rich1-0"]
    assert reasons(stall, sale)["a-0"] == Reason.BUDGET_UNKNOWN
    assert stall.stages.degraded == ["budgets"]


def test_what_may_have_been_held_when_no_answer_came_is_given_back() -> None:
    stall = Stall([Seller("a", 2_000_000, budget_micros=10**9), *RICH])
    hold = stall.budgets.hold

    class HeldButSilent(type(stall.budgets)):  # type: ignore[misc]
        async def hold(self, items, timeout_s, patience=1.0):
            await hold(items, timeout_s, patience)
            assert stall.spent("a") > 0
            raise Unavailable("redis", "no answer")

    budgets = HeldButSilent(stall.market, stall.budgets.committed_micros, stall.budgets.held)
    stall.budgets = budgets
    assert stall.shown(stall.sell(0, 0)) == ["rich0-0", "rich1-0"]
    assert budgets.held == {}


def test_a_refusal_is_a_refusal_even_if_there_seems_to_be_room() -> None:
    stall = Stall([Seller("a", 2_000_000, budget_micros=10**9), *RICH])

    class Stubborn(type(stall.budgets)):  # type: ignore[misc]
        async def hold(self, items, timeout_s, patience=1.0):
            return [Grant(held=False, room_micros=10**9) for _ in items]

    stall.budgets = Stubborn(stall.market)
    assert stall.shown(stall.sell(0)) == ["rich0-0"]


def test_a_budget_that_is_not_open_sells_nothing() -> None:
    stall = Stall([Seller("a", 2_000_000, budget_micros=10**9), *RICH])

    class Closed(type(stall.budgets)):  # type: ignore[misc]
        async def hold(self, items, timeout_s, patience=1.0):
            return [Grant(held=False, room_micros=None) for _ in items]

    stall.budgets = Closed(stall.market)
    sale = stall.sell(0)
    assert stall.shown(sale) == ["rich0-0"]
    assert reasons(stall, sale)["a-0"] == Reason.BUDGET_UNKNOWN


# Slots that are looked at less


def test_where_a_budget_is_short_the_next_bidder_pays_its_own_price_in_that_slot() -> None:
    # Clicks at 50 and 40, an impression at 16. The first has no room for the 40 it could be charged.
    sellers = [
        Seller("poor", 1_000_000, budget_micros=700_000),
        Seller("fit", 800_000, budget_micros=10**9),
        Seller("next", 700_000, budget_micros=10**9),
        Seller("views", 16_000_000, budget_micros=10**9, bid_kind="cpm"),
    ]
    stall = Stall(sellers, examination=(1.0, 0.4))
    sale = stall.sell(0, 0)
    # fit pays what beats next, 35; in the second slot next is left with 14: the impression is worth more, and pays those 14.
    assert stall.shown(sale) == ["fit-0", "views-0"]
    assert sale.price_micros.tolist() == [700_000, 14_000]
    assert {c: m for (c, _), m in stall.budgets.held.items()} == {"fit": 700_000, "views": 14_000}
    assert stall.budgets.asked == 1


def test_what_is_held_for_a_sale_is_what_is_expected_in_its_slot() -> None:
    # 1000 x .05 x .1 = 5 eCPM a micro; bids of 8.00 and 6.00 are worth 40 and 30, and 15 in the second slot.
    sellers = [
        Seller("first", 8_000_000, budget_micros=10**9, bid_kind="cpa"),
        Seller("second", 6_000_000, budget_micros=10**9, bid_kind="cpa"),
        Seller("views", 10_000_000, bid_kind="cpm"),
    ]
    stall = Stall(sellers, examination=(1.0, 0.5))
    sale = stall.sell(0, 0)
    # 10 / (1000 x .5 x .005) = 4.00 a sale, of which an impression there brings .0025.
    assert sale.price_micros.tolist() == [6_000_000, 4_000_000]
    assert {c: m for (c, _), m in stall.budgets.held.items()} == {"first": 30_000, "second": 10_000}
    assert stall.held_micros == [30_000, 10_000]


def test_what_is_held_in_a_slot_that_is_looked_at_less_was_known_when_it_was_asked_for() -> None:
    odd = np.random.default_rng(7).uniform(0.02, 0.05, 9)
    kinds = ("cpc", "cpa", "cpa")
    sellers = [Seller(f"s{i}", 900_000, (q,), 10**9, bid_kind=kinds[i % 3]) for i, q in enumerate(odd.tolist())]
    stall = Stall(sellers, examination=(1.0, 0.6, 0.4))
    sales = [stall.sell(0, 0, 0), stall.sell(0, 0, 0)]
    assert [len(s.winner) for s in sales] == [3, 3]
    assert (stall.budgets.asked, stall.budgets.lowered) == (2, 0)


def test_who_moves_up_since_another_proves_unable_holds_what_is_expected_there() -> None:
    sellers = [
        Seller("gone", 9_000_000, budget_micros=10**9, bid_kind="cpa"),
        Seller("first", 8_000_000, budget_micros=10**9, bid_kind="cpa"),
        Seller("second", 6_000_000, budget_micros=10**9, bid_kind="cpa"),
        Seller("views", 10_000_000, bid_kind="cpm"),
    ]
    stall = Stall(sellers, {"gone": 10**9}, {"gone": 10**9}, examination=(1.0, 0.5))
    sale = stall.sell(0, 0)
    assert stall.shown(sale) == ["first-0", "second-0"]
    assert {c: m for (c, _), m in stall.budgets.held.items()} == {"first": 30_000, "second": 10_000}
    assert (stall.held_micros, stall.budgets.asked) == ([30_000, 10_000], 2)


# Frequency caps


def test_twenty_tabs_at_once_see_a_capped_campaign_as_often_as_its_cap_says() -> None:
    stall = Stall([Seller("rare", 2_000_000, cap=2), *RICH])

    async def tabs() -> list[Sale]:
        return await asyncio.gather(*(stall.selling(stall.page(0, 0)) for _ in range(20)))

    pages = asyncio.run(tabs())
    assert sum("rare-0" in stall.shown(p) for p in pages) == 2
    assert {len(p.winner) for p in pages} == {2}
    assert Counter(reasons(stall, p)["rare-0"] for p in pages) == {Reason.WON: 2, Reason.FREQUENCY_CAP: 18}


def test_a_cap_that_was_reserved_and_not_used_is_given_back() -> None:
    # The second has no room, so both are asked; what the first takes, the third does not get.
    stall = Stall([Seller("a", 3_000_000, budget_micros=3_000_000), Seller("rare", 2_000_000, cap=1), *RICH])
    assert stall.shown(stall.sell(0)) == ["a-0"]
    assert stall.caps.shown == {"s": set()}


def test_a_refused_cap_gives_the_hold_back() -> None:
    stall = Stall([Seller("rare", 2_000_000, budget_micros=10**9, cap=1), *RICH])
    stall.caps.shown = {"s": {("rare", "another page")}}
    assert stall.shown(stall.sell(0)) == ["rich0-0"]
    assert stall.budgets.held == {}


def test_without_a_shopper_key_no_cap_is_asked_for() -> None:
    stall = Stall([Seller("rare", 2_000_000, cap=1), *RICH])
    assert [stall.shown(stall.sell(0, shopper_key=None)) for _ in range(3)] == [["rare-0"]] * 3
    assert stall.caps.shown == {}


def test_what_may_have_been_reserved_when_no_answer_came_is_given_back_unless_it_is_shown() -> None:
    stall = Stall([Seller("a", 3_000_000, budget_micros=3_000_000, cap=1), Seller("rare", 2_000_000, cap=1), *RICH])
    reserve = stall.caps.reserve

    class ReservedButSilent(type(stall.caps)):  # type: ignore[misc]
        async def reserve(self, shopper_key, decision_id, items, timeout_s):
            await reserve(shopper_key, decision_id, items, timeout_s)
            raise Unavailable("redis", "no answer")

    stall.caps = ReservedButSilent(stall.shoppers, stall.caps.shown)
    assert stall.shown(stall.sell(0)) == ["a-0"]
    assert stall.caps.shown == {"s": {("a", "d1")}}


def test_where_caps_cannot_be_reserved_the_counters_decide() -> None:
    stall = Stall([Seller("rare", 2_000_000, cap=1), *RICH])
    stall.caps.away = True
    assert stall.shown(stall.sell(0)) == ["rare-0"]
    assert stall.stages.degraded == ["caps"]


# Random budgets near zero

# Up to six campaigns of three advertisers, with budgets around what a place on the page costs.
_seller = st.builds(
    Seller,
    name=st.just(""),
    bid_micros=st.integers(1, 100),
    quality=st.lists(st.sampled_from([0.02, 0.03, 0.05, 0.5]), min_size=1, max_size=3),
    budget_micros=st.one_of(st.none(), st.integers(1, 150), st.just(10**9)),
    advertiser=st.sampled_from(["a", "b", "c", "d"]),
    bid_kind=st.sampled_from(["cpc", "cpa", "cpm"]),
    cap=st.sampled_from([None, None, 1]),
)


def _per_thousand(seller: Seller) -> Seller:
    """A bid per thousand impressions that comes to a few micros each, as much as its clicks would be worth."""
    return replace(seller, bid_micros=max(50 * seller.bid_micros, 1000)) if seller.bid_kind == "cpm" else seller


any_sellers = st.lists(_seller, min_size=1, max_size=6).map(
    lambda all_: [replace(_per_thousand(s), name=f"c{i}") for i, s in enumerate(all_)]
)
any_floors = st.lists(st.sampled_from([0, 0, 200, 1_000]), min_size=1, max_size=4)
any_epsilon = st.sampled_from([0.0, 0.3, 1.0])
any_examination = st.sampled_from([None, (1.0, 0.5, 0.25, 0.1), (1.0, 0.6, 1.3, 0.6)])


@st.composite
def any_stalls(draw: st.DrawFn) -> Stall:
    """Budgets of which something is left, and readings of which some are old."""
    sellers = draw(any_sellers)
    limits = {s.name: s.budget_micros for s in sellers if s.budget_micros is not None}
    spent = {name: limit - draw(st.sampled_from([limit, min(limit, 40), 1])) for name, limit in limits.items()}
    old = draw(st.sets(st.sampled_from(sorted(limits)))) if limits else set()
    seen = {name: draw(st.sampled_from([limits[name], min(limits[name], 40), 1])) for name in sorted(old)}
    drain, seed = draw(st.sampled_from([0, 100])), draw(st.integers(0, 2**32))
    return Stall(sellers, seen, spent, drain, seed, draw(any_examination))


def in_slots(stall: Stall, n_slots: int) -> np.ndarray:
    """[S, N] eCPM of every bidder in every slot."""
    seen = np.ones(n_slots) if stall.examination is None else np.array(stall.examination[:n_slots])
    return np.where(stall.bids.by_view, 1.0, seen[:, None]) * stall.bids.ecpm_micros


@settings(deadline=None)
@given(any_stalls(), any_floors, any_epsilon)
def test_exactly_what_is_sold_is_held_and_no_budget_is_overrun(stall: Stall, floors: list[int], epsilon: float) -> None:
    before = dict(stall.budgets.committed_micros)
    sale = stall.sell(*floors, epsilon=epsilon)
    assert {c: m for (c, _), m in stall.budgets.held.items()} == held(stall, sale)
    assert sum(stall.held_micros) == sum(held(stall, sale).values())
    for seller in stall.sellers:
        assert seller.budget_micros is None or stall.room(seller.name) >= 0
        assert stall.spent(seller.name) == before.get(seller.name, 0) + held(stall, sale).get(seller.name, 0)
    shown = {(stall.catalogue.campaign_ids[stall.catalogue.campaign[w]], "d1") for w in sale.winner}
    capped = {s.name for s in stall.sellers if s.cap}
    assert stall.caps.shown.get("s", set()) == {(c, d) for c, d in shown if c in capped}
    assert stall.budgets.asked <= 2


@settings(deadline=None)
@given(any_stalls(), any_floors, any_epsilon)
def test_no_slot_stays_empty_that_somebody_could_pay_for(stall: Stall, floors: list[int], epsilon: float) -> None:
    room = {s.name: stall.room(s.name) for s in stall.sellers}
    seen = {s.name: stall.seen_micros.get(s.name, room[s.name]) for s in stall.sellers}
    sale = stall.sell(*floors, epsilon=epsilon)
    catalogue, bids = stall.catalogue, stall.bids
    placed = set(bids.advertiser[sale.winner].tolist())
    most_seen = 1.0 if stall.examination is None else max(stall.examination[: len(floors)])
    whole_bid = hold_micros(bids.bid_micros, catalogue.bid_kind, bids.quality * most_seen)
    ecpm = in_slots(stall, len(floors))
    # Where slots differ, some are drawn only if they pass all that come later: docs/auction.md.
    asked = ecpm >= np.array(floors)[:, None]
    everywhere = asked.all(axis=0) if sale.explored and stall.examination is not None else None
    most: dict[str, int] = {}
    for i, c in enumerate(catalogue.campaign):
        most[catalogue.campaign_ids[c]] = max(most.get(catalogue.campaign_ids[c], 0), int(whole_bid[i]))
    for k in set(range(len(floors))) - set(sale.slot.tolist()):
        for i in range(len(bids)):
            name = catalogue.campaign_ids[catalogue.campaign[i]]
            passes = (asked[k, i] if everywhere is None else everywhere[i]) and bids.ecpm_micros[i] > 0
            can_pay = min(room[name], seen[name]) >= most[name]
            assert int(bids.advertiser[i]) in placed or not passes or not can_pay


@settings(deadline=None)
@given(any_stalls(), any_floors, any_epsilon)
def test_prices_stay_between_their_share_and_the_bid_and_beat_the_able_below(
    stall: Stall, floors: list[int], epsilon: float
) -> None:
    sale = stall.sell(*floors, epsilon=epsilon)
    bids, price = stall.bids, sale.price_micros
    bid = bids.bid_micros[sale.winner]
    assert (price <= bid).all()
    assert (price >= (0.5 if sale.explored else 0.1) * bid - 1e-6).all()
    ecpm, by_view = in_slots(stall, len(floors)), bids.by_view[sale.winner]
    paid_ecpm = 1000 * bids.quality[sale.winner] * price * np.where(by_view, 1.0, sale.examination)
    assert (paid_ecpm >= np.array(floors)[sale.slot] - 1e-3).all()
    if not sale.explored:
        left = (sale.reason == Reason.OUTBID) | (sale.reason == Reason.WON)
        for w, winner in enumerate(sale.winner):
            placed = bids.advertiser[sale.winner[: w + 1]]
            rivals = left & ~np.isin(bids.advertiser, placed)
            next_ecpm = ecpm[sale.slot[w], rivals].max(initial=0.0)
            assert paid_ecpm[w] >= next_ecpm - 1e-3
            assert ecpm[sale.slot[w], winner] >= next_ecpm


@settings(deadline=None)
@given(any_stalls(), any_floors, st.data())
def test_the_order_of_bidders_does_not_matter_but_for_ties(stall: Stall, floors: list[int], data: st.DataObject) -> None:
    if any(len(set(in_slot.tolist())) < len(stall.bids) for in_slot in in_slots(stall, len(floors))):
        return
    other = Stall(stall.sellers, stall.seen_micros, stall.spent_micros, examination=stall.examination)
    order = np.array(data.draw(st.permutations(range(len(stall.bids)))), dtype=np.int64)
    other.live = Candidates(stall.live.offer[order], stall.live.source[order])
    other.bids = type(stall.bids)(*(getattr(stall.bids, f.name)[order] for f in fields(stall.bids) if f.default is MISSING))
    sale, again = stall.sell(*floors), other.sell(*floors)
    np.testing.assert_array_equal(order[again.winner], sale.winner)
    np.testing.assert_array_equal(again.slot, sale.slot)
    np.testing.assert_array_equal(again.price_micros, sale.price_micros)
    np.testing.assert_array_equal(again.reason, sale.reason[order])
    assert other.budgets.held == stall.budgets.held


@settings(deadline=None)
@given(any_stalls(), any_floors, any_epsilon)
def test_where_all_slots_are_looked_at_alike_the_same_is_sold_and_held(stall: Stall, floors: list[int], epsilon: float) -> None:
    # Far from the end of budgets: what a curve says may be charged at most takes no notice of who is whose rival.
    rich = [replace(s, budget_micros=s.budget_micros and 10**12) for s in stall.sellers]
    usual = replace(stall, sellers=rich, drain_micros=0, seen_micros={}, spent_micros={})
    stalls = [replace(usual, examination=seen) for seen in (None, (1.0,) * 4)]
    one, other = (s.sell(*floors, epsilon=epsilon) for s in stalls)
    for name in ("slot", "winner", "price_micros", "propensity", "examination"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-12)
    assert stalls[0].held_micros == stalls[1].held_micros


# Propensities


class Loaded:
    """In place of luck: the coin, then the lots of advertisers and of offers."""

    def __init__(self, coin: float, *lots: object) -> None:
        self.coin, self.rng = coin, self
        self._lots, self._left = lots, iter(lots)

    def random(self, shape: object) -> object:
        return next(self._left)

    def again(self) -> "Loaded":
        return Loaded(self.coin, *self._lots)


def every_luck(stall: Stall, n_slots: int, epsilon: float) -> Iterator[tuple[float, Loaded]]:
    """Every way the coin and the lots can fall, with its probability."""
    if epsilon < 1:
        yield 1 - epsilon, Loaded(1.0)
    code = np.unique(stall.bids.advertiser, return_inverse=True)[1]
    slots = []
    orders_within = [list(permutations(np.flatnonzero(code == a).tolist())) for a in range(code.max() + 1)]
    for advertisers in permutations(range(code.max() + 1)):
        for within in product(*orders_within):
            offer = np.zeros(len(code))
            for order in within:
                offer[list(order)] = np.arange(len(order))
            slots.append((advertisers, offer))
    for luck in product(slots, repeat=n_slots):
        lots = (np.array([a for a, _ in luck], float), np.array([o for _, o in luck]))
        yield epsilon / len(slots) ** n_slots, Loaded(0.0, *lots)


LEFT = (1, 5, 15, 35, 70, 120)
"""Room below, between and above what the bids of 20 to 100 need on pages of either kind."""


@st.composite
def tiny_stalls(draw: st.DrawFn) -> Stall:
    """Three advertisers, one of them with two campaigns or offers; readings as they are, or old and known to be unsure."""
    shapes = [("a", 1), ("b", 1), ("c", 1), draw(st.sampled_from([("a", 1), ("c", 1), ("d", 1)]))][: draw(st.integers(2, 4))]
    if any(advertiser == "d" for advertiser, _ in shapes):
        shapes = shapes[1:]
    sellers = [
        _per_thousand(
            Seller(
                f"c{i}",
                draw(st.sampled_from([20, 61, 100])),
                draw(st.lists(st.sampled_from([0.02, 0.03, 0.05]), min_size=n, max_size=n)),
                draw(st.sampled_from([None, None, *LEFT])),
                advertiser,
                draw(st.sampled_from(["cpc", "cpa", "cpm"])),
            )
        )
        for i, (advertiser, n) in enumerate(shapes)
    ]
    limits = {s.name: s.budget_micros for s in sellers if s.budget_micros is not None}
    seen = draw(any_examination)
    if draw(st.booleans()):
        return Stall(sellers, examination=seen)
    return Stall(sellers, {name: draw(st.sampled_from(LEFT)) for name in limits}, drain_micros=10**6, examination=seen)


@settings(max_examples=60, deadline=None)
@given(tiny_stalls(), st.lists(st.sampled_from([0, 0, 500, 1_000]), min_size=1, max_size=2), st.sampled_from([0.05, 0.5, 1.0]))
def test_the_logged_propensity_is_the_frequency_whatever_is_left_of_the_budgets(
    stall: Stall, floors: list[int], epsilon: float
) -> None:
    n = len(stall.bids)
    frequency, logged, weight = np.zeros((len(floors), n)), np.full((len(floors), n), np.nan), np.zeros((len(floors), n))
    for probability, luck in every_luck(stall, len(floors), epsilon):
        stall.budgets = type(stall.budgets)(stall.market)
        stall.rng = luck
        sale = stall.sell(*floors, epsilon=epsilon)
        at = (sale.slot, sale.winner)
        frequency[at] += probability
        weight[at] += probability / sale.propensity
        known = ~np.isnan(logged[at])
        np.testing.assert_allclose(sale.propensity[known], logged[at][known])  # a greedy and a drawn page say the same
        logged[at] = sale.propensity
    shown = ~np.isnan(logged)
    np.testing.assert_allclose(frequency[shown], logged[shown], atol=1e-9)
    # So that the inverse propensities of what was shown weigh every offer as if it were always there.
    np.testing.assert_allclose(weight[shown], 1.0)


@pytest.mark.parametrize("left", [0, 30, 60, 90, 10**9])
def test_over_many_pages_from_the_same_budgets_the_logged_propensity_is_the_frequency(left: int) -> None:
    rng, n_pages, floors, epsilon = np.random.default_rng(left), 800, (0, 900, 0), 0.4
    sellers = [
        Seller(f"c{i}", int(rng.integers(20, 100)), rng.uniform(0.02, 0.05, rng.integers(1, 4)).tolist(), 10**9, f"a{i // 2}")
        for i in range(12)
    ]
    stall = Stall(sellers, seed=left)
    shown, logged = np.zeros((3, len(stall.bids))), np.full((3, len(stall.bids)), np.nan)
    spent = {s.name: 10**9 - left for s in sellers[::2]}
    for _ in range(n_pages):
        stall.budgets = type(stall.budgets)(stall.market, dict(spent))
        sale = stall.sell(*floors, epsilon=epsilon)
        shown[sale.slot, sale.winner] += 1
        logged[sale.slot, sale.winner] = sale.propensity
    frequency, seen = shown / n_pages, ~np.isnan(logged)
    # Five standard errors of a frequency.
    error = np.sqrt(logged * (1 - logged) / n_pages)
    assert (np.abs(frequency - logged)[seen] <= 5 * error[seen] + 1e-12).all()
    # The propensities of a slot sum to 1 over all that came up, and what came up once in a thousand pages is all there is.
    np.testing.assert_allclose(np.where(seen, logged, 0).sum(axis=1), 1.0, atol=0.02)
