"""What TFDV's comparators say of served rows: distances that can be derived by hand, and thresholds that are only thresholds."""

import warnings
from dataclasses import replace

import pytest
import tomli
from log_entries import MARKET_TOML, decision, slot
from watched_archive import BEGIN_MS, HOUR_MS, WatchedArchive

from domain.errors import ContractError, NothingToLearn
from features.market import parse_market

with warnings.catch_warnings():  # of TensorFlow and Beam
    warnings.simplefilter("ignore")
    from pipelines.comparators import Thresholds, compare, judged, page, statistics_of
    from pipelines.examples import rendered_rows

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


MARKET = tomli.loads(MARKET_TOML)
LISTED = [f | {"vocabulary": ["DE", "NL", "FR", "<b>"]} if f["name"] == "country" else f for f in MARKET["features"]]
HOURS = {
    "trained": {"DE": 50, "NL": 50},
    "quiet": {"DE": 40, "NL": 60},
    "french": {"DE": 20, "NL": 50, "FR": 30},
    "cents": {"DE": 50, "NL": 50},
    "five of ten": {"DE": 5, "NL": 5},
    "seven of ten": {"DE": 7, "NL": 3},
    "new": {"DE": 40, "NL": 30, "XX": 20, "<b>": 10},
}
"""Hours of pages: so many of each country; amounts from 1 to 10, every fifth missing, in one of them a hundred times as much."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    archive = WatchedArchive(tmp_path_factory.mktemp("served"), parse_market(MARKET | {"features": LISTED}))
    for hour, (title, pages) in enumerate(HOURS.items()):
        for i, country in enumerate(country for country, count in pages.items() for _ in range(count)):
            name, at_ms = f"{hour}-{i}", BEGIN_MS + hour * HOUR_MS + i
            amount = (100 if title == "cents" else 1) * (1.0 + i % 10) if i % 5 else None
            features = {"country": country, "amount": amount, "past_clicks": i % 3}
            archive.decides(decision(name, at_ms, slot(name), features=features))
            archive.happens("impression", name, at_ms + 900)
        archive.write((hour + 1) * HOUR_MS)
    return archive


def span(hour):
    begin_ms = BEGIN_MS + list(HOURS).index(hour) * HOUR_MS
    return begin_ms, begin_ms + HOUR_MS - 1


@pytest.fixture(scope="module")
def statistics(archive, tmp_path_factory):
    rows = {hour: rendered_rows(archive.market, archive.log_dir, *span(hour)) for hour in HOURS}
    folder = tmp_path_factory.mktemp("statistics")
    return folder, statistics_of(archive.market, rows, folder)


@pytest.fixture
def said(archive, statistics):
    def of(served, before=None, trained="trained", thresholds=Thresholds()):  # noqa: B008
        found = statistics[1]
        return judged(archive.market, found[trained], found[served], found.get(before), thresholds)

    return of


def distances(found):
    return {(d.kind, d.feature): (d.comparator, round(d.value, 6)) for d in found.distances}


def over(found):
    return [(a.kind, a.feature) for a in found.anomalies]


def test_distances_are_those_of_training_and_of_the_time_before(archive, statistics, tmp_path):
    found = compare(archive.market, statistics[0] / "trained.pb", archive.log_dir, *span("french"), Thresholds(), tmp_path)
    assert (found.rows, found.training_rows, found.before_rows) == (100, 100, 100)
    # The value that differs most: DE by 0.3 of training's rows, and FR; FR by 0.3 of those of the hour before.
    assert distances(found)["skew", "country"] == ("L-infinity", 0.3)
    assert distances(found)["drift", "country"] == ("L-infinity", 0.3)
    assert distances(found)["skew", "past_clicks"] == ("Jensen-Shannon", 0.0)
    assert over(found) == [("skew", "country"), ("drift", "country")]
    assert "Linfty distance between training and serving is 0.3" in found.anomalies[0].description


def test_numbers_are_compared_by_their_histograms(said):
    assert over(said("cents", before="quiet")) == [("skew", "amount"), ("drift", "amount")]
    assert not said("quiet", before="trained", thresholds=Thresholds(0.11, 0.1)).anomalies


def test_a_threshold_knows_nothing_of_chance(said):
    # Of ten shoppers seven come from DE instead of five: as likely as not, and beyond 0.1.
    assert ("skew", "country") in over(said("seven of ten", trained="five of ten"))
    assert not over(said("seven of ten", trained="five of ten", thresholds=Thresholds(0.5, 0.9)))


def test_without_a_time_before_there_is_no_drift(archive, statistics, tmp_path):
    found = compare(archive.market, statistics[0] / "trained.pb", archive.log_dir, *span("trained"), Thresholds(), tmp_path)
    assert found.before_rows == 0
    assert {d.kind for d in found.distances} == {"skew"}
    assert not found.anomalies


def test_rows_that_are_not_as_the_market_describes_them_are_named(said):
    (schema,) = (a for a in said("new").anomalies if a.kind == "schema")
    assert (schema.feature, schema.what) == ("country", "Unexpected string values")


def test_an_hour_in_which_nothing_was_rendered_is_said(archive, statistics, tmp_path):
    never = BEGIN_MS + 99 * HOUR_MS
    with pytest.raises(NothingToLearn, match="no decisions"):
        compare(archive.market, statistics[0] / "trained.pb", archive.log_dir, never, never + 9, Thresholds(), tmp_path)


@pytest.mark.parametrize("text", [b"\xff\xff no statistics", b""])
def test_statistics_that_cannot_be_read_are_named(archive, tmp_path, text):
    (tmp_path / "FeatureStats.pb").write_bytes(text)
    with pytest.raises(ContractError, match=r"FeatureStats.pb: expected statistics of "):
        compare(archive.market, tmp_path / "FeatureStats.pb", archive.log_dir, *span("french"), Thresholds(), tmp_path)


def test_the_page_shows_hostile_values_as_text(archive, said):
    found = said("new", trained="trained", thresholds=Thresholds(0.05, 0.1))
    hostile = replace(found, anomalies=(*found.anomalies, replace(found.anomalies[0], description="<script>alert(1)</script>")))
    html = page(archive.market, 7, *span("new"), hostile)
    assert f"TFDV speaks of {len(hostile.anomalies)} anomalies" in html
    assert "2024-10-04 06:00 UTC" in html
    assert "<script" not in html
    assert "&lt;script&gt;" in html
