from datetime import UTC, datetime

import numpy as np
import pytest

from domain.campaign import Status, Value
from domain.candidates import Candidates, Source
from domain.outcome import Reason
from features.market import Market
from retrieval.catalogue import Catalogue
from retrieval.eligibility import ELIGIBLE, campaign_verdicts, shown_today, split

JULY = int(datetime(2026, 7, 1, tzinfo=UTC).timestamp() * 1000)
CAMPAIGNS = ("open", "german", "rich", "capped", "poor", "summer")


def verdicts(
    market: Market,
    features: dict[str, Value] | None = None,
    counters: dict[str, int] | None = None,
    committed: dict[str, int] | None = {},  # noqa: B006 - never changed
    now_ms: int = JULY,
) -> dict[str, Reason]:
    catalogue = Catalogue.of(market)
    budget = catalogue.budget_micros
    room = None if committed is None else budget - np.array([committed.get(c, 0) for c in CAMPAIGNS])
    shown = shown_today(catalogue, counters or {}, np.full(len(catalogue.campaign_ids), 7))
    found = campaign_verdicts(catalogue, {"country": "DE", "amount": 100.0} | (features or {}), shown, room, now_ms)
    return {c: Reason(v) for c, v in zip(CAMPAIGNS, found, strict=True) if v != ELIGIBLE}


def test_a_shopper_who_fits_everything_sees_everything(market: Market) -> None:
    assert verdicts(market) == {}


@pytest.mark.parametrize(
    ("features", "out"),
    [
        ({"country": "AT"}, {"rich"}),
        ({"country": "FR"}, {"german", "rich"}),
        ({"country": ""}, {"german", "rich"}),
        ({"amount": 200.0}, set()),  # written 100 and 200.0: numbers match as numbers
        ({"amount": 200}, set()),
        ({"amount": 150.0}, {"rich"}),  # all targeted features must match
    ],
)
def test_targeting(market: Market, features: dict[str, Value], out: set[str]) -> None:
    assert verdicts(market, features) == dict.fromkeys(out, Reason.TARGETING)


@pytest.mark.parametrize(("shown", "out"), [(0, set()), (1, set()), (2, {"capped"}), (3, {"capped"})])
def test_a_frequency_cap_counts_todays_impressions_of_the_campaign(market: Market, shown: int, out: set[str]) -> None:
    counters = {"impression": 99, "cap:capped:7": shown, "cap:capped:6": 99, "cap:open:7": 99}
    assert verdicts(market, counters=counters) == dict.fromkeys(out, Reason.FREQUENCY_CAP)


def test_a_budget_that_is_used_up_shuts_its_campaign_out(market: Market) -> None:
    assert verdicts(market, committed={"poor": 999_999, "open": 10**15}) == {}
    assert verdicts(market, committed={"poor": 1_000_000}) == {"poor": Reason.BUDGET}


def test_while_budgets_cannot_be_read_only_campaigns_without_one_are_shown(market: Market) -> None:
    assert verdicts(market, committed=None) == {"poor": Reason.BUDGET_UNKNOWN}


@pytest.mark.parametrize(
    ("at", "out"),
    [
        (datetime(2026, 5, 31, 23, 59, 59, tzinfo=UTC), True),
        (datetime(2026, 6, 1, tzinfo=UTC), False),
        (datetime(2026, 8, 31, 23, 59, 59, tzinfo=UTC), False),
        (datetime(2026, 9, 1, tzinfo=UTC), True),  # 02:00 at +02:00
    ],
)
def test_a_schedule_holds_from_its_start_to_just_before_its_end(market: Market, at: datetime, out: bool) -> None:
    expected = {"summer": Reason.SCHEDULE} if out else {}
    assert verdicts(market, now_ms=int(at.timestamp() * 1000)) == expected


@pytest.mark.parametrize(("zone", "out"), [("UTC", True), ("Europe/Berlin", False)])  # 2026-07-01 is a Wednesday
def test_a_campaign_is_shown_in_its_hours_by_the_clocks_of_its_place(market: Market, zone: str, out: bool) -> None:
    raw = market.model_dump(mode="json")
    raw["campaigns"][0].update(day_parts=["wed 02-03"], time_zone=zone)
    assert verdicts(Market.model_validate(raw)) == ({"open": Reason.DAY_PART} if out else {})


def test_of_several_reasons_the_most_lasting_is_given(market: Market) -> None:
    raw = market.model_dump(mode="json")
    everything = {"targeting": {"country": ["FR"]}, "frequency_cap": 1, "daily_budget_micros": 1}
    for c in raw["campaigns"]:
        c.update(everything)
    told = verdicts(Market.model_validate(raw), counters={f"cap:{c}:7": 1 for c in CAMPAIGNS}, now_ms=0)
    assert told == dict.fromkeys(CAMPAIGNS, Reason.TARGETING) | {"summer": Reason.SCHEDULE}


def test_candidates_are_split_in_their_order_with_a_reason_for_each_removal(market: Market) -> None:
    catalogue = Catalogue.of(market)
    candidates = Candidates(np.array([6, 1, 4, 0], np.int32), np.array([0, 0, 1, 2], np.uint8))
    out = np.array([ELIGIBLE, Reason.TARGETING, ELIGIBLE, ELIGIBLE, Reason.BUDGET, ELIGIBLE], np.int16)
    eligible = split(candidates, catalogue, out)
    assert eligible.kept.offer.tolist() == [6, 0]
    assert eligible.kept.source.tolist() == [Source.ANN, Source.NEW]
    assert eligible.removed.offer.tolist() == [1, 4]
    assert eligible.reason.tolist() == [Reason.TARGETING, Reason.BUDGET]


@pytest.mark.parametrize("status", ["draft", "paused", "ended"])
def test_a_campaign_that_is_not_live_is_shown_nowhere_whatever_its_dates(market: Market, status: str) -> None:
    others = [c.model_copy(update={"status": Status(status)}) if c.id == "german" else c for c in market.campaigns]
    assert verdicts(market.selling(tuple(others), market.offers)) == {"german": Reason.SCHEDULE}
