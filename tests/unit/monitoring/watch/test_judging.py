"""Each hour that is over is judged once, in order, with the labels that have become final by then."""

import pytest
from log_entries import decision, slot
from watched_archive import BEGIN_MS, HOUR_MS, WatchedArchive

from domain.errors import Unavailable
from features.log_archive import parts
from monitoring.detection.detector import Detector
from monitoring.watch.finishing import CLICKS_FINAL, CONVERSIONS_FINAL, HourFinisher


class Remembered:
    """Stands for the incidents."""

    def __init__(self):
        self.observed, self.counted, self.turns, self.away = [], [], [], False

    def count(self, source, decisions):
        self.counted.append((source, len(decisions), sorted(decisions.column_names)))

    def observe(self, hour_ms, findings, now_ms, streams=0):
        if self.away:
            raise Unavailable("incidents", "the disk is full")
        self.observed.append(((hour_ms - BEGIN_MS) // HOUR_MS, len(findings), streams))

    def turn(self, now_ms, micros_per_page=0.0):
        self.turns.append(micros_per_page)


@pytest.fixture
def archive(tmp_path):
    made = WatchedArchive(tmp_path)
    for hour in range(4):
        for i in range(10):
            at_ms = BEGIN_MS + hour * HOUR_MS + i
            made.decides(decision(f"{hour}-{i}", at_ms, slot(f"{hour}-{i}"), invalid="user_agent" if i == 9 else ""))
            made.happens("impression", f"{hour}-{i}", at_ms)
            made.happens("click", f"{hour}-{i}", at_ms + 10, status="settled", charged_micros=900)
        made.write((hour + 1) * HOUR_MS)
    return made


def test_hours_are_judged_once_and_in_order_over_restarts(archive):
    incidents = Remembered()
    archive.watched(incidents)
    # The last hour is not over yet: what was shown at its end may still be reported as seen.
    assert [hour for hour, _, _ in incidents.observed] == [0, 1, 2]
    assert all(streams > 0 for _, _, streams in incidents.observed)
    archive.write(5 * HOUR_MS)
    known = archive.watched(incidents)
    assert [hour for hour, _, _ in incidents.observed] == [0, 1, 2, 3]
    with known.store() as store:
        assert Detector.from_bytes(store.recall("detector")).at_ms == BEGIN_MS + 3 * HOUR_MS


def test_the_labels_of_an_hour_are_judged_in_the_hour_in_which_they_become_final(archive):
    archive.write(5 * HOUR_MS)
    with archive.watched(Remembered()).store() as store:
        finisher = HourFinisher(archive.market, archive.log_dir, store)
        # Hour 2 is over 20 s after its end; the clicks of hour 1 were final 200 s after its own, and its conversions 1200 s.
        assert finisher.final_with(BEGIN_MS + 2 * HOUR_MS, CLICKS_FINAL) == BEGIN_MS + HOUR_MS
        assert finisher.final_with(BEGIN_MS + 2 * HOUR_MS, CONVERSIONS_FINAL) == BEGIN_MS + HOUR_MS
        kinds = {s.kind for s in Detector.from_bytes(store.recall("detector")).streams}
    assert {"calibration", "distribution", "flow", "missing"} <= kinds


def test_service_levels_are_counted_of_shoppers_pages_part_by_part(archive):
    incidents = Remembered()
    archive.watched(incidents)
    columns = ["degraded", "slots", "time_ms", "total_us"]
    assert incidents.counted == [(f"decisions/{n}", 9, columns) for n in (1, 2, 3, 4)]
    # Nine pages of the newest hour that is over; ten clicks, a robot's page's among them, at 900 each.
    assert incidents.turns[-1] == 9000 / 9


def test_what_could_not_be_handed_over_is_judged_again(archive):
    incidents = Remembered()
    incidents.away = True
    with pytest.raises(Unavailable):
        archive.watched(incidents)
    incidents.away = False
    archive.watched(incidents)
    assert [hour for hour, _, _ in incidents.observed] == [0, 1, 2]


def test_an_hour_of_which_a_part_is_missing_is_not_judged(archive, caplog):
    parts(archive.log_dir, "events")[1].path.write_bytes(b"PAR1")
    incidents = Remembered()
    archive.watched(incidents)
    assert [hour for hour, _, _ in incidents.observed] == [0, 2]
    assert f"hour {BEGIN_MS + HOUR_MS} is not judged: part 2 of events" in caplog.text


def test_of_a_long_past_is_learned_and_nobody_told(tmp_path):
    archive = WatchedArchive(tmp_path)
    for hour in (0, 24, 48):
        archive.decides(decision(f"{hour}", BEGIN_MS + hour * HOUR_MS, slot(f"{hour}")))
        archive.happens("impression", f"{hour}", BEGIN_MS + hour * HOUR_MS)
        archive.write((hour + 1) * HOUR_MS)
    incidents = Remembered()
    archive.write(50 * HOUR_MS)
    archive.watched(incidents)
    # The archive ends with hour 49: what ended more than a day before is the past.
    told = [hour for hour, _, _ in incidents.observed]
    assert told == list(range(25, 49))
    assert [source for source, *_ in incidents.counted] == ["decisions/3", "decisions/4"]
