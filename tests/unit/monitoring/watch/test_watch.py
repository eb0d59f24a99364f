"""The watch is started again, its file is damaged, parts are missing: it knows what the archive says, and the rest is named."""

import random
import sqlite3

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_entries import decision, slot
from watched_archive import BEGIN_MS, HOUR_MS, Known, WatchedArchive, corner

from domain.errors import ContractError
from features.log_archive import parts
from monitoring.summaries import ALL, Numbers, Series, Slice, Values
from monitoring.watch.database import MonitorUnavailable, monitor_path, sole_writer
from monitoring.watch.store import DAY, MonitorStore
from monitoring.watch.watch import Watch

COUNTRY = Series("feature", "country")


def busy(archive, hours=3, per_hour=40, begin=0, seed=1):
    rng = random.Random(seed)
    for hour in range(begin, begin + hours):
        for i in range(per_hour):
            name, at_ms = f"{hour}-{i}", hour * HOUR_MS + rng.randrange(HOUR_MS)
            features = {"country": rng.choice(["DE", "NL", "FR"]), "amount": rng.uniform(1, 99), "past_clicks": 0}
            archive.decides(decision(name, BEGIN_MS + at_ms, slot(name), features=features))
            archive.happens("impression", name, BEGIN_MS + at_ms + 900)
            if rng.random() < 0.5:
                archive.happens("click", name, BEGIN_MS + at_ms + 5_000)
        for quarter in (1, 2, 3, 4):
            archive.write(hour * HOUR_MS + quarter * HOUR_MS // 4)


def test_a_part_is_taken_once_however_often_the_watch_looks(tmp_path):
    archive = WatchedArchive(tmp_path)
    busy(archive, hours=1)
    once = archive.watched().everything()
    assert archive.watched().everything() == once


def test_only_one_watch_writes(tmp_path):
    with sole_writer(tmp_path), pytest.raises(ContractError, match="another process"), sole_writer(tmp_path):
        pass
    with sole_writer(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "log").write_text("a file")
    with pytest.raises(ContractError, match="log: cannot be written to: "), sole_writer(tmp_path / "log"):
        pass


def test_a_damaged_part_is_named_and_the_rest_goes_on(tmp_path):
    archive = WatchedArchive(tmp_path)
    busy(archive, hours=2)
    damaged = parts(tmp_path, "decisions")[2].path
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    known = archive.watched()
    with known.store() as store:
        (skipped,) = store.skipped()
        assert (skipped.log, skipped.number) == ("decisions", 3)
        assert "damaged" in skipped.reason
        assert store.taken("decisions") == 8
    assert 0 < known.flow(0)["pages"] < 40
    assert known.flow(1)["pages"] == 40
    # Mended by whoever has a copy, it is taken after all.
    damaged.write_bytes(whole)
    known = archive.watched()
    assert known.flow(0)["pages"] == 40
    with known.store() as store:
        assert store.skipped() == []


def test_a_missing_part_is_named(tmp_path):
    archive = WatchedArchive(tmp_path)
    busy(archive, hours=1)
    missing = parts(tmp_path, "events")[1].path
    missing.rename(tmp_path / "elsewhere")
    known = archive.watched()
    with known.store() as store:
        assert [(s.log, s.number, s.reason) for s in store.skipped()] == [("events", 2, "is missing")]
    assert known.flow(0)["pages"] == 40


def test_hours_without_anybody_are_hours(tmp_path):
    archive = WatchedArchive(tmp_path)
    busy(archive, hours=1)
    busy(archive, hours=1, begin=3)
    archive.write(4 * HOUR_MS + HOUR_MS)
    with archive.watched().store() as store:
        assert [((h.hour_ms - BEGIN_MS) // HOUR_MS, h.pages) for h in store.hours()] == [(0, 40), (1, 0), (2, 0), (3, 40)]


def test_a_clock_that_jumped_a_year_makes_no_year_of_hours(tmp_path):
    archive = WatchedArchive(tmp_path)
    busy(archive, hours=1)
    busy(archive, hours=1, begin=365 * 24)
    archive.write((365 * 24 + 2) * HOUR_MS)
    with archive.watched().store() as store:
        assert len(store.hours()) == 1 + 48 + 1


def test_a_damaged_file_is_moved_aside_and_made_anew(tmp_path, caplog):
    archive = WatchedArchive(tmp_path)
    busy(archive, hours=1)
    expected = archive.watched().everything()
    path = monitor_path(tmp_path)
    path.write_bytes(b"no database at all" * 100)
    assert archive.watched().everything() == expected
    assert "made anew from the archive" in caplog.text
    assert len(list(tmp_path.glob("monitor.sqlite.damaged-*"))) == 1


def test_a_month_of_hours_becomes_days(tmp_path):
    archive = WatchedArchive(tmp_path, corner(slices=["country"], sliced_days=2, months=1))
    for day in range(4):
        busy(archive, hours=2, per_hour=10, begin=24 * day)
    for day in range(4, 32):
        archive.decides(decision(f"of-day-{day}", BEGIN_MS + 24 * HOUR_MS * day))
    archive.write(24 * 30 * HOUR_MS)
    busy(archive, hours=2, per_hour=10, begin=24 * 31)
    known = archive.watched()
    with known.store() as store:
        german = Slice("country", "DE")
        # Day 0 is older than a month, days 1 to 28 are older than two days: their slices are kept by day, all traffic by hour.
        assert [(at - BEGIN_MS) // HOUR_MS for at, _, _ in store.history(COUNTRY, german, span=DAY)] == list(
            range(24, 29 * 24, 24)
        )
        assert [(at - BEGIN_MS) // HOUR_MS for at, _, _ in store.history(COUNTRY, german)] == [696, 720, 744, 745]
        hours = [(at - BEGIN_MS) // HOUR_MS for at, _, _ in store.history(COUNTRY)]
        assert (hours[:6], hours[-2:]) == ([24, 25, 48, 49, 72, 73], [744, 745])
        by_day = {at: s for at, _, s in store.history(COUNTRY, german, span=DAY)}
        everyone = [s for at, _, s in store.history(COUNTRY) if at < BEGIN_MS + 48 * HOUR_MS]
        day_1 = by_day[BEGIN_MS + 24 * HOUR_MS]
        assert isinstance(day_1, Values)
        assert day_1.rows == sum(s.counts["DE"] for s in everyone if isinstance(s, Values))


def test_choices_of_what_is_watched_are_kept_as_long_as_they_are_needed(tmp_path):
    archive = WatchedArchive(tmp_path, corner(slices=["country"], sliced_days=2))
    for day in range(8):
        archive.decides(decision(f"of-day-{day}", BEGIN_MS + 24 * HOUR_MS * day))
        archive.write(24 * (day + 1) * HOUR_MS)
    with archive.watched().store() as store:
        first = BEGIN_MS // HOUR_MS // 24
        assert [day - first for day in range(first, first + 8) if store.watched(day, "country")] == [3, 4, 5, 6, 7]


def test_a_clock_that_jumped_beyond_what_is_kept_takes_nothing_with_it(tmp_path):
    archive = WatchedArchive(tmp_path, corner(slices=["country"], sliced_days=1, months=1))
    for day in range(3):
        busy(archive, hours=1, begin=24 * day)
    before = archive.watched().flow(24)
    busy(archive, hours=1, begin=24 * 400)
    archive.write((24 * 400 + 2) * HOUR_MS)
    known = archive.watched()
    assert known.flow(24) == before
    assert known.flow(24 * 400)["pages"] == 40


def test_a_part_that_vanishes_before_its_labels_are_final_is_named_and_its_hour_not_judged(tmp_path, caplog):
    archive = WatchedArchive(tmp_path)
    busy(archive, hours=1)
    with Watch(archive.market, tmp_path, quiet_s=0) as watch:
        while watch.turn():
            pass
        gone = parts(tmp_path, "events")[1].path
        gone.rename(tmp_path / "elsewhere")
        archive.write(HOUR_MS + 30_000)
        while watch.turn():
            pass
        assert watch.seen().skipped == 1
        assert len(watch.opened.store.hours("stage = 1 AND judged = 1")) == 1  # as if, by nobody
    known = Known(tmp_path)
    flow = known.flow(0)
    assert "unseen" not in flow  # the rest of its events does not say who saw what
    assert "hour 1728000000000 goes without its labels: part 2 of events" in caplog.text
    # It comes back: what it counted is not counted again.
    (tmp_path / "elsewhere").rename(gone)
    archive.watched()
    with known.store() as store:
        assert store.skipped() == []
    assert known.flow(0) == flow
    # It is gone when the clicks are final: none of them is told, those of the next hour are.
    gone.unlink()
    busy(archive, hours=2, begin=1)
    archive.watched()
    ctr = Series("calibration", "ctr")
    assert (ALL, ctr) not in known.by(0)
    assert known.by(1)[ALL, ctr].rows == 40


def test_damage_in_the_middle_of_the_file_is_found_at_the_next_start(tmp_path, caplog):
    archive = WatchedArchive(tmp_path)
    busy(archive, hours=3)
    expected = archive.watched().everything()
    path = monitor_path(tmp_path)
    pages = bytearray(path.read_bytes())
    half = len(pages) // 2 // 4096 * 4096
    pages[half : half + 4096] = b"x" * 4096
    path.write_bytes(pages)
    assert archive.watched().everything() == expected
    assert "made anew from the archive" in caplog.text


def read_to_the_end(watch):
    while watch.turn():
        pass


def test_a_full_disk_loses_nothing_and_the_watch_goes_on_when_there_is_room(tmp_path):
    archive, whole = WatchedArchive(tmp_path / "full"), WatchedArchive(tmp_path / "whole")
    for each in (archive, whole):
        busy(each, hours=4)
    with Watch(archive.market, archive.log_dir, quiet_s=0) as watch:
        db = watch.opened.store._db
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}")
        for _ in range(2):
            with pytest.raises(MonitorUnavailable, match="the disk is full"):
                read_to_the_end(watch)
        db.execute("PRAGMA max_page_count = 1000000")
        read_to_the_end(watch)
    assert Known(archive.log_dir).everything() == whole.watched().everything()


def test_a_feature_with_a_value_for_everyone_stays_small(tmp_path):
    market = corner(slices=["country", "campaign"])
    archive = WatchedArchive(tmp_path, market)
    for i in range(3000):
        archive.decides(decision(f"p{i}", BEGIN_MS, features={"country": f"nowhere-{i}", "amount": 1.0, "past_clicks": i}))
    archive.write(HOUR_MS)
    known = archive.watched()
    summary = known.by()[ALL, COUNTRY]
    assert isinstance(summary, Values)
    assert (summary.rows, len(summary.counts), summary.other) == (3000, 128, 3000 - 128)
    with known.store() as store:
        assert len(store.names()[1]) <= 2 + 2 * 51
    assert monitor_path(tmp_path).stat().st_size < 2_000_000


def test_reading_beside_the_writer_waits_for_nobody(tmp_path):
    archive = WatchedArchive(tmp_path)
    busy(archive, hours=1)
    with Watch(archive.market, tmp_path) as watch:
        watch.turn()
        store = watch.opened.store
        with store.writing():
            store.remember("something", b"else")
            reader = MonitorStore.to_read(tmp_path)
            assert reader.hours()
            assert reader.recall("something") is None
            reader.close()


def test_beacons_that_are_lost_altogether_hold_nothing_up(tmp_path):
    archive = WatchedArchive(tmp_path)
    busy(archive, hours=1)
    for i in range(8):
        at_ms = HOUR_MS + i * HOUR_MS // 4
        archive.decides(decision(f"p{i}", BEGIN_MS + at_ms, slot(f"silent-{i}")))
        for path in archive.write(at_ms + HOUR_MS // 4):
            if "events" in str(path):
                path.unlink()  # the archiver writes no part of a log in which nothing happened
    known = archive.watched()
    # By the end of the third hour the second is over: its slots were not seen.
    assert known.flow(1)["unseen"] == known.flow(1)["filled"] == 4


def test_a_part_that_nobody_can_make_sense_of_is_named_and_the_rest_goes_on(tmp_path):
    archive = WatchedArchive(tmp_path)
    busy(archive, hours=1)
    part = parts(tmp_path, "decisions")[1]
    with pq.ParquetFile(part.path) as file:
        table = file.read()
    table = table.set_column(table.column_names.index("time_ms"), "time_ms", pa.array(["noon"] * len(table)))
    pq.write_table(table, part.path)
    known = archive.watched()
    with known.store() as store:
        (skipped,) = store.skipped()
    assert (skipped.number, "cannot be summarised" in skipped.reason) == (2, True)
    assert 0 < known.flow(0)["pages"] < 40


def test_with_thousands_of_features_they_are_summarised_of_all_traffic(tmp_path):
    market = corner(slices=["country", "campaign"])
    amount = market.features[1]
    many = tuple(amount.model_copy(update={"name": f"n{i}"}) for i in range(400))
    archive = WatchedArchive(tmp_path, market.model_copy(update={"features": (*market.features, *many)}))
    values = {f.name: float(i) for i, f in enumerate(many)}
    archive.decides(decision("a", BEGIN_MS, slot("i"), features={"country": "DE", "amount": 1.0, "past_clicks": 0} | values))
    archive.write(HOUR_MS)
    by = archive.watched().by()
    assert by[ALL, Series("feature", "n399")] == Numbers.of([399.0])
    german = Slice("country", "DE")
    assert {series.kind for where, series in by if where == german} == {"flow", "latency", "probability"}


def test_a_feature_that_becomes_a_number_within_an_hour_is_one_from_then_on(tmp_path):
    market = corner()
    country = market.features[0]
    archive = WatchedArchive(tmp_path, market)
    archive.decides(decision("a", BEGIN_MS, features={"country": "DE", "amount": 1.0, "past_clicks": 0}))
    archive.write(HOUR_MS // 2)
    archive.watched()
    number = country.model_copy(update={"dtype": "float", "default": 0.0, "vocabulary": None, "normalize": True})
    archive.market = corner().model_copy(update={"features": (number, *market.features[1:])})
    archive.decides(decision("b", BEGIN_MS + HOUR_MS // 2, features={"country": 49.0, "amount": 1.0, "past_clicks": 0}))
    archive.write(HOUR_MS)
    known = archive.watched()
    assert known.by()[ALL, COUNTRY] == Numbers.of([49.0])
    assert known.flow()["pages"] == 2


def test_a_damaged_summary_is_a_damaged_file(tmp_path, caplog):
    archive = WatchedArchive(tmp_path)
    busy(archive, hours=1)
    archive.watched()
    db = sqlite3.connect(monitor_path(tmp_path))
    db.execute("UPDATE summaries SET said = x'6e00'")
    db.commit()
    db.close()
    busy(archive, hours=1, begin=1)
    known = archive.watched()
    assert "made anew from the archive" in caplog.text
    assert (known.flow(0)["pages"], known.flow(1)["pages"]) == (40, 40)
