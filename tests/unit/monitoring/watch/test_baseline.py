"""A release's rows of training become summaries as serving's are; a release without any is named, and the rest goes on."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_entries import decision, slot
from watched_archive import BEGIN_MS, HOUR_MS, WatchedArchive, corner

from features.spec import FeatureSpec
from monitoring.summaries import Numbers, Series, Values
from monitoring.watch.baseline import ROWS
from monitoring.watch.watch import Watch


@pytest.fixture
def archive(tmp_path):
    made = WatchedArchive(tmp_path / "log")
    for release in ("7", "8", "cold-start"):
        made.decides(decision(release, BEGIN_MS, slot(release), release=release))
    made.write(HOUR_MS)
    return made


def baseline(archive, releases, release, market=None):
    with Watch(market or archive.market, archive.log_dir, releases=releases) as watch:
        while watch.turn():
            pass
        return watch.opened.store.baseline(release)


def rows_of(releases, version, **columns):
    path = releases / version / ROWS
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table(columns), path)
    return path


def test_rows_of_training_become_summaries(archive, tmp_path):
    rows_of(
        tmp_path / "releases",
        "7",
        country=["DE", "DE", "unknown"],
        amount=pa.array([1.5, 9.0, 9.0], pa.float32()),
        past_clicks=[0, 0, 4],
        click=[0, 1, 0],
        **{"raw.ctr": [0.1, 0.1, 0.1], "calibrated.ctr": [0.04, 0.05, 0.05]},
    )
    known, trouble = baseline(archive, tmp_path / "releases", "7")
    assert trouble == ""
    assert known == {
        # The default and nothing else says that a country or an amount was not known, in training as in serving.
        Series("feature", "country"): Values(rows=3, missing=1, counts={"DE": 2}),
        Series("feature", "amount"): Numbers.of([float("nan"), 9, 9]),
        Series("feature", "past_clicks"): Numbers.of([0, 0, 4]),
        Series("probability", "ctr"): Numbers.of([0.04, 0.05, 0.05]),
    }


def test_a_damaged_release_is_named_and_the_rest_goes_on(archive, tmp_path, caplog):
    rows_of(tmp_path / "releases", "7", country=["DE"]).write_bytes(b"PAR1 and no more")
    rows_of(tmp_path / "releases", "8", country=["DE"])
    known, trouble = baseline(archive, tmp_path / "releases", "7")
    assert known == {}
    assert "cannot be read" in trouble
    assert "release 7 is compared with nothing" in caplog.text
    assert Series("feature", "country") in baseline(archive, tmp_path / "releases", "8")[0]
    assert baseline(archive, tmp_path / "releases", "cold-start") == ({}, "it was not looked at")


def test_what_fills_up_training_rows_is_no_value(archive, tmp_path):
    market = corner()
    tags = FeatureSpec(name="tags", source="offer", multiple=True, max_values=3)
    age = FeatureSpec(name="age", source="shopper", dtype="int", missing="own", normalize=True)
    market = market.model_copy(update={"features": (*market.features, tags, age)})
    least = -(2**63)
    rows_of(
        tmp_path / "releases",
        "7",
        tags=[["a", "", ""], ["", "", ""], ["a", "b", ""]],
        age=pa.array([31, least, 40], pa.int64()),
        amount=pa.array([1.0, np.nan, 2.0], pa.float32()),
    )
    known, _ = baseline(archive, tmp_path / "releases", "7", market)
    assert known[Series("feature", "tags")] == Values(rows=3, missing=1, counts={"a": 2, "b": 1})
    assert known[Series("feature", "age")] == Numbers.of([31, np.nan, 40])
    assert known[Series("feature", "amount")] == Numbers.of([1, np.nan, 2])
