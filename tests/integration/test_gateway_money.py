"""Money scripts against a real Redis: spent + held never exceeds a budget, and every event counts once."""

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from domain.clock import budget_day
from domain.errors import Unavailable
from domain.events import EventStatus, EventType
from domain.keys import PARTITIONS, Keys, partition_of
from features.market import Market, load_market
from serving.budget_days import open_days
from serving.gateway.adapters.budgets import RedisBudgets
from serving.gateway.adapters.caps import RedisCaps
from serving.gateway.adapters.ledger import RedisLedger
from serving.gateway.adapters.redis_link import RedisLink
from serving.gateway.adapters.shoppers import RedisShoppers
from serving.gateway.event_window import valid_until_ms
from serving.gateway.events import page_event
from serving.gateway.ports import CapItem, Grant, HoldItem, PageEvent
from serving.gateway.tokens import Sold
from serving.pending_conversions import PendingConversions

MARKET = load_market(Path(__file__).resolve().parents[1] / "golden" / "market.toml")
KEYS = Keys(MARKET.name)
DAY_MS = MARKET.policy.day_length_s * 1000
DAY = 20_833
START_MS = DAY * DAY_MS
TIMEOUT_S = 5.0
BUDGETED = ("alpha-spring", "beta-reach")
UNSEEN_MS, SEEN_MS = 1000 * MARKET.policy.unseen_hold_ttl_s, 1000 * MARKET.policy.hold_ttl_s


def limit_of(campaign_id: str) -> int | None:
    return MARKET.campaign_by_id[campaign_id].daily_budget_micros


def sold(decision: str, campaign_id: str, micros: int, now_ms: int, pending_micros: int = 0, shopper: str = "s") -> Sold:
    campaign = MARKET.campaign_by_id[campaign_id]
    day = budget_day(now_ms, MARKET.policy.day_length_s)
    return Sold(
        decision_id=decision,
        impression_id=f"{decision}-0",
        offer_id="o",
        campaign_id=campaign_id,
        advertiser=campaign.advertiser,
        position=0,
        bid_kind=campaign.bid_kind,
        price_micros=micros,
        day=day,
        shopper_key=shopper,
        issued_ms=now_ms,
        test=False,
        pending_micros=pending_micros,
    )


def item(one: Sold, micros: int | None = None) -> HoldItem:
    expected = one.bid_kind == "cpa"
    held = (1 if expected else one.price_micros) if micros is None else micros
    return HoldItem(one.campaign_id, one.decision_id, one.day, held, one.price_micros if expected else 0)


class Money:
    """The adapters, called without await, at a time of the test's own."""

    def __init__(self, url: str, market: Market = MARKET) -> None:
        self.now_ms = START_MS
        self.market = market
        self.loop = asyncio.new_event_loop()
        self.link = RedisLink(url)
        self.budgets = RedisBudgets(self.link, KEYS, market, lambda: self.now_ms)
        self.caps = RedisCaps(self.link, KEYS, UNSEEN_MS, lambda: self.now_ms)
        self.ledger = RedisLedger(self.link, KEYS, market, RedisShoppers(self.link, KEYS), lambda: self.now_ms)
        self.raw = redis.Redis.from_url(url, decode_responses=True)

    def open(self, *days: int) -> None:
        open_days(self.raw, self.market, days or (DAY,))

    def ask(self, *items: HoldItem) -> list[Grant]:
        return self.loop.run_until_complete(self.budgets.hold(items, TIMEOUT_S))

    def hold(self, *offers: Sold) -> list[bool]:
        return [g.held for g in self.ask(*(item(o) for o in offers))]

    def keep(self, *items: HoldItem) -> None:
        async def kept() -> None:
            self.budgets.keep(items)
            assert self.budgets._lowering is not None
            await self.budgets._lowering

        self.loop.run_until_complete(kept())

    def accept(self, *events: PageEvent) -> list[tuple[EventStatus, int]]:
        settled = self.loop.run_until_complete(self.ledger.accept(events, self.now_ms, TIMEOUT_S))
        return [(s.status, s.charged_micros) for s in settled]

    def report(self, event: EventType, one: Sold, **more: object) -> tuple[EventStatus, int]:
        return self.accept(replace(page_event(event, one, self.now_ms), **more))[0]

    def see(self, one: Sold) -> None:
        assert self.report(EventType.IMPRESSION, one)[0] is EventStatus.LOGGED

    def budget(self, campaign_id: str, day: int = DAY) -> tuple[int, int]:
        spent, held = self.raw.hmget(KEYS.budget(campaign_id, day), "spent", "held")
        return int(spent or 0), int(held or 0)

    def holds(self, campaign_id: str, day: int = DAY) -> int:
        """Sum of the live holds' own fields."""
        fields = self.raw.hgetall(KEYS.budget(campaign_id, day))
        return sum(int(v) for f, v in fields.items() if f.startswith("h:"))

    def entries(self) -> list[dict[str, str]]:
        pipe = self.raw.pipeline(transaction=False)
        for p in range(PARTITIONS):
            pipe.xrange(KEYS.events(p))
        return [e for entries in pipe.execute() for _, e in entries]

    def held_names(self) -> set[str]:
        """Members of the sets of holds by time."""
        pipe = self.raw.pipeline(transaction=False)
        for p in range(PARTITIONS):
            pipe.zrange(KEYS.holds(p), 0, -1)
        return {member for members in pipe.execute() for member in members}

    def close(self) -> None:
        self.loop.run_until_complete(self.link.close())
        self.loop.close()
        self.raw.close()


@pytest.fixture
def money(redis_url):
    money = Money(redis_url)
    money.open(DAY - 1, DAY, DAY + 1)
    yield money
    money.close()


@dataclass
class Shown:
    """The model's own memory of one offer on a page."""

    sold: Sold
    held: int = 0
    expires_ms: int = 0
    seen: set[EventType] = field(default_factory=set)
    pending: bool = False


class BudgetMachine(RuleBasedStateMachine):
    """Any order of holds, events, repeats, expiries and new days, against a plain model of impressions and clicks."""

    url = ""
    shown = Bundle("shown")

    def __init__(self) -> None:
        super().__init__()
        self.money = Money(self.url)
        self.money.raw.flushall()
        self.decisions = 0
        self.pages: dict[str, Shown] = {}
        self.spent: dict[tuple[str, int], int] = {}
        self.days = {DAY}
        self.entries = 0
        self.money.open(DAY)

    def teardown(self) -> None:
        self.money.close()

    @property
    def now_ms(self) -> int:
        return self.money.now_ms

    def live(self, campaign_id: str, day: int) -> int:
        of = (p for p in self.pages.values() if (p.sold.campaign_id, p.sold.day) == (campaign_id, day))
        return sum(p.held for p in of if p.expires_ms > self.now_ms)

    def room(self, campaign_id: str, day: int) -> int:
        """What the model says is left; holds that have expired are given back where they are in the way."""
        return (limit_of(campaign_id) or 2**53) - self.spent.get((campaign_id, day), 0) - self.live(campaign_id, day)

    # Prices are tenths of the budget, so that budgets are often full to the micro.
    @rule(
        target=shown,
        page=st.lists(st.tuples(st.sampled_from(BUDGETED), st.integers(1, 7)), min_size=1, max_size=2, unique_by=lambda p: p[0]),
    )
    def hold(self, page):
        self.decisions += 1
        offers = [sold(f"d{self.decisions}", c, (limit_of(c) or 0) * tenths // 10, self.now_ms) for c, tenths in page]
        expected = [o.price_micros <= self.room(o.campaign_id, o.day) for o in offers]
        assert self.money.hold(*offers) == expected
        for o, held in zip(offers, expected, strict=True):
            if held:
                self.pages[f"{o.campaign_id}/{o.decision_id}"] = Shown(o, o.price_micros, self.now_ms + UNSEEN_MS)
        return multiple(*(o for o, held in zip(offers, expected, strict=True) if held))

    @rule(one=shown, tenths=st.integers(0, 10))
    def keep_less(self, one, tenths):
        page = self.pages[f"{one.campaign_id}/{one.decision_id}"]
        micros = page.held * tenths // 10
        self.money.keep(item(one, micros))
        if page.expires_ms <= self.now_ms:
            return  # it may be swept already, or not: either way it is no hold any more
        page.held = min(page.held, micros)

    @rule(one=shown, event=st.sampled_from([EventType.IMPRESSION, EventType.CLICK]))
    def report(self, one, event):
        if self.now_ms >= valid_until_ms(event, one, MARKET):
            return  # its token is refused
        page, key = self.pages[f"{one.campaign_id}/{one.decision_id}"], (one.campaign_id, one.day)
        before = self.money.budget(*key)[0]
        status, charged = self.money.report(event, one)
        if event in page.seen:
            assert (status, charged) == (EventStatus.DUPLICATE, 0)
            return
        page.seen.add(event)
        self.entries += 1
        if event is EventType.CLICK and EventType.IMPRESSION not in page.seen:
            assert (status, charged) == (EventStatus.PENDING, 0)
            page.pending = True
            return
        if event == one.billed_on:
            self.check_charge(page, status, charged)
        else:
            assert (status, charged) == (EventStatus.LOGGED, 0)
            if event is EventType.IMPRESSION and page.expires_ms > self.now_ms:
                page.expires_ms = max(page.expires_ms, self.now_ms + SEEN_MS)
        moved = charged
        if event is EventType.IMPRESSION and page.pending:
            page.pending = False
            self.entries += 1
            moved = self.money.budget(*key)[0] - before
            if one.billed_on == "click":
                (late,) = [
                    e
                    for e in self.money.entries()
                    if e["type"] == "charge" and e["impression_id"] == one.impression_id and e["campaign_id"] == one.campaign_id
                ]
                assert int(late["charged_micros"]) == moved
                self.check_charge(page, EventStatus(late["status"]), moved)
        self.spent[key] = self.spent.get(key, 0) + moved

    def check_charge(self, page: Shown, status: EventStatus, charged: int) -> None:
        one = page.sold
        live = page.expires_ms > self.now_ms
        if one.price_micros == 0 or (live and page.held >= one.price_micros):
            assert (status, charged) == (EventStatus.SETTLED, one.price_micros)
        elif charged:
            assert (status, charged) == (EventStatus.LATE_SETTLED, one.price_micros)
        else:
            # Expired holds that are not swept yet may still be in the way: free is right even where room seems left.
            assert status is EventStatus.LATE_FREE
            spent, held = self.money.budget(one.campaign_id, one.day)
            assert one.price_micros > (limit_of(one.campaign_id) or 0) - spent - held
        page.held = 0

    @rule(one=shown)
    def dismiss(self, one):
        if self.now_ms >= valid_until_ms(EventType.DISMISS, one, MARKET):
            return
        page = self.pages[f"{one.campaign_id}/{one.decision_id}"]
        status, charged = self.money.report(EventType.DISMISS, one)
        assert charged == 0
        if EventType.DISMISS in page.seen:
            assert status is EventStatus.DUPLICATE
            return
        page.seen.add(EventType.DISMISS)
        self.entries += 1
        if EventType.CLICK in page.seen:
            assert status is EventStatus.LOGGED
        elif page.held and page.expires_ms > self.now_ms:
            assert status is EventStatus.RELEASED
            page.held = 0
        elif status is EventStatus.RELEASED:
            page.held = 0  # expired, and not swept before

    @rule(one=consumes(shown))
    def forget(self, one):
        """The shopper closes the page without a word."""

    @rule(seconds=st.sampled_from([1, 19, 20, 40, 59, 60, 300, 3600]))
    def wait(self, seconds):
        self.money.now_ms += seconds * 1000
        self.new_days()

    @rule()
    def next_day(self):
        self.money.now_ms += DAY_MS
        self.new_days()

    def new_days(self) -> None:
        today = budget_day(self.now_ms, MARKET.policy.day_length_s)
        if today not in self.days:
            self.days.add(today)
            self.money.open(today)

    @invariant()
    def no_budget_is_ever_exceeded(self):
        for day in self.days:
            for campaign_id in BUDGETED:
                spent, held = self.money.budget(campaign_id, day)
                assert spent == self.spent.get((campaign_id, day), 0)
                assert held >= self.live(campaign_id, day)
                assert spent + held <= (limit_of(campaign_id) or 0)

    @invariant()
    def what_is_held_is_what_the_holds_say(self):
        for day in self.days:
            for campaign_id in BUDGETED:
                assert self.money.budget(campaign_id, day)[1] == self.money.holds(campaign_id, day)
        fields = {
            f"{c}|{d}|{f[2:]}"
            for c in BUDGETED
            for d in self.days
            for f in self.money.raw.hkeys(KEYS.budget(c, d))
            if f.startswith("h:")
        }
        assert self.money.held_names() == fields

    @invariant()
    def every_accepted_event_is_in_the_stream_once_with_its_charge(self):
        entries = self.money.entries()
        assert len(entries) == self.entries
        charged: dict[tuple[str, int], int] = {}
        for e in entries:
            key = (e["campaign_id"], int(e["day"]))
            charged[key] = charged.get(key, 0) + int(e["charged_micros"])
        assert {k: v for k, v in charged.items() if v} == {k: v for k, v in self.spent.items() if v}


def test_budgets_hold_under_any_sequence(redis_url):
    BudgetMachine.url = redis_url
    run_state_machine_as_test(
        BudgetMachine,
        settings=settings(max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)),
    )


def test_many_clients_at_once_sell_a_budget_to_the_micro(money, redis_url):
    """40 clients try to hold 10 times 130_000 of 10_000_000: exactly 76 fit."""

    async def race() -> int:
        links = [RedisLink(redis_url) for _ in range(8)]

        async def client(c: int) -> int:
            budgets = RedisBudgets(links[c % len(links)], KEYS, MARKET, lambda: START_MS)
            won = 0
            for i in range(10):
                grants = await budgets.hold([item(sold(f"c{c}-{i}", "alpha-spring", 130_000, START_MS))], TIMEOUT_S)
                won += grants[0].held
            return won

        won = sum(await asyncio.gather(*(client(c) for c in range(40))))
        for link in links:
            await link.close()
        return won

    assert money.loop.run_until_complete(race()) == 76
    assert money.budget("alpha-spring") == (0, 76 * 130_000)


def test_an_answer_says_what_is_left(money):
    page = [sold("d", "alpha-spring", 6_000_000, START_MS), sold("d", "beta-reach", 1, START_MS)]
    assert money.ask(*(item(o) for o in page)) == [Grant(True, 4_000_000), Grant(True, (limit_of("beta-reach") or 0) - 1)]
    too_much, probe = sold("e", "alpha-spring", 4_000_001, START_MS), sold("f", "alpha-spring", 0, START_MS)
    assert money.ask(item(too_much), item(probe)) == [Grant(False, 4_000_000), Grant(True, 4_000_000)]
    assert money.budget("alpha-spring") == (0, 6_000_000)


def test_a_hold_may_be_asked_for_again_and_topped_up_and_never_doubles(money):
    one = sold("same", "alpha-spring", 6_000_000, START_MS)
    assert money.hold(one) == money.hold(one) == [True]
    assert money.budget("alpha-spring") == (0, 6_000_000)
    assert money.ask(item(one, 7_000_000)) == [Grant(True, 3_000_000)]
    money.keep(item(one, 5_000_000))
    money.keep(item(one, 6_500_000))  # late: a hold is never raised
    assert money.budget("alpha-spring") == (0, 5_000_000)
    money.keep(item(one, 0))
    assert (money.budget("alpha-spring"), money.holds("alpha-spring")) == ((0, 0), 0)


def test_a_budget_nobody_opened_sells_nothing_and_its_events_wait(redis_url):
    money = Money(redis_url)
    one = sold("d", "alpha-spring", 6_000_000, START_MS)
    assert money.ask(item(one)) == [Grant(False, None)]
    with pytest.raises(Unavailable, match="alpha-spring for day 20833 is not open"):
        money.report(EventType.IMPRESSION, one)
    assert money.raw.keys() == []
    money.close()


@pytest.mark.parametrize("off_ms", [-1, DAY_MS])
def test_a_budget_is_held_on_its_own_day_only_whatever_a_gateway_takes_the_day_to_be(money, off_ms):
    one = sold("d", "alpha-spring", 1, START_MS)
    money.now_ms = START_MS + off_ms
    assert money.ask(item(one)) == [Grant(False, None)]


def test_the_limit_is_what_redis_says_and_a_lower_one_holds_at_once(money):
    assert money.hold(sold("a", "alpha-spring", 6_000_000, START_MS)) == [True]
    lowered = MARKET.campaign_by_id["alpha-spring"].model_copy(update={"daily_budget_micros": 7_000_000})
    open_days(money.raw, MARKET, [DAY], [lowered])
    # The gateway's own market file still says 10_000_000.
    assert money.ask(item(sold("b", "alpha-spring", 2_000_000, START_MS))) == [Grant(False, 1_000_000)]


def test_an_expired_hold_makes_room_and_its_late_click_is_free_where_none_is_left(money):
    late = sold("late", "alpha-spring", 6_000_000, START_MS)
    assert money.hold(late) == [True]
    money.see(late)
    money.now_ms += SEEN_MS
    assert money.hold(sold("next", "alpha-spring", 5_000_000, money.now_ms)) == [True]
    assert money.report(EventType.CLICK, late) == (EventStatus.LATE_FREE, 0)
    assert money.budget("alpha-spring") == (0, 5_000_000)


def test_a_late_click_is_charged_where_there_is_room(money):
    late = sold("late", "alpha-spring", 6_000_000, START_MS)
    money.hold(late)
    money.see(late)
    money.now_ms += SEEN_MS
    assert money.report(EventType.CLICK, late) == (EventStatus.LATE_SETTLED, 6_000_000)
    assert money.budget("alpha-spring") == (6_000_000, 0)


def test_a_late_click_at_no_price_is_settled(money):
    free = sold("free", "alpha-spring", 0, START_MS)
    money.see(free)
    money.now_ms += SEEN_MS
    assert money.report(EventType.CLICK, free) == (EventStatus.SETTLED, 0)


def test_a_page_that_reports_nothing_keeps_its_money_for_a_short_while_only(money):
    seen, unseen = sold("seen", "alpha-spring", 5_000_000, START_MS), sold("unseen", "alpha-spring", 5_000_000, START_MS)
    assert money.hold(seen, unseen) == [True, True]
    money.see(seen)
    money.now_ms += UNSEEN_MS
    assert money.hold(sold("next", "alpha-spring", 5_000_001, money.now_ms)) == [False]
    assert money.hold(sold("next", "alpha-spring", 5_000_000, money.now_ms)) == [True]


def test_a_click_without_its_impression_waits_for_it(money):
    one = sold("d", "alpha-spring", 750_000, START_MS)
    money.hold(one)
    assert money.report(EventType.CLICK, one) == (EventStatus.PENDING, 0)
    assert money.report(EventType.CLICK, one) == (EventStatus.DUPLICATE, 0)
    assert money.budget("alpha-spring") == (0, 750_000)
    money.see(one)
    assert money.budget("alpha-spring") == (750_000, 0)
    assert [(e["type"], e["status"], e["charged_micros"], e["reason"]) for e in money.entries()] == [
        ("click", "pending", "0", "impression"),
        ("impression", "logged", "0", ""),
        ("charge", "settled", "750000", "click"),
    ]


def test_a_click_that_a_server_vouches_for_needs_no_impression(money):
    one = sold("d", "alpha-spring", 750_000, START_MS)
    assert money.report(EventType.CLICK, one, attested=True) == (EventStatus.LATE_SETTLED, 750_000)


def test_a_market_whose_pages_report_no_impressions_says_so(redis_url):
    unreported = MARKET.model_copy(update={"policy": MARKET.policy.model_copy(update={"impressions": "unreported"})})
    money = Money(redis_url, unreported)
    money.open()
    assert money.report(EventType.CLICK, sold("d", "alpha-spring", 750_000, START_MS)) == (EventStatus.LATE_SETTLED, 750_000)
    money.close()


def test_a_charge_belongs_to_the_day_of_the_decision(money):
    money.now_ms = START_MS + DAY_MS - 1000
    shoes = sold("shoes", "alpha-spring", 750_000, money.now_ms)
    money.hold(shoes)
    money.now_ms += 5000
    money.see(shoes)
    assert money.report(EventType.CLICK, shoes) == (EventStatus.SETTLED, 750_000)
    assert (money.budget("alpha-spring", DAY), money.budget("alpha-spring", DAY + 1)) == ((750_000, 0), (0, 0))


def test_dismissing_gives_back_what_was_not_clicked(money):
    clicked, ignored = sold("clicked", "alpha-spring", 750_000, START_MS), sold("ignored", "alpha-spring", 500_000, START_MS)
    money.hold(clicked, ignored)
    money.report(EventType.CLICK, clicked)
    assert money.report(EventType.DISMISS, clicked) == (EventStatus.LOGGED, 0)
    assert money.report(EventType.DISMISS, ignored) == (EventStatus.RELEASED, 0)
    assert money.budget("alpha-spring") == (0, 750_000)


def test_spend_without_a_budget_is_counted(money):
    assert money.report(EventType.IMPRESSION, sold("h", "house", 6_000, START_MS)) == (EventStatus.SETTLED, 6_000)
    assert money.budget("house") == (6_000, 0)


def test_invalid_traffic_is_marked_and_does_not_stand_in_the_way_of_a_shopper(money):
    one = sold("d", "alpha-spring", 750_000, START_MS)
    money.hold(one)
    money.see(one)
    assert money.report(EventType.CLICK, one, invalid="prefetch") == (EventStatus.INVALID, 0)
    assert money.report(EventType.CLICK, one, invalid="prefetch") == (EventStatus.DUPLICATE, 0)
    assert money.report(EventType.CLICK, one) == (EventStatus.SETTLED, 750_000)
    assert [(e["status"], e["reason"]) for e in money.entries()] == [("logged", ""), ("invalid", "prefetch"), ("settled", "")]
    counters = money.loop.run_until_complete(RedisShoppers(money.link, KEYS).counters("s", TIMEOUT_S))
    assert (counters["impression"], counters["click"]) == (1, 1)


# Conversions.


@pytest.fixture
def trip(money):
    """Sold at 10.00 a sale, clicked a second after the page; a click is expected to bring 1.00."""
    one = sold("trip", "gamma-sales", 10_000_000, START_MS, pending_micros=1_000_000)
    money.hold(one)
    money.see(one)
    money.now_ms += 1000
    assert money.report(EventType.CLICK, one) == (EventStatus.LOGGED, 0)
    return one


def test_a_click_sets_aside_what_its_conversions_are_expected_to_charge(money, trip):
    assert money.budget("gamma-sales") == (0, 0)
    assert money.raw.hget(KEYS.budget("gamma-sales", DAY), "pending") == "1000000.000"
    # 60 - 1 + the square root of 1 x 10: as much beyond the expectation as one standard deviation.
    (grant,) = money.ask(item(sold("next", "gamma-sales", 10_000_000, money.now_ms), 0))
    assert grant.room_micros == 59_000_000 + int((1_000_000 * 10_000_000) ** 0.5)
    # What has not come by now will hardly come: after ten mean delays next to nothing is set aside.
    money.raw.hset(KEYS.budget("gamma-sales", DAY), "decay_ms", 1000)
    money.now_ms += 20_000
    (grant,) = money.ask(item(sold("next", "gamma-sales", 10_000_000, money.now_ms), 0))
    assert 59_900_000 < grant.room_micros < 60_100_000


def test_a_conversion_is_charged_once_however_late_after_its_hold(money, trip):
    money.now_ms += 86_000_000
    assert money.report(EventType.CONVERSION, trip) == (EventStatus.SETTLED, 10_000_000)
    assert money.report(EventType.CONVERSION, trip) == (EventStatus.DUPLICATE, 0)
    assert money.budget("gamma-sales") == (10_000_000, 0)


def test_a_conversion_needs_a_click_and_waits_for_it(money):
    one = sold("d", "gamma-sales", 10_000_000, START_MS, pending_micros=1_000_000)
    money.hold(one)
    assert money.report(EventType.CONVERSION, one) == (EventStatus.PENDING, 0)
    assert money.report(EventType.CLICK, one) == (EventStatus.PENDING, 0)  # its impression is missing, too
    money.see(one)
    assert money.budget("gamma-sales") == (10_000_000, 0)
    assert [(e["type"], e["status"], e["reason"]) for e in money.entries()][-2:] == [
        ("charge", "logged", "click"),
        ("charge", "settled", "conversion"),
    ]


def test_the_conversion_window_runs_from_the_click(money, trip):
    window_ms = MARKET.training.conversion_window_s * 1000
    late = replace(page_event(EventType.CONVERSION, trip, START_MS + 1000 + window_ms + 1), order_id="late")
    in_time = replace(late, order_id="in-time", time_ms=START_MS + 1000 + window_ms)
    money.now_ms += window_ms + 2
    money.open(DAY + 7)
    assert money.accept(late, in_time) == [(EventStatus.EXPIRED, 0), (EventStatus.SETTLED, 10_000_000)]


def test_each_order_of_a_click_counts_once(money, trip):
    for order, status in (("a", "settled"), ("a", "duplicate"), ("b", "settled")):
        assert money.report(EventType.CONVERSION, trip, order_id=order)[0] == status
    assert money.budget("gamma-sales") == (20_000_000, 0)


def test_an_order_counts_once_over_all_offers_of_its_shopper(money, trip):
    """The page sends every token it has; only one was clicked."""
    other = sold("other", "gamma-sales", 9_000_000, START_MS, pending_micros=1)
    stranger = sold("stranger", "gamma-sales", 8_000_000, START_MS, pending_micros=1, shopper="t")
    for one in (other, stranger):
        money.see(one)
    events = [replace(page_event(EventType.CONVERSION, one, money.now_ms), order_id="4711") for one in (other, trip)]
    assert money.accept(*events) == [(EventStatus.PENDING, 0), (EventStatus.SETTLED, 10_000_000)]
    money.report(EventType.CLICK, other)
    money.report(EventType.CLICK, stranger)
    assert money.report(EventType.CONVERSION, other, order_id="4711") == (EventStatus.DUPLICATE, 0)
    assert money.report(EventType.CONVERSION, stranger, order_id="4711") == (EventStatus.SETTLED, 8_000_000)
    assert money.budget("gamma-sales") == (18_000_000, 0)


def test_a_returned_order_gives_its_charge_back_once(money, trip):
    money.report(EventType.CONVERSION, trip, order_id="a")
    money.report(EventType.CONVERSION, trip, order_id="b")
    assert money.report(EventType.RETURN, trip, order_id="a") == (EventStatus.RETURNED, -10_000_000)
    assert money.report(EventType.RETURN, trip, order_id="a") == (EventStatus.DUPLICATE, 0)
    assert money.report(EventType.RETURN, trip, order_id="never sold") == (EventStatus.LOGGED, 0)
    assert money.budget("gamma-sales") == (10_000_000, 0)


def test_a_correction_of_the_value_moves_no_money_and_is_a_duplicate_of_the_last_one_only(money, trip):
    money.report(EventType.CONVERSION, trip, order_id="a", value_micros=50_000_000)
    before = money.budget("gamma-sales"), len(money.entries())
    words = [("first", 40_000_000), ("first", 40_000_000), ("second", 30_000_000), ("first", 40_000_000)]
    said = [money.report(EventType.CORRECTION, trip, order_id="a", event_id=i, value_micros=v)[0] for i, v in words]
    assert said == [EventStatus.LOGGED, EventStatus.DUPLICATE, EventStatus.LOGGED, EventStatus.LOGGED]
    logged = money.entries()[before[1] :]
    assert [(e["type"], e["order_id"], e["value_micros"], e["charged_micros"], e["price_micros"]) for e in logged] == [
        ("correction", "a", value, "0", "0") for value in ("40000000", "30000000", "40000000")
    ]
    assert money.budget("gamma-sales") == before[0]
    # The charge is that of the conversion: it can still be given back, and the order is not another one.
    assert money.report(EventType.CONVERSION, trip, order_id="a", value_micros=1) == (EventStatus.DUPLICATE, 0)
    assert money.report(EventType.RETURN, trip, order_id="a") == (EventStatus.RETURNED, -10_000_000)


def test_conversions_beyond_their_day_are_charged_to_later_ones_and_never_beyond_any(money, trip):
    """Budgets of 60 and sales at 10: eight orders of one day, then midnight, then seven more."""
    pacer = PendingConversions(money.raw, MARKET)
    statuses = [money.report(EventType.CONVERSION, trip, order_id=f"a{i}")[0] for i in range(8)]
    assert statuses == ["settled"] * 6 + ["pending"] * 2
    money.now_ms += DAY_MS
    pacer.refresh(np.full(len(MARKET.campaigns), DAY + 1), money.now_ms)
    assert (money.budget("gamma-sales", DAY), money.budget("gamma-sales", DAY + 1)) == ((60_000_000, 0), (20_000_000, 0))
    statuses = [money.report(EventType.CONVERSION, trip, order_id=f"b{i}")[0] for i in range(7)]
    assert statuses == ["settled"] * 4 + ["pending"] * 3
    money.report(EventType.RETURN, trip, order_id="b6")  # one that still waits is not charged at all
    money.open(DAY + 2)
    money.now_ms += DAY_MS
    pacer.refresh(np.full(len(MARKET.campaigns), DAY + 2), money.now_ms)
    assert [money.budget("gamma-sales", DAY + d)[0] for d in range(3)] == [60_000_000, 60_000_000, 20_000_000]
    assert money.report(EventType.RETURN, trip, order_id="a7") == (EventStatus.RETURNED, -10_000_000)
    assert money.budget("gamma-sales", DAY + 1)[0] == 50_000_000
    charged = sum(int(e["charged_micros"]) for e in money.entries())
    assert charged == 130_000_000


def test_the_pacer_learns_how_long_conversions_take_and_what_earlier_days_owe(money, trip):
    money.now_ms += 99_000
    for i in range(6):
        money.report(EventType.CONVERSION, trip, order_id=f"a{i}")
    money.now_ms = START_MS + DAY_MS
    PendingConversions(money.raw, MARKET).refresh(np.full(len(MARKET.campaigns), DAY + 1), money.now_ms)
    today = money.raw.hgetall(KEYS.budget("gamma-sales", DAY + 1))
    # Six of 100 s, and the 60_480 s of the market file as if seen 20 times.
    assert int(today["decay_ms"]) == round((6 * 99_000 + 20 * 60_480_000) / 26)
    # The day's budget is spent, so all that is still expected of it is owed: 1.00 x exp(-86_399 / 60_480).
    assert int(today["owed"]) == int(today["before"]) == pytest.approx(239_700, rel=0.01)


def test_amounts_are_exact_up_to_the_limit_of_doubles(money):
    big = 2**53 - 1
    open_days(money.raw, MARKET, [DAY], [MARKET.campaigns[0].model_copy(update={"daily_budget_micros": big})])
    assert money.ask(HoldItem("alpha-spring", "a", DAY, big - 1)) == [Grant(True, 1)]
    assert money.ask(HoldItem("alpha-spring", "b", DAY, 2)) == [Grant(False, 1)]
    assert money.ask(HoldItem("alpha-spring", "c", DAY, 1)) == [Grant(True, 0)]
    assert money.budget("alpha-spring") == (0, big)


def test_scripts_redis_has_forgotten_are_loaded_again(money):
    one = sold("same", "beta-reach", 10_000, START_MS)
    money.hold(one)
    money.raw.script_flush()
    assert money.report(EventType.IMPRESSION, one) == (EventStatus.SETTLED, 10_000)


def test_keys_of_a_campaign_share_a_slot_and_campaigns_spread(money):
    one = sold("d", "alpha-spring", 1, START_MS)
    money.hold(one)
    money.see(one)
    tag = f"{{{MARKET.name}:{partition_of('alpha-spring')}}}"
    names = set(money.raw.scan_iter())
    assert {KEYS.budget("alpha-spring", DAY), KEYS.impression("alpha-spring", "d-0")} <= {n for n in names if tag in n}
    assert {n for n in names if n.endswith((":holds", ":events"))} <= {n for n in names if tag in n}
    assert len({partition_of(f"campaign-{i}") for i in range(200)}) == PARTITIONS


# Shoppers.


def test_the_shopper_remembers_what_was_accepted_once_and_only_the_latest_caps(money):
    shoppers = RedisShoppers(money.link, KEYS)
    money.open(DAY - 2, DAY - 1)
    before, yesterday, today = (sold(f"d{d}", "delta-play", 1, START_MS - d * DAY_MS) for d in (2, 1, 0))
    for one in (before, yesterday, today, today):
        money.report(EventType.IMPRESSION, one)
    money.report(EventType.CLICK, today)
    counters = money.loop.run_until_complete(shoppers.counters("s", TIMEOUT_S))
    assert counters == {"impression": 3, "click": 1, "cap:delta-play:20832": 1, "cap:delta-play:20833": 1}


def test_a_cap_holds_over_pages_that_are_open_at_the_same_time(money):
    async def tabs() -> list[bool]:
        asks = (money.caps.reserve("s", f"d{i}", [CapItem("delta-play", DAY, 2)], TIMEOUT_S) for i in range(20))
        return [allowed for (allowed,) in await asyncio.gather(*asks)]

    async def give_back(decision: str) -> None:
        money.caps.give_back("s", decision, ["delta-play"])
        await asyncio.gather(*money.caps._giving)

    def another(decision: str) -> bool:
        (allowed,) = money.loop.run_until_complete(money.caps.reserve("s", decision, [CapItem("delta-play", DAY, 2)], TIMEOUT_S))
        return allowed

    assert sum(money.loop.run_until_complete(tabs())) == 2
    first, second = (m.partition("|")[2] for m in money.raw.zrange(KEYS.shown("s"), 0, -1))
    money.loop.run_until_complete(give_back(first))
    assert (another(second), another("x"), another("y")) == (True, True, False)
    money.report(EventType.IMPRESSION, sold("x", "delta-play", 1, START_MS))  # counted from now on by what was seen
    assert money.raw.zrange(KEYS.shown("s"), 0, -1) == [f"delta-play|{second}"]
    assert not another("y")
    money.now_ms += UNSEEN_MS
    assert another("y")  # the other page never said anything


def test_everything_but_the_log_expires(money):
    one = sold("i", "alpha-spring", 6_000_000, START_MS)
    money.hold(one)
    money.see(one)
    money.report(EventType.CLICK, one)
    # Clicks may be reported again for the click window and the conversion window: an hour and 7 days.
    assert money.raw.pttl(KEYS.impression("alpha-spring", "i-0")) > 7 * 86_400_000
    assert money.raw.pttl(KEYS.budget("alpha-spring", DAY)) > 8 * 86_400_000
    assert money.raw.pttl(KEYS.shopper("s")) > 0
    money.see(sold("j", "alpha-spring", 1, START_MS))
    assert 0 < money.raw.pttl(KEYS.impression("alpha-spring", "j-0")) <= 3_600_000


def test_pages_give_back_together_what_they_did_not_sell(money):
    one, other = sold("a", "alpha-spring", 2_000_000, START_MS), sold("b", "alpha-spring", 3_000_000, START_MS)
    assert money.hold(one, other) == [True, True]
    money.keep(item(one, 2_000_000))  # Redis knows the script from now on
    money.raw.config_resetstat()

    async def kept() -> None:
        money.budgets.keep([item(one, 1_000_000)])
        money.budgets.keep([item(other, 0)])
        await money.budgets._lowering

    money.loop.run_until_complete(kept())
    assert money.raw.info("commandstats")["cmdstat_evalsha"]["calls"] == 1
    assert money.budget("alpha-spring") == (0, 1_000_000)
