"""Money scripts against a real Redis: spent + held never exceeds a budget, and every event counts once."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

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
    precondition,
    rule,
    run_state_machine_as_test,
)

from domain.clock import budget_day
from domain.events import EventStatus, EventType
from domain.keys import Keys
from features.market import load_market
from serving.gateway.adapters.budgets import RedisBudgets, RedisCampaigns
from serving.gateway.adapters.ledger import RedisLedger
from serving.gateway.adapters.redis_link import RedisLink
from serving.gateway.adapters.shoppers import RedisShoppers
from serving.gateway.event_window import valid_until_ms
from serving.gateway.events import page_event
from serving.gateway.ports import HoldItem, PageEvent
from serving.gateway.tokens import Sold

MARKET = load_market(Path(__file__).resolve().parents[1] / "golden" / "market.toml")
KEYS = Keys(MARKET.name)
DAY_MS = MARKET.policy.day_length_s * 1000
START_MS = 20_833 * DAY_MS
TIMEOUT_S = 5.0
BUDGETED = ("alpha-spring", "gamma-sales", "beta-reach")


def limit_of(campaign_id: str) -> int | None:
    return MARKET.campaign_by_id[campaign_id].daily_budget_micros


def sold(impression: str, campaign_id: str, micros: int, now_ms: int) -> Sold:
    campaign = MARKET.campaign_by_id[campaign_id]
    day = budget_day(now_ms, MARKET.policy.day_length_s)
    return Sold("d", impression, "o", campaign_id, campaign.advertiser, 0, campaign.bid_kind, micros, day, "s", now_ms, False)


def item(one: Sold) -> HoldItem:
    limit = limit_of(one.campaign_id)
    assert limit is not None
    return HoldItem(one.campaign_id, one.day, one.impression_id, one.price_micros, limit)


class Money:
    """The adapters, called without await."""

    def __init__(self, url: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.link = RedisLink(url)
        self.budgets = RedisBudgets(self.link, KEYS, MARKET)
        self.ledger = RedisLedger(self.link, KEYS, MARKET, RedisShoppers(self.link, KEYS))
        self.campaigns = RedisCampaigns(self.link, KEYS, MARKET)
        self.raw = redis.Redis.from_url(url, decode_responses=True)

    def hold(self, offers: list[Sold], now_ms: int, mode: str = "all") -> list[bool]:
        return self.loop.run_until_complete(self.budgets.hold([item(o) for o in offers], now_ms, mode, TIMEOUT_S))

    def accept(self, event: PageEvent, now_ms: int) -> tuple[EventStatus, int]:
        (settlement,) = self.loop.run_until_complete(self.ledger.accept([event], now_ms, TIMEOUT_S))
        return settlement.status, settlement.charged_micros

    def report(self, event: EventType, one: Sold, now_ms: int) -> tuple[EventStatus, int]:
        return self.accept(page_event(event, one, now_ms), now_ms)

    def budget(self, campaign_id: str, day: int) -> tuple[int, int]:
        stored = self.raw.hgetall(KEYS.budget(campaign_id, day))
        return int(stored.get("spent", 0)), int(stored.get("held", 0))

    def close(self) -> None:
        self.loop.run_until_complete(self.link.close())
        self.loop.close()
        self.raw.close()


@pytest.fixture
def money(redis_url):
    money = Money(redis_url)
    yield money
    money.close()


@dataclass
class Hold:
    """The model's own memory of one hold."""

    sold: Sold
    expires_ms: int


class BudgetMachine(RuleBasedStateMachine):
    """Any order of holds, events, repeats, expiries and new days, against a plain model of the rules."""

    url = ""
    shown = Bundle("shown")

    def __init__(self) -> None:
        super().__init__()
        self.money = Money(self.url)
        self.money.raw.flushall()
        self.now_ms = START_MS
        self.impressions = 0
        self.holds: dict[str, Hold] = {}
        self.spent: dict[tuple[str, int], int] = {}
        self.seen: dict[str, set[EventType]] = {}
        self.days: set[int] = set()
        self.entries = 0

    def teardown(self) -> None:
        self.money.close()

    def room(self, campaign_id: str, day: int) -> int:
        """What the model says is left; expired holds count until they are swept, so at least this much is."""
        limit = limit_of(campaign_id)
        assert limit is not None
        held = sum(h.sold.price_micros for h in self.holds.values() if (h.sold.campaign_id, h.sold.day) == (campaign_id, day))
        return limit - self.spent.get((campaign_id, day), 0) - held

    def expire(self) -> None:
        self.holds = {i: h for i, h in self.holds.items() if h.expires_ms > self.now_ms}

    # Prices are tenths of the budget, so that budgets are often full to the micro.
    @rule(
        target=shown,
        page=st.lists(st.tuples(st.sampled_from(BUDGETED), st.integers(1, 7)), min_size=1, max_size=3),
        mode=st.sampled_from(["all", "any"]),
    )
    def hold(self, page, mode):
        offers = []
        for campaign_id, tenths in page:
            self.impressions += 1
            micros = (limit_of(campaign_id) or 0) * tenths // 10
            offers.append(sold(f"i{self.impressions}", campaign_id, micros, self.now_ms))
        self.expire()
        taken: dict[str, int] = {}
        expected = []
        for o in offers:
            fits = o.price_micros <= self.room(o.campaign_id, o.day) - taken.get(o.campaign_id, 0)
            expected.append(fits)
            if fits:
                taken[o.campaign_id] = taken.get(o.campaign_id, 0) + o.price_micros
        assert self.money.hold(offers, self.now_ms, mode) == expected
        held = all(expected) or mode == "any"
        for o, fits in zip(offers, expected, strict=True):
            if fits and held:
                self.holds[o.impression_id] = Hold(o, self.now_ms + MARKET.policy.hold_ttl_s * 1000)
        self.days.add(offers[0].day)
        return multiple(*offers)

    @rule(target=shown, micros=st.integers(1, 10**7))
    def show_without_budget(self, micros):
        self.impressions += 1
        return sold(f"i{self.impressions}", "house", micros, self.now_ms)

    @rule(one=shown, event=st.sampled_from([EventType.CLICK, EventType.CONVERSION, EventType.IMPRESSION]))
    def report(self, one, event):
        self.check_report(one, event)

    def check_report(self, one: Sold, event: EventType) -> None:
        if self.now_ms >= valid_until_ms(event, one, MARKET):
            return  # its token is refused
        status, charged = self.money.report(event, one, self.now_ms)
        self.expire_one(one)
        seen = self.seen.setdefault(one.impression_id, set())
        if event in seen:
            assert (status, charged) == (EventStatus.DUPLICATE, 0)
            return
        seen.add(event)
        self.entries += 1
        key = (one.campaign_id, one.day)
        self.days.add(one.day)
        hold = self.holds.get(one.impression_id)
        if event != one.billed_on:
            assert (status, charged) == (EventStatus.LOGGED, 0)
            if hold and event is EventType.CLICK and one.bid_kind == "cpa":
                hold.expires_ms = max(hold.expires_ms, self.now_ms + MARKET.policy.clicked_hold_ttl_s * 1000)
            return
        if hold or limit_of(one.campaign_id) is None:
            assert (status, charged) == (EventStatus.SETTLED, one.price_micros)
            self.holds.pop(one.impression_id, None)
        elif charged:
            assert (status, charged) == (EventStatus.LATE_SETTLED, one.price_micros)
        else:
            # Expired holds that are not swept yet may still be in the way: free is right even where room seems left.
            assert status is EventStatus.LATE_FREE
            assert one.price_micros > self.room(*key) - self.unswept(one.campaign_id, one.day)
        self.spent[key] = self.spent.get(key, 0) + charged

    def unswept(self, campaign_id: str, day: int) -> int:
        """Held in Redis beyond what the model holds."""
        mine = sum(h.sold.price_micros for h in self.holds.values() if (h.sold.campaign_id, h.sold.day) == (campaign_id, day))
        return self.money.budget(campaign_id, day)[1] - mine

    def expire_one(self, one: Sold) -> None:
        hold = self.holds.get(one.impression_id)
        if hold and hold.expires_ms <= self.now_ms:
            del self.holds[one.impression_id]

    @rule(one=shown)
    def dismiss(self, one):
        self.check_dismissal(one)

    def check_dismissal(self, one: Sold) -> None:
        if self.now_ms >= valid_until_ms(EventType.DISMISS, one, MARKET):
            return
        status, charged = self.money.report(EventType.DISMISS, one, self.now_ms)
        assert charged == 0
        seen = self.seen.setdefault(one.impression_id, set())
        if EventType.DISMISS in seen:
            assert status is EventStatus.DUPLICATE
            return
        seen.add(EventType.DISMISS)
        self.entries += 1
        if EventType.CLICK in seen:
            assert status is EventStatus.LOGGED
        elif self.holds.pop(one.impression_id, None) and status is not EventStatus.RELEASED:
            raise AssertionError("a live hold was not released")

    @precondition(lambda self: self.holds)
    @rule(
        which=st.integers(0, 50),
        steps=st.lists(st.tuples(st.sampled_from(list(EventType)), st.sampled_from([0, 59, 60, 300])), min_size=2, max_size=4),
    )
    def journey(self, which, steps):
        """Several events of one impression that is held: what single rules would seldom do to the same one."""
        one = list(self.holds.values())[which % len(self.holds)].sold
        for event, seconds in steps:
            self.now_ms += seconds * 1000
            if event is EventType.DISMISS:
                self.check_dismissal(one)
            else:
                self.check_report(one, event)

    @rule(one=consumes(shown))
    def forget(self, one):
        """The shopper closes the page without a word."""

    # Just before and at the ends of holds: 60 s, and 600 s after a click.
    @rule(seconds=st.sampled_from([1, 30, 59, 60, 300, 600]))
    def wait(self, seconds):
        self.now_ms += seconds * 1000

    @rule()
    def next_day(self):
        self.now_ms += DAY_MS

    @invariant()
    def no_budget_is_ever_exceeded(self):
        for day in self.days:
            for campaign in MARKET.campaigns:
                spent, held = self.money.budget(campaign.id, day)
                assert spent == self.spent.get((campaign.id, day), 0)
                assert held >= 0
                if campaign.daily_budget_micros is not None:
                    assert spent + held <= campaign.daily_budget_micros

    @invariant()
    def what_is_held_is_what_the_holds_say(self):
        held: dict[tuple[str, int], int] = {}
        for member in self.money.raw.zrange(KEYS.holds, 0, -1):
            campaign_id, day, micros, _ = member.split("|")
            held[campaign_id, int(day)] = held.get((campaign_id, int(day)), 0) + int(micros)
        for day in self.days:
            for campaign in MARKET.campaigns:
                assert self.money.budget(campaign.id, day)[1] == held.get((campaign.id, day), 0)

    @invariant()
    def every_accepted_event_is_in_the_stream_once_with_its_charge(self):
        entries = self.money.raw.xrange(KEYS.events)
        assert len(entries) == self.entries
        charged: dict[tuple[str, int], int] = {}
        for _, e in entries:
            key = (e["campaign_id"], int(e["day"]))
            charged[key] = charged.get(key, 0) + int(e["charged_micros"])
        assert {k: v for k, v in charged.items() if v} == {k: v for k, v in self.spent.items() if v}


def test_budgets_hold_under_any_sequence(redis_url):
    BudgetMachine.url = redis_url
    run_state_machine_as_test(
        BudgetMachine,
        settings=settings(max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)),
    )


def test_many_clients_at_once_sell_a_budget_to_the_micro(money, redis_url):
    """40 clients try to hold 100 times 130_000 of 10_000_000: exactly 76 fit."""

    async def race() -> int:
        links = [RedisLink(redis_url) for _ in range(8)]

        async def client(c: int) -> int:
            budgets = RedisBudgets(links[c % len(links)], KEYS, MARKET)
            won = 0
            for i in range(10):
                one = sold(f"c{c}-{i}", "alpha-spring", 130_000, START_MS)
                won += (await budgets.hold([item(one)], START_MS, "all", TIMEOUT_S))[0]
            return won

        won = sum(await asyncio.gather(*(client(c) for c in range(40))))
        for link in links:
            await link.close()
        return won

    assert money.loop.run_until_complete(race()) == 76
    assert money.budget("alpha-spring", 20_833) == (0, 76 * 130_000)


def test_an_expired_hold_makes_room_and_its_late_click_is_free_where_none_is_left(money):
    late = sold("late", "alpha-spring", 6_000_000, START_MS)
    assert money.hold([late], START_MS) == [True]
    after = START_MS + 60_000
    # The lazy sweep gives back the first hold, so 10e6 are free again.
    assert money.hold([sold("next", "alpha-spring", 5_000_000, after)], after) == [True]
    assert money.report(EventType.CLICK, late, after) == (EventStatus.LATE_FREE, 0)
    assert money.budget("alpha-spring", 20_833) == (0, 5_000_000)


def test_a_late_click_is_charged_where_there_is_room(money):
    late = sold("late", "alpha-spring", 6_000_000, START_MS)
    money.hold([late], START_MS)
    assert money.report(EventType.CLICK, late, START_MS + 60_000) == (EventStatus.LATE_SETTLED, 6_000_000)
    assert money.budget("alpha-spring", 20_833) == (6_000_000, 0)


def test_a_click_keeps_the_price_of_a_sale_reserved(money):
    trip = sold("trip", "gamma-sales", 10_000_000, START_MS)
    money.hold([trip], START_MS)
    assert money.report(EventType.CLICK, trip, START_MS + 59_000) == (EventStatus.LOGGED, 0)
    assert money.report(EventType.CONVERSION, trip, START_MS + 59_000 + 599_000) == (EventStatus.SETTLED, 10_000_000)
    assert money.budget("gamma-sales", 20_833) == (10_000_000, 0)


def test_a_charge_belongs_to_the_day_of_the_decision(money):
    before_midnight = START_MS + DAY_MS - 1000
    shoes = sold("shoes", "alpha-spring", 750_000, before_midnight)
    money.hold([shoes], before_midnight)
    assert money.report(EventType.CLICK, shoes, before_midnight + 5000) == (EventStatus.SETTLED, 750_000)
    assert money.budget("alpha-spring", 20_833) == (750_000, 0)
    assert money.budget("alpha-spring", 20_834) == (0, 0)


def test_dismissing_gives_back_what_was_not_clicked(money):
    clicked, ignored = sold("clicked", "gamma-sales", 9_000_000, START_MS), sold("ignored", "alpha-spring", 750_000, START_MS)
    money.hold([clicked, ignored], START_MS)
    money.report(EventType.CLICK, clicked, START_MS)
    assert money.report(EventType.DISMISS, clicked, START_MS) == (EventStatus.LOGGED, 0)
    assert money.report(EventType.DISMISS, ignored, START_MS) == (EventStatus.RELEASED, 0)
    assert money.budget("gamma-sales", 20_833) == (0, 9_000_000)
    assert money.budget("alpha-spring", 20_833) == (0, 0)


def test_holding_the_same_impression_again_reserves_nothing_more(money):
    one = sold("same", "alpha-spring", 6_000_000, START_MS)
    assert money.hold([one], START_MS) == [True]
    assert money.hold([one], START_MS) == [True]
    assert money.budget("alpha-spring", 20_833) == (0, 6_000_000)


def test_spend_without_a_budget_is_counted(money):
    assert money.report(EventType.IMPRESSION, sold("h", "house", 6_000, START_MS), START_MS) == (EventStatus.SETTLED, 6_000)
    assert money.budget("house", 20_833) == (6_000, 0)


def test_amounts_are_exact_up_to_the_limit_of_doubles(money, redis_url):
    big = 2**53 - 1
    market = MARKET.model_copy(update={"campaigns": (MARKET.campaigns[0].model_copy(update={"daily_budget_micros": big}),)})
    budgets = RedisBudgets(money.link, KEYS, market)
    day = 20_833

    def hold(name: str, micros: int) -> bool:
        one = HoldItem("alpha-spring", day, name, micros, big)
        return money.loop.run_until_complete(budgets.hold([one], START_MS, "all", TIMEOUT_S))[0]

    assert hold("a", big - 1)
    assert not hold("b", 2)
    assert hold("c", 1)
    assert money.budget("alpha-spring", day) == (0, big)


def test_scripts_redis_has_forgotten_are_loaded_again(money):
    one = sold("same", "alpha-spring", 6_000_000, START_MS)
    money.hold([one], START_MS)
    money.raw.script_flush()
    assert money.report(EventType.CLICK, one, START_MS) == (EventStatus.SETTLED, 6_000_000)


def test_the_shopper_remembers_what_was_accepted_once_and_only_todays_caps(money):
    shoppers = RedisShoppers(money.link, KEYS)
    yesterday = sold("y", "delta-play", 1, START_MS - DAY_MS)
    today = sold("t", "delta-play", 1, START_MS)
    for one in (yesterday, today, today):
        money.report(EventType.IMPRESSION, one, START_MS)
    money.report(EventType.CLICK, today, START_MS)
    counters = money.loop.run_until_complete(shoppers.counters("s", TIMEOUT_S))
    assert counters == {"impression": 2, "click": 1, "cap:delta-play:20833": 1}


def test_the_background_reading_sees_money_and_pacing(money):
    money.hold([sold("a", "alpha-spring", 6_000_000, START_MS)], START_MS)
    money.raw.hset(KEYS.pacing, mapping={"alpha-spring": "0.25", "beta-reach": "nan", "gamma-sales": "7"})
    assert money.campaigns.state(START_MS).committed_micros is None
    money.loop.run_until_complete(money.campaigns.refresh(START_MS))
    state = money.campaigns.state(START_MS + 2000)
    assert state.committed_micros.tolist() == [6_000_000, 0, 0, 0, 0, 0, 0]
    assert state.pacing_multiplier.tolist() == [0.25, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert money.campaigns.state(START_MS + 2500).committed_micros is None


def test_everything_but_the_ledger_expires(money):
    one = sold("i", "alpha-spring", 6_000_000, START_MS)
    money.hold([one], START_MS)
    money.report(EventType.CLICK, one, START_MS)
    money.report(EventType.IMPRESSION, one, START_MS)
    # Clicks may be reported again for the click window and the conversion window: an hour and 7 days.
    assert money.raw.pttl(KEYS.impression("i")) > 7 * 86_400_000
    assert money.raw.pttl(KEYS.budget("alpha-spring", 20_833)) > 8 * 86_400_000
    assert money.raw.pttl(KEYS.shopper("s")) > 0
    money.report(EventType.IMPRESSION, sold("j", "alpha-spring", 1, START_MS), START_MS)
    assert 0 < money.raw.pttl(KEYS.impression("j")) <= 3_600_000
