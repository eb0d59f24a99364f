"""What the page asks about campaigns: delivery of each today, and of one the course over hours and why its offers lose."""

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from domain.clock import now_ms
from features.market import Market
from features.spec import CAMPAIGN
from monitoring.dashboard.access import Looking
from monitoring.dashboard.answers import json_answer
from monitoring.dashboard.board import Board
from monitoring.dashboard.entered import Entered
from monitoring.dashboard.prediction_routes import judged_slices
from monitoring.dashboard.state import CampaignState, State, StateReader
from monitoring.dashboard.statistics import Json, Statistics, finite
from monitoring.detection.betting import pcoc_interval
from monitoring.summaries import ALL, FLOW, Calibration, Flows, Series, Slice
from monitoring.watch import MonitorStore

ON_A_PAGE = 50
SHOWN_HOURS = 72
LONGEST_NAME = 200
_FLOWS = ("filled", "impressions", "clicks", "conversions", "charged_micros", "bid_micros", "price_micros")
_Both = tuple[CampaignState, Entered]
By = Literal["campaign", "spent", "held", "budget", "off_plan", "pacing", "win_rate", "price_of_bid", "sold"]
_KEY: dict[str, Callable[[_Both], float | str | None]] = {
    "campaign": lambda both: both[0].campaign,
    "spent": lambda both: both[0].spent_micros,
    "held": lambda both: both[0].held_micros,
    "budget": lambda both: both[0].daily_budget_micros,
    "off_plan": lambda both: off_plan(both[0]),
    "pacing": lambda both: both[0].pacing_multiplier,
    "win_rate": lambda both: both[1].win_rate,
    "price_of_bid": lambda both: both[1].price_of_bid,
    "sold": lambda both: both[1].sold,
}


def campaign_routes(market: Market, statistics: Statistics, board: Board, lock: threading.Lock, reader: StateReader) -> APIRouter:
    """The routes below /api/campaigns."""
    router = APIRouter(prefix="/api/campaigns")

    def read(state: State | None) -> list[_Both]:
        with lock:
            return [(one, board.entries.of(one.campaign)) for one in (state.campaigns if state else ())]

    @router.get("")
    def listed(
        _: Looking,
        find: Annotated[str, Query(max_length=LONGEST_NAME)] = "",
        sort: By = "spent",
        rising: bool = False,
        page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    ) -> Response:
        """One page of those whose name or advertiser has `find` in it; what is not known of comes last whatever the order."""
        state = reader.state
        wanted = find.strip().casefold()
        found = [b for b in read(state) if wanted in b[0].campaign.casefold() or wanted in b[0].advertiser.casefold()]
        pages = max(-(-len(found) // ON_A_PAGE), 1)
        page = min(page, pages)
        shown = _sorted(found, sort, rising)[(page - 1) * ON_A_PAGE : page * ON_A_PAGE]
        judged = _judged(statistics)
        return json_answer(
            _now(market, state)
            | {
                "known": len(market.campaigns),
                "found": len(found),
                "page": page,
                "pages": pages,
                "campaigns": [_row(*both) | {"judged": judged.get(both[0].campaign, [])} for both in shown],
            }
        )

    @router.get("/{campaign:path}")
    def one(campaign: str, _: Looking) -> Response:
        state = reader.state
        if campaign not in market.campaign_by_id:
            return json_answer(_now(market, state) | {"known": False})
        now = next((both for both in read(state) if both[0].campaign == campaign), None)
        told = statistics.answer(("campaign", campaign), lambda store, last: _hours(store, last, statistics, campaign))
        return json_answer(
            _now(market, state)
            | {
                "known": True,
                "now": _row(*now) | {"listed": now[1].listed, "fates": _fates(now[1])} if now else None,
                "offers": [{"id": o.id, "title": o.title} for o in market.offers if o.campaign == campaign][:ON_A_PAGE],
                "judged": _judged(statistics).get(campaign, []),
                "course": told,
            }
        )

    return router


def off_plan(one: CampaignState) -> float | None:
    """Pacing error: spent less planned by now, as a share of the day's budget."""
    if one.plan_micros is None or not one.daily_budget_micros:
        return None
    return (one.spent_micros - one.plan_micros) / one.daily_budget_micros


def _now(market: Market, state: State | None) -> Json:
    return {
        "currency": market.currency,
        "day_fraction": state.day_fraction if state else None,
        "day_length_s": market.policy.day_length_s,
        "read_ms": state.at_ms if state else None,
        "age_s": (now_ms() - state.at_ms) / 1000 if state else None,
    }


def _sorted(found: list[_Both], by: By, rising: bool) -> list[_Both]:
    """Where two are alike, by name."""
    key = _KEY[by]
    known = [both for both in sorted(found, key=lambda b: b[0].campaign) if key(both) is not None]
    known.sort(key=key, reverse=not rising)  # type: ignore[arg-type]
    return known + [both for both in found if key(both) is None]


def _row(state: CampaignState, entered: Entered) -> Json:
    return {
        "campaign": state.campaign,
        "advertiser": state.advertiser,
        "bid_kind": state.bid_kind,
        "bid_micros": state.bid_micros,
        "daily_budget_micros": state.daily_budget_micros,
        "plan_micros": state.plan_micros,
        "spent_micros": state.spent_micros,
        "held_micros": state.held_micros,
        "pacing_multiplier": state.pacing_multiplier,
        "off_plan": off_plan(state),
        "win_rate": entered.win_rate,
        "price_of_bid": entered.price_of_bid,
        "sold": entered.sold,
    }


def _fates(entered: Entered) -> list[Json]:
    """What became of its candidates, the most frequent first."""
    return [{"reason": reason, "candidates": round(n, 1)} for reason, n in entered.fates.most_common()]


def _judged(statistics: Statistics) -> dict[str, list[Json]]:
    """Campaign -> per task how right its predictions were, of those with enough rows."""
    found: dict[str, list[Json]] = defaultdict(list)
    for task, slices in judged_slices(statistics).items():
        for one in slices:
            if one["by"] == CAMPAIGN:
                found[one["value"]].append({"task": task} | one)
    return found


def _hours(store: MonitorStore, last: int, statistics: Statistics, campaign: str) -> Json:
    """Hour by hour, where the campaign has enough traffic to be watched on its own."""
    where, since = Slice(CAMPAIGN, campaign), last - (SHOWN_HOURS - 1) * statistics.hour_ms
    hours: dict[int, Json] = defaultdict(lambda: dict.fromkeys((*_FLOWS, "wanted"), 0) | {"tasks": {}})
    for at, _, flows in store.history(FLOW, where, since, last + 1):
        if isinstance(flows, Flows):
            for name in _FLOWS:
                hours[at][name] += flows[name]
    for at, _, flows in store.history(FLOW, ALL, since, last + 1):
        if at in hours and isinstance(flows, Flows):
            hours[at]["wanted"] += flows["wanted"]
    for series in store.names()[0]:
        if series.kind == "calibration":
            for at, one in _calibrations(store, series, where, since, last):
                hours[at]["tasks"][series.name] = one
    return {"hours": [{"hour_ms": at} | of for at, of in sorted(hours.items())], "shown_hours": SHOWN_HOURS}


def _calibrations(store: MonitorStore, series: Series, where: Slice, since: int, last: int) -> list[tuple[int, Json]]:
    by_hour: dict[int, Calibration] = {}
    for at, _, one in store.history(series, where, since, last + 1):
        if isinstance(one, Calibration) and one.rows:
            by_hour[at] = by_hour[at].merge(one) if at in by_hour else one
    said = []
    for at, one in sorted(by_hour.items()):
        found = pcoc_interval(one.sum_p, one.sum_y, one.rows)
        told: Json = {"rows": one.rows, "came": one.sum_y, "predicted": one.sum_p}
        said.append((at, told | {"pcoc": finite(found.pcoc), "low": finite(found.low), "high": finite(found.high)}))
    return said
