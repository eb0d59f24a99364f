"""The process that recomputes an hour after the other: what it makes of what it is told, and when there is nothing to tell."""

from pathlib import Path
from typing import Any

import pytest
from log_entries import MARKET_TOML, decision, slot
from watched_archive import BEGIN_MS, WatchedArchive

from domain.errors import OfferRankError
from monitoring.incidents import IncidentStore, incidents_path, reading
from monitoring.skew_beat import SkewBeat
from monitoring.summaries import ALL, Series
from monitoring.watch.revenue import revenue_micros_per_day
from offerrank.skew import Asked
from offerrank.skew_watch import findings_of, replay_findings, turn, watch

HOUR_MS = 3_600_000


def group(name: str, size: float, release: int = 100, **changes: Any) -> dict[str, Any]:
    made = {"kind": "feature", "name": name, "release": release, "decision_id": "d1", "offer_id": "green", "size": size}
    return made | {"served": None, "recomputed": 1.5, "why": "", "decisions": 3} | changes


def test_a_feature_of_two_releases_is_one_finding_of_the_largest_difference() -> None:
    told = {
        "releases": [
            {"release": 100, "decisions": 10, "groups": [group("amount", 2.0), group("amount", 1.0, why="assembled otherwise")]},
            {"release": 101, "decisions": 20, "groups": [group("amount", 3.0, 101), group("ctr", 0.1, 101, kind="probability")]},
        ]
    }
    amount, ctr = findings_of(told, BEGIN_MS)
    assert (amount.kind, amount.series, amount.slice, amount.release) == ("skew", Series("feature", "amount"), ALL, "101")
    assert (amount.size, amount.usual, amount.since_ms, amount.detail["rows"], amount.detail["differing"]) == (
        3.0,
        0.0,
        BEGIN_MS,
        20,
        3,
    )
    assert (amount.detail["served"], amount.detail["recomputed"]) == ("missing", 1.5)
    assert ctr.series == Series("probability", "ctr")


def test_it_costs_its_share_of_what_the_releases_bring() -> None:
    told = {
        "releases": [
            {"release": 100, "decisions": 10, "groups": [group("amount", 2.0)]},
            {"release": 101, "decisions": 20, "groups": [group("amount", 3.0, 101), group("ctr", 0.1, 101, kind="probability")]},
        ]
    }
    amount, ctr = findings_of(told, BEGIN_MS, {"100": 1_000_000, "101": 2_000_000})
    assert (amount.cost_micros_per_day, ctr.cost_micros_per_day) == (600_000, 300_000)
    assert "an estimate" in str(amount.detail["cost_is"])
    (unknown,) = findings_of({"releases": told["releases"][:1]}, BEGIN_MS)
    assert unknown.cost_micros_per_day == 0
    assert "cost_is" not in unknown.detail


def test_what_a_release_brings_is_its_part_of_the_charges(tmp_path: Path) -> None:
    archive = WatchedArchive(tmp_path)
    for hour in range(4):
        for i, release in enumerate(("7", "7", "8")):
            name, at_ms = f"{hour}-{i}", BEGIN_MS + hour * HOUR_MS + i
            archive.decides(decision(name, at_ms, slot(name), release=release))
            archive.happens("impression", name, at_ms)
            archive.happens("click", name, at_ms + 10, status="settled", charged_micros=1000)
        archive.write((hour + 1) * HOUR_MS)
    archive.write(6 * HOUR_MS)
    with archive.watched().store() as store:
        brings = revenue_micros_per_day(store, HOUR_MS)
    assert set(brings) == {"7", "8"}
    assert brings["7"] == 2 * brings["8"]
    assert 24 * 3000 * 4 / 6 <= sum(brings.values()) <= 24 * 3000


def test_a_process_that_stopped_or_breaks_off_is_noticed_and_one_that_finds_nothing_to_do_is_none(tmp_path: Path) -> None:
    beat = SkewBeat(beat_ms=BEGIN_MS, checked_ms=BEGIN_MS, every_s=3600)
    beat.write(tmp_path)
    assert SkewBeat.read(tmp_path) == beat
    assert not beat.is_over(BEGIN_MS + beat.longest_ms)
    assert beat.is_over(BEGIN_MS + beat.longest_ms + 1)
    assert not beat.is_over(BEGIN_MS - 24 * HOUR_MS)  # a clock that was set back
    assert not beat.model_copy(update={"broken": 1}).is_over(BEGIN_MS)
    assert beat.model_copy(update={"broken": 2}).is_over(BEGIN_MS)
    (tmp_path / "skew.json").write_text("{")
    assert SkewBeat.read(tmp_path) is None


def test_an_hour_in_which_no_release_ranked_says_nothing(tmp_path: Path) -> None:
    """It neither opens nor closes anything: that is no clean hour."""
    (tmp_path / "market.toml").write_text(MARKET_TOML)
    archive = WatchedArchive(tmp_path)
    archive.decides(decision("d1", BEGIN_MS + 1000, slot("i1")))
    archive.write(HOUR_MS)
    store = IncidentStore(incidents_path(tmp_path))
    (finding,) = findings_of({"releases": [{"release": 1, "decisions": 9, "groups": [group("amount", 2.0)]}]}, BEGIN_MS - HOUR_MS)
    store.observe_skew(BEGIN_MS - HOUR_MS, [finding], BEGIN_MS)
    asked = Asked(tmp_path, tmp_path / "releases", None, tmp_path / "market.toml", 0, float("inf"), 10)
    with pytest.raises(OfferRankError, match="expected decisions that a release ranked, found none"):
        turn(asked, store, 86_400, 0, 3600)
    (state,) = store.connection.execute("SELECT state FROM incidents").fetchone()
    assert state == "open"
    store.close_file()


def test_it_wants_to_know_how_long_an_hour_is(tmp_path: Path) -> None:
    with pytest.raises(OfferRankError, match="--every: expected --market, by whose hours incidents are kept, got none"):
        watch(Asked(tmp_path, tmp_path, None, None, 0, float("inf"), 10), 3600)


def test_decisions_that_come_out_otherwise_are_an_incident_until_an_hour_of_them_does_not(tmp_path: Path) -> None:
    different = {"decision_id": "d7", "field": "slots[0].price_micros", "logged": 101, "recomputed": 100}
    (found,) = replay_findings({"decisions": 200, "differing": 1, "differences": [different]}, BEGIN_MS)
    assert (found.kind, found.size, found.detail["decision_id"], found.detail["recomputed"]) == ("replay", 0.005, "d7", "100")
    assert list(replay_findings({"decisions": 200, "differing": 0, "differences": []}, BEGIN_MS)) == []

    store = IncidentStore(incidents_path(tmp_path))
    store.observe_skew(BEGIN_MS, [found], BEGIN_MS + HOUR_MS, "replay")
    store.observe_skew(BEGIN_MS, [], BEGIN_MS + HOUR_MS)  # an hour without skew says nothing of it
    (incident,) = reading.live_incidents(store.connection)
    assert incident.title == "Decisions are not made again as they were logged"
    store.observe_skew(BEGIN_MS + HOUR_MS, [], BEGIN_MS + 2 * HOUR_MS, "replay")
    assert reading.live_incidents(store.connection) == []
    store.close_file()
