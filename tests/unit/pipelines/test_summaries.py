"""The same archive by the watch and by Beam: what is known of it afterwards is the same, to the last count."""

import random
import shutil
import warnings

import pyarrow.parquet as pq
import pytest
from log_entries import decision, slot
from watched_archive import BEGIN_MS, HOUR_MS, Known, WatchedArchive, corner

from domain.errors import ContractError
from features.log_archive import parts
from monitoring.detection.detector import Detector
from monitoring.watch.database import monitor_path, sole_writer

with warnings.catch_warnings():  # of Beam's dependencies
    warnings.simplefilter("ignore")
    from pipelines.summaries import summarise

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def busy(archive, hours=3, per_hour=40, begin=0, seed=1):
    """Two releases, shoppers of more countries than are watched, clicks, conversions that come late, robots."""
    rng = random.Random(seed)
    for hour in range(begin, begin + hours):
        for i in range(per_hour):
            name, at_ms = f"{hour}-{i}", BEGIN_MS + hour * HOUR_MS + rng.randrange(HOUR_MS)
            features = {"country": rng.choice(["DE", "NL", "FR", "GB"]), "amount": rng.uniform(1, 99), "past_clicks": i}
            robot, release = "user_agent" if i % 9 == 8 else "", str(hour % 2)
            shown = slot(name, rng.choice(["green", "red", "card"]))
            archive.decides(decision(name, at_ms, shown, features=features, invalid=robot, release=release))
            archive.happens("impression", name, at_ms + 900)
            if rng.random() < 0.5:
                archive.happens("click", name, at_ms + 5_000, status="settled", charged_micros=200)
                if rng.random() < 0.5:
                    archive.happens("conversion", name, at_ms + 5_000 + rng.randrange(3 * HOUR_MS), "red")
        for quarter in (1, 2, 3, 4):
            archive.write(hour * HOUR_MS + quarter * HOUR_MS // 4)


@pytest.fixture
def archive(tmp_path):
    archive = WatchedArchive(
        tmp_path / "log", corner(slices=["country", "campaign", "brand"], slice_values=2, rows_per_hour=1000)
    )
    busy(archive)
    archive.write(40 * HOUR_MS)
    return archive


def by_beam(archive, tmp_path, out="beam", **between):
    work = tmp_path / f"work-{len(list(tmp_path.iterdir()))}"
    work.mkdir()
    return summarise(archive.market, archive.log_dir, tmp_path / out, work, **between)


def test_beam_knows_what_the_watch_knows(archive, tmp_path):
    for i in range(1300):
        archive.decides(decision(f"flood-{i}", BEGIN_MS + 40 * HOUR_MS, slot(f"flood-{i}", ("green", "red")[i % 2])))
    archive.write(80 * HOUR_MS)
    told = by_beam(archive, tmp_path)
    assert Known(tmp_path / "beam").everything() == archive.watched().everything()
    assert (told.parts, told.skipped) == (28, {})
    # Of a flood a share; values beyond the most; labels that are final.
    with Known(tmp_path / "beam").store() as store:
        flood = store.hours()[-1]
        series, slices, _ = store.names()
    assert flood.stage == 3
    assert flood.rate == pytest.approx(1000 / 1300)
    assert {s.kind for s in series} == {"feature", "probability", "latency", "slice", "flow", "calibration"}
    assert ("country", "*") in slices


def test_what_comes_after_is_taken_by_beam_or_by_the_watch(archive, tmp_path):
    by_beam(archive, tmp_path, out="log", until_ms=BEGIN_MS + 2 * HOUR_MS - 1)
    shutil.copytree(tmp_path / "log", tmp_path / "beam")
    begun = Known(tmp_path / "beam").everything()
    with Known(tmp_path / "beam").store() as page:  # which has the file open all the while
        hours = len(page.hours())
        by_beam(archive, tmp_path)
        assert len(page.hours()) > hours
    assert begun != Known(tmp_path / "beam").everything() == archive.watched().everything()
    assert by_beam(archive, tmp_path).parts == 0
    monitor_path(tmp_path / "log").unlink()
    assert Known(tmp_path / "beam").everything() == archive.watched().everything()


class Told:
    """Who would be told."""

    def __init__(self):
        self.hours = []

    def count(self, source, decisions): ...

    def observe(self, hour_ms, findings, now_ms, streams=0):
        self.hours.append((hour_ms, len(findings), streams))

    def turn(self, now_ms, micros_per_page=0.0): ...


def test_a_watch_judges_the_hours_that_beam_has_summarised(archive, tmp_path):
    shutil.copytree(tmp_path / "log", tmp_path / "alone")
    by_beam(archive, tmp_path, out="log")
    by_itself, after_beam = Told(), Told()
    archive.watched(after_beam)
    archive.log_dir = tmp_path / "alone"
    archive.watched(by_itself)
    assert after_beam.hours == by_itself.hours
    assert learned(tmp_path / "log") == learned(tmp_path / "alone")


def learned(folder):
    """What the detector has learned of each stream, in whatever order it came to know them."""
    with Known(folder).store() as store:
        detector = Detector.from_bytes(store.recall("detector"))
    names = ("log_m", "wealth", "climb", "rising", "opened_ms")
    return {stream: [getattr(detector, name)[i].tolist() for name in names] for i, stream in enumerate(detector.streams)}


def test_a_span_of_the_archive_is_summarised_alone(archive, tmp_path):
    told = by_beam(archive, tmp_path, since_ms=BEGIN_MS + HOUR_MS, until_ms=BEGIN_MS + 2 * HOUR_MS - 1)
    known = Known(tmp_path / "beam")
    assert known.flow(1, release="1") == archive.watched().flow(1, release="1")
    assert known.flow(0, release="0").get("pages", 0) == 0
    assert told.skipped == {}


def test_what_a_file_waits_for_is_not_left_out(archive, tmp_path):
    by_beam(archive, tmp_path, until_ms=BEGIN_MS + HOUR_MS - 1)
    with pytest.raises(ContractError, match="were not read yet"):
        by_beam(archive, tmp_path, since_ms=BEGIN_MS + 2 * HOUR_MS)


def test_damaged_and_missing_parts_are_named_and_the_rest_goes_on(archive, tmp_path):
    cut, gone, spoilt = parts(archive.log_dir, "decisions")[1:4]
    cut.path.write_bytes(cut.path.read_bytes()[:200])
    gone.path.rename(tmp_path / "elsewhere")
    # Of a column that is read for the summaries only: what came of the part has to be undone.
    group, whole = pq.read_metadata(spoilt.path).row_group(0), spoilt.path.read_bytes()
    chunk = next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema == "total_us")
    at = chunk.dictionary_page_offset or chunk.data_page_offset
    spoilt.path.write_bytes(whole[:at] + b"\xff" * chunk.total_compressed_size + whole[at + chunk.total_compressed_size :])
    told = by_beam(archive, tmp_path)
    assert set(told.skipped) == {str(cut.path), str(spoilt.path)}
    assert Known(tmp_path / "beam").everything() == archive.watched().everything()
    with Known(tmp_path / "beam").store() as store:
        assert [(s.log, s.number) for s in store.skipped()] == [("decisions", 2), ("decisions", 3), ("decisions", 4)]


def test_nothing_is_written_beside_a_watch(archive, tmp_path):
    with sole_writer(tmp_path / "log"), pytest.raises(ContractError, match="another process watches this archive"):
        by_beam(archive, tmp_path, out="log")
    assert not monitor_path(tmp_path / "log").exists()


def test_a_folder_that_is_no_archive_is_named_and_left_as_it_is(tmp_path):
    with pytest.raises(ContractError, match="nowhere: expected an archive, found neither decisions nor events"):
        by_beam(WatchedArchive(tmp_path / "nowhere"), tmp_path, out="nowhere")
    assert not (tmp_path / "nowhere").exists()
