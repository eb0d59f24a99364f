"""Incidents ask for a recalibration or a training: what the market lets them, as often as it says, never by broken data."""

from pathlib import Path

import pytest
from found import HOUR, START, Found, missing

from features.monitoring_spec import ResponseSpec
from monitoring.incidents import Habits, IncidentStore, incidents_path, reading
from monitoring.incidents.requests import request
from monitoring.incidents.responding import Responder
from monitoring.summaries import ALL, Series, Slice
from store.runs import Kind, Outcome, Run, write_run

CAMPAIGN = Slice("campaign", "shoes")
CALIBRATION = Found("calibration", Series("calibration", "click"), CAMPAIGN, cost_micros_per_day=5)
BOTH = ResponseSpec(recalibrate=("calibration",), retrain=("calibration", "unknown"), least_hours=3)


class Market:
    """An archive whose hours are observed one after the other, and its folder of releases."""

    def __init__(self, folder: Path, policy: ResponseSpec) -> None:
        self.log_dir, self.releases = folder / "log", folder / "releases"
        self.releases.mkdir()
        self.store = IncidentStore(incidents_path(self.log_dir), Habits(HOUR, quiet_hours=3, reopen_hours=100))
        self.responder = Responder(self.store, policy, self.releases)
        self.hour = START

    def sees(self, *findings: Found) -> None:
        self.store.observe(self.hour, findings, self.hour + HOUR)
        self.responder.respond(self.hour, self.hour + HOUR)
        self.hour += HOUR

    def ran(self, kind: Kind, outcome: Outcome, why: str = "", release: int | None = None) -> None:
        """A run that began after the hours so far, and has ended."""
        began = self.hour + 1
        write_run(self.releases, Run(f"{began}-1", kind, "corner", "log", began, None, began, began + 1, outcome, why, release))

    def said(self, kind: str = "calibration") -> list[str]:
        """Of the responses to the incident of a kind."""
        (incident,) = [i for i in reading.live_incidents(self.store.connection) if i.kind == kind]
        entries = reading.history(self.store.connection, incident.id)
        return [f"{e.change}: {e.note}" for e in entries if str(e.change) not in ("opened", "reopened", "closed", "acknowledged")]

    def asked(self) -> set[str]:
        actions = ("recalibrate", "retrain")
        return {a for a in actions if request(self.log_dir, self.releases, a, self.hour)}  # type: ignore[arg-type]


@pytest.fixture
def market(tmp_path: Path) -> Market:
    return Market(tmp_path, BOTH)


def test_nothing_is_asked_for_unless_the_market_says_so(tmp_path: Path):
    market = Market(tmp_path, ResponseSpec())
    market.sees(CALIBRATION)
    assert (market.said(), market.asked()) == ([], set())


def test_the_cheaper_response_is_asked_for_once_and_what_came_of_it_is_noted(market: Market):
    for _ in range(3):
        market.sees(CALIBRATION)
    assert market.asked() == {"recalibrate"}
    market.ran("recalibration", "released", release=12)
    assert market.asked() == set()
    market.sees()
    asked, answered = market.said()
    assert asked.startswith("asked to recalibrate: Predicted click is not what comes in campaign shoes: 0.3 outcomes")
    assert answered.startswith("answered: recalibration ")
    assert answered.endswith("release 12")


def test_what_did_not_help_is_followed_by_the_next_response_and_none_is_repeated(market: Market):
    market.sees(CALIBRATION)
    market.ran("recalibration", "unchanged", "no calibration would be better")
    for _ in range(2):
        market.sees(CALIBRATION)
    assert "less than 3 hours before" in market.said()[-1]
    market.sees(CALIBRATION)
    assert market.asked() == {"retrain"}
    market.ran("incremental", "released", release=13)
    for _ in range(20):
        market.sees(CALIBRATION)
    assert market.said()[-1] == "not asked: what it may ask for was asked for before, and did not end it"
    assert market.asked() == set()


def test_what_comes_back_within_a_week_is_the_same_incident_and_asks_for_nothing_again(market: Market):
    market.sees(CALIBRATION)
    market.ran("recalibration", "released", release=12)
    for _ in range(6):
        market.sees()
    for _ in range(4):
        market.sees(CALIBRATION)
        market.ran("incremental", "released", release=13)
    assert [said.partition(":")[0] for said in market.said()].count("asked to recalibrate") == 1


def test_one_incident_at_a_time_the_dearest_first(market: Market):
    market.sees(CALIBRATION, Found("unknown", Series("feature", "brand"), ALL, cost_micros_per_day=900))
    assert market.asked() == {"retrain"}
    (calibration,) = market.said("calibration")
    assert calibration.endswith("has asked for one, less than 3 hours before")


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        (missing(of=Slice("app_version", "4.2.0")), "country is missing in app_version 4.2.0"),
        (Found("tail", Series("feature", "amount")), "amount leaves its range"),
        (Found("flow", Series("flow", "impressions_per_filled_slot")), "Impressions per filled slot is not as usual"),
    ],
)
def test_nothing_is_learned_from_broken_data(market: Market, broken: Found, named: str):
    for _ in range(3):
        market.sees(CALIBRATION, broken)
    assert market.said() == [f"not asked: data is broken, and nothing is to be learned from it: {named}"]
    for _ in range(3):
        market.sees(CALIBRATION)  # until the other has closed
    assert market.asked() == {"recalibrate"}


def test_skew_is_broken_data_though_another_process_finds_it(market: Market):
    market.store.observe_skew(START, [Found("skew")], START)
    market.sees(CALIBRATION)
    assert market.said()[-1].endswith("country differs between training and serving")


def test_nothing_is_asked_for_while_the_last_release_was_refused(market: Market):
    market.ran("incremental", "refused", "calibration of click: expected at most 1.1, got 1.4")
    market.sees(CALIBRATION)
    assert market.said() == ["not asked: the last release was refused: calibration of click: expected at most 1.1, got 1.4"]
    market.ran("incremental", "waiting", "too few rows")  # which says nothing of the model
    market.sees(CALIBRATION)
    assert len(market.said()) == 1
    market.ran("full", "released", release=14)
    market.sees(CALIBRATION)
    assert market.asked() == {"recalibrate"}


def test_a_reason_is_one_line_whatever_shoppers_send(market: Market):
    forged = Found("unknown", Series("feature", "brand"), Slice("country", "DE\n2026 ERROR all is lost\x1b[31m" + 600 * "x"))
    market.sees(forged)
    found = request(market.log_dir, market.releases, "retrain", market.hour)
    assert found is not None
    assert found.why.isprintable()
    assert len(found.why) <= 500
    market.ran("incremental", "released", release=13)
    for _ in range(6):
        market.sees(forged, Found("tail", Series("feature", "amount"), Slice("country", "\n")))
    assert len(market.said("unknown")) == 3  # asked, answered, not asked: no line of it twice


def test_nothing_is_asked_for_where_nobody_knows_of_releases(market: Market):
    market.responder = Responder(market.store, BOTH, None)
    market.sees(CALIBRATION)
    assert "OFFERRANK_RELEASES" in market.said()[0]
    market.responder = Responder(market.store, BOTH, market.releases)
    (market.releases / "runs.sqlite").write_text("no database at all, but some text that is long enough to be none")
    market.sees(CALIBRATION)
    assert "runs.sqlite cannot be read" in market.said()[1]


def test_who_works_on_it_decides(market: Market):
    market.store.observe(START - HOUR, [CALIBRATION], START)
    (incident,) = reading.live_incidents(market.store.connection)
    market.store.acknowledge(incident.id, "ann", START)
    market.sees(CALIBRATION)
    assert market.said() == ["not asked: somebody works on it"]


def test_a_request_ends_with_its_incident(market: Market):
    market.sees(CALIBRATION)
    for _ in range(3):
        market.sees()
    assert market.asked() == set()


def test_an_hour_that_is_observed_again_asks_for_nothing_twice(market: Market):
    market.sees(CALIBRATION)
    market.hour -= HOUR
    market.sees(CALIBRATION)
    assert len(market.said()) == 1


def test_a_clock_that_jumped_ahead_and_back_holds_the_brake_for_no_longer(market: Market):
    year = 365 * 24 * HOUR
    market.store.observe(START, [CALIBRATION], START + year)
    market.responder.respond(START, START + year)
    market.hour += HOUR
    assert market.asked() == set()  # it was asked for in a year
    for _ in range(3):
        market.sees(Found("unknown", Series("feature", "brand"), ALL, cost_micros_per_day=900))
    assert market.said("unknown")[-1].startswith("asked to retrain")
