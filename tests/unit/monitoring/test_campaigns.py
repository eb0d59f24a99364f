"""Campaigns on the page: what became of their candidates, and the list that stays a page long however many there are."""

import asyncio
import threading
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from log_entries import MARKET_TOML, decision, decision_fields, slot

from domain.events import CandidateLog
from domain.outcome import Reason
from features.log_entry import decision_json
from features.market import Market, parse_market
from monitoring.dashboard.access import Access
from monitoring.dashboard.board import Board
from monitoring.dashboard.campaign_routes import campaign_routes, off_plan
from monitoring.dashboard.page_routes import answer_errors
from monitoring.dashboard.settings import DashboardSettings
from monitoring.dashboard.state import CampaignState, State, StateReader
from monitoring.dashboard.statistics import Statistics
from store import connect

T = 1_700_000_000_000
CAMPAIGN_OF = {"green": "tea", "red": "wine", "card": "own"}


def board() -> Board:
    return Board(bucket_s=5, window_s=600, campaign_of=CAMPAIGN_OF)


def decide(to: Board, at_ms: int, name: str, *slots: Any, **changes: Any) -> None:
    to.add_decision(at_ms, decision_fields(decision(name, at_ms, *slots, **changes)))


def candidates(weight: float, **reasons: Reason) -> CandidateLog:
    names = list(reasons)
    p = {"ctr": [0.1] * len(names), "cvr": [0.1] * len(names)}
    return CandidateLog(names, ["ann"] * len(names), p, [1.0] * len(names), [int(r) for r in reasons.values()], weight)


def test_losers_are_counted_by_the_weight_of_the_sample_that_is_logged():
    seen = board()
    # One decision in ten lists its losers and stands for ten; the others list their winner, which that one has counted.
    decide(seen, T, "a", slot("i-a"), candidates=candidates(10.0, green=Reason.WON, red=Reason.OUTBID))
    decide(seen, T, "b", candidates=candidates(10.0, green=Reason.BUDGET, red=Reason.OUTBID))
    decide(seen, T, "c", slot("i-c"), candidates=candidates(0.0, green=Reason.WON))
    tea, wine = seen.entries.of("tea"), seen.entries.of("wine")
    assert (tea.win_rate, wine.win_rate) == (0.5, 0.0)
    assert dict(wine.fates) == {Reason.OUTBID: 20}
    assert (tea.sold, tea.listed) == (2, 2)
    # 250,000 were paid of 500,000 bid.
    assert tea.price_of_bid == 0.5
    assert seen.entries.of("own").win_rate is None


def test_what_is_older_than_the_window_is_forgotten():
    seen = board()
    decide(seen, T, "a", slot("i-a"))
    decide(seen, T + 300_000, "b", slot("i-b"))
    assert seen.entries.of("tea").sold == 2
    decide(seen, T + 600_000, "c", slot("i-c"))
    assert seen.entries.of("tea").sold == 2
    decide(seen, T + 86_400_000, "d", slot("i-d"))
    assert seen.entries.of("tea").sold == 1


def test_robots_and_campaigns_that_the_market_lacks_count_nowhere():
    seen = board()
    decide(seen, T, "a", slot("i-a"), invalid="robot")
    decide(seen, T, "b", slot("i-b", campaign_id="gone"), candidates=candidates(1.0, gone=Reason.WON))
    assert seen.unreadable == 0
    assert seen.entries.of("tea").listed == 0
    assert seen.entries.of("gone").sold == 0


@pytest.mark.parametrize("weight", ["1e999", "-1", '"x"'])
def test_a_weight_that_is_none_makes_an_entry_unreadable(weight: str):
    seen = board()
    fields = decision_fields(decision("a", T, slot("i-a"), candidates=candidates(7.0, green=Reason.WON)))
    text = decision_json(fields).replace(b'"weight":7.0', f'"weight":{weight}'.encode())
    seen.add_decision(T, {b"d": text})
    assert seen.unreadable == 1


def market_of(n: int) -> Market:
    told = tomllib.loads(MARKET_TOML)
    kind = {"advertiser": "leaf", "bid_kind": "cpc", "bid_micros": 500_000, "daily_budget_micros": 100_000_000}
    told["campaigns"] += [kind | {"id": f"c{i}"} for i in range(n)]
    return parse_market(told)


def client(tmp_path: Path, market: Market, seen: Board) -> Any:
    """The routes on a reading that was made by hand; nobody listens at the Redis."""
    reader = StateReader(connect("redis://127.0.0.1:1/0", 1), market, None)
    states = [
        CampaignState(c.id, c.advertiser, c.bid_kind.value, c.bid_micros, c.daily_budget_micros, 50_000_000, i * 1000, 7, 0.5)
        if c.daily_budget_micros
        else CampaignState(c.id, c.advertiser, c.bid_kind.value, c.bid_micros, None, None, 0, 0, 1.0)
        for i, c in enumerate(market.campaigns)
    ]
    reader.state = State(T, 0.5, states)
    app = FastAPI()
    (market_file := tmp_path / "market.toml").write_text(MARKET_TOML)
    app.state.access = Access(DashboardSettings(market=market_file))
    answer_errors(app)
    app.include_router(campaign_routes(market, Statistics(tmp_path, 86_400), seen, threading.Lock(), reader))

    def get(path: str) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as asking:
                return await asking.get(path)

        return asyncio.run(ask())

    return get


def test_ten_thousand_campaigns_are_a_page_of_fifty_sorted_and_searched_by_the_server(tmp_path: Path):
    get = client(tmp_path, market_of(10_000), board())
    said = get("/api/campaigns").json()
    assert (said["known"], said["found"], said["pages"], len(said["campaigns"])) == (10_003, 10_003, 201, 50)
    spent = [one["spent_micros"] for one in said["campaigns"]]
    assert spent == sorted(spent, reverse=True)
    assert len(get("/api/campaigns").content) < 40_000
    last = get("/api/campaigns?page=999999&sort=campaign&rising=true").json()
    assert (last["page"], last["campaigns"][-1]["campaign"]) == (201, "wine")
    found = get("/api/campaigns?find=C99&sort=campaign&rising=true").json()
    assert (found["found"], found["campaigns"][0]["campaign"]) == (111, "c99")


def test_what_is_not_known_of_comes_last_in_either_order(tmp_path: Path):
    get = client(tmp_path, market_of(0), board())
    for rising in ("true", "false"):
        names = [one["campaign"] for one in get(f"/api/campaigns?sort=off_plan&rising={rising}").json()["campaigns"]]
        assert names[-1] == "own"  # it has no budget


def test_a_campaign_says_why_its_offers_lose(tmp_path: Path):
    seen = board()
    decide(seen, T, "a", candidates=candidates(4.0, green=Reason.BUDGET, red=Reason.WON))
    decide(seen, T, "b", candidates=candidates(1.0, green=Reason.OUTBID))
    get = client(tmp_path, market_of(0), seen)
    said = get("/api/campaigns/tea").json()
    assert said["now"]["fates"] == [{"reason": 500, "candidates": 4.0}, {"reason": 102, "candidates": 1.0}]
    assert said["offers"] == [{"id": "green", "title": "Green tea"}]
    assert said["course"]["last_hour_ms"] is None
    assert get("/api/campaigns/nothing").json()["known"] is False


def test_a_question_that_is_none_is_refused(tmp_path: Path):
    get = client(tmp_path, market_of(0), board())
    for asked in ("sort=colour", "page=0", "page=x", f"find={'x' * 201}", "rising=maybe"):
        assert get(f"/api/campaigns?{asked}").status_code == 422, asked


def test_the_pacing_error_is_a_share_of_the_budget():
    one = CampaignState("tea", "leaf", "cpc", 1, 100, 50, 57, 0, 1.0)
    assert off_plan(one) == pytest.approx(0.07)
    assert off_plan(CampaignState("own", "shop", "cpm", 1, None, None, 57, 0, 1.0)) is None
