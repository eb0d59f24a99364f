"""The process that recomputes an hour after the other: what it makes of what it is told, and when there is nothing to tell."""

from pathlib import Path
from typing import Any

import pytest
from log_entries import MARKET_TOML, decision, slot
from watched_archive import BEGIN_MS, WatchedArchive

from domain.errors import OfferRankError
from monitoring.incidents import IncidentStore, incidents_path
from monitoring.summaries import ALL, Series
from offerrank.skew import Asked
from offerrank.skew_watch import findings_of, turn, watch

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
