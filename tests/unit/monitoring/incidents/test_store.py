"""The life of an incident: told once, taken care of, closed by itself, opened again; whatever else happens at the same time."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from found import HOUR, START, Found, missing

from domain.errors import InvalidRequest
from monitoring.incidents import INCIDENTS, Change, Habits, Incident, IncidentStore, State, Stream, incidents_path, reading
from monitoring.summaries import ALL, Series, Slice
from store.sqlite import FileDamaged

APP = Slice("app_version", "4.2.0")
HABITS = Habits(HOUR, quiet_hours=3, reopen_hours=10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return incidents_path(tmp_path)


class Watch:
    """Observes hour after hour, each at its end."""

    def __init__(self, path: Path) -> None:
        self.store = IncidentStore(path, HABITS)
        self.hour = START

    def sees(self, *findings: Found, hour: int | None = None) -> list[Incident]:
        at = self.hour if hour is None else START + hour * HOUR
        self.store.observe(at, findings, at + HOUR, streams=40)
        self.hour = at + HOUR
        return self.live

    @property
    def now(self) -> int:
        return self.hour

    @property
    def live(self) -> list[Incident]:
        return reading.live_incidents(self.store.connection)

    def changes(self, incident: Incident) -> list[str]:
        return [str(entry.change) for entry in reading.history(self.store.connection, incident.id)]


@pytest.fixture
def watch(path: Path) -> Watch:
    return Watch(path)


def test_the_same_thing_found_hour_after_hour_is_one_incident(watch: Watch):
    for size in (0.2, 0.3, 0.4):
        (incident,) = watch.sees(missing(of=APP, size=size))
    assert incident.title == "country is missing in app_version 4.2.0"
    assert incident.against_usual == "40 % of rows without a value, usually 1 %"
    assert (incident.since_ms, incident.last_seen_ms) == (START, START + 2 * HOUR)
    assert watch.changes(incident) == ["opened"]
    found = reading.evidence(watch.store.connection, incident.id)
    assert [(e.hour_ms, e.size) for e in found] == [(START, 0.2), (START + HOUR, 0.3), (START + 2 * HOUR, 0.4)]


def test_another_release_does_not_make_it_another_incident(watch: Watch):
    watch.sees(missing(release="1"))
    (incident,) = watch.sees(missing(release="2"))
    assert incident.release == "2"


def test_incidents_are_ranked_by_what_they_cost_the_silenced_last(watch: Watch):
    cheap, dear, dearest = (missing(f, Slice("country", f), cost_micros_per_day=c) for f, c in (("a", 1), ("b", 20), ("c", 300)))
    incidents = watch.sees(cheap, dear, dearest)
    assert [i.cost_micros_per_day for i in incidents] == [300, 20, 1]
    watch.store.silence(incidents[0].id, watch.now + HOUR, "ann", watch.now)
    assert [i.cost_micros_per_day for i in watch.live] == [20, 1, 300]


def test_what_follows_from_one_cause_is_one_incident_and_costs_once(watch: Watch):
    prediction = Found("prediction", Series("probability", "ctr"), APP, cost_micros_per_day=7_000_000)
    (incident,) = watch.sees(prediction, missing(of=APP, cost_micros_per_day=5_000_000))
    assert (incident.kind, incident.findings, incident.cost_micros_per_day) == ("missing", 2, 7_000_000)
    # The next hour only the prediction shows it: it is still the same.
    assert [i.id for i in watch.sees(prediction)] == [incident.id]


def test_an_incident_of_all_traffic_is_narrowed_to_the_slice_that_explains_it(watch: Watch):
    (before,) = watch.sees(missing(size=0.1))
    (after,) = watch.sees(missing(size=0.109, detail={"rows": 1_000}), missing(of=APP, size=1.0, detail={"rows": 100}))
    assert (before.id, before.slice, after.id, after.slice) == (after.id, ALL, after.id, APP)
    assert watch.changes(after) == ["opened", "narrowed"]


def test_it_stays_one_incident_when_another_slice_explains_it_or_none_does(watch: Watch):
    # Detection names one slice each hour: all traffic at first, the app once that is sure, all again as the app gets small.
    (first,) = watch.sees(missing(size=0.1))
    (narrowed,) = watch.sees(missing(of=APP, size=0.9))
    (wide,) = watch.sees(missing(size=0.12))
    assert first.id == narrowed.id == wide.id
    assert (wide.slice, wide.size) == (APP, 0.9)  # the name that it has is the better one
    assert watch.changes(wide) == ["opened", "narrowed"]


def test_two_slices_that_are_no_part_of_each_other_are_two_incidents(watch: Watch):
    watch.sees(missing(of=APP))
    assert len(watch.sees(missing(of=Slice("partner", "shop")))) == 2


def test_it_closes_by_itself_after_hours_without_a_finding(watch: Watch):
    (incident,) = watch.sees(missing())
    watch.sees()
    assert watch.sees() != []
    assert watch.sees() == []
    (closed,) = reading.closed_incidents(watch.store.connection)
    assert (closed.id, closed.state, closed.closed_ms) == (incident.id, State.CLOSED, watch.now)
    assert reading.history(watch.store.connection, incident.id)[-1].note == "quiet for 3 hours"


def test_hours_that_nobody_looked_at_are_not_quiet(watch: Watch):
    watch.sees(missing())
    assert len(watch.sees(hour=100)) == 1  # the watch was down for four days, and one hour of it is known


def test_a_clock_that_jumped_years_ahead_and_back_counts_as_one_hour(watch: Watch):
    watch.sees(missing())
    (incident,) = watch.sees(missing(), hour=100_000)
    assert [i.id for i in watch.sees(missing(), hour=1)] == [incident.id]
    assert len(reading.evidence(watch.store.connection, incident.id)) == 3
    watch.sees(hour=2)
    watch.sees(hour=3)
    assert watch.sees(hour=4) == []


def test_what_comes_back_soon_is_the_same_incident_and_later_a_new_one(watch: Watch):
    (first,) = watch.sees(missing())
    for _ in range(3):
        watch.sees()
    (again,) = watch.sees(missing())
    assert (again.id, again.state, again.closed_ms) == (first.id, State.OPEN, None)
    assert watch.changes(first) == ["opened", "closed", "reopened"]
    for _ in range(14):  # 3 hours to close, 11 more
        watch.sees()
    (new,) = watch.sees(missing())
    assert new.id != first.id


def test_an_hour_observed_again_changes_nothing(watch: Watch):
    (incident,) = watch.sees(missing())
    for _ in range(5):
        watch.store.observe(START, [missing()], START + HOUR)
    watch.sees()
    watch.sees()
    watch.store.observe(START + HOUR, [], watch.now)  # the same quiet hour is one
    assert [i.id for i in watch.live] == [incident.id]
    assert watch.changes(incident) == ["opened"]
    assert len(reading.evidence(watch.store.connection, incident.id)) == 1


def test_an_hour_observed_again_is_no_turn(watch: Watch):
    for hour in (0, 0, 0, 1):
        watch.store.observe(START + hour * HOUR, [missing()], START + HOUR, streams=1)
    turns = watch.store.connection.execute("SELECT turn FROM hours ORDER BY hour_ms").fetchall()
    assert turns == [(1,), (2,)]


def test_late_rows_of_an_hour_replace_what_it_said(watch: Watch):
    (incident,) = watch.sees(missing(size=0.2))
    watch.sees(missing(size=0.3))
    watch.store.observe(START, [missing(size=0.9)], watch.now)
    (now,) = watch.live
    assert now.size == 0.3  # the newest hour still says how it stands
    assert [e.size for e in reading.evidence(watch.store.connection, incident.id)] == [0.9, 0.3]


def test_closed_by_hand_it_opens_again_by_the_next_hour_that_finds_it(watch: Watch):
    (incident,) = watch.sees(missing())
    watch.store.close(incident.id, "ann", watch.now, "the app was mended")
    watch.store.observe(START, [missing()], watch.now)  # the hour of before says nothing new
    assert watch.live == []
    assert watch.sees(missing())[0].id == incident.id


def test_acknowledged_it_is_told_again_only_when_it_costs_twice_as_much(watch: Watch):
    (incident,) = watch.sees(missing(cost_micros_per_day=100))
    watch.store.acknowledge(incident.id, "ann", watch.now, "looking")
    watch.store.acknowledge(incident.id, "bob", watch.now)  # somebody is at it already
    for cost in (150, 199, 200, 399, 400):
        (now,) = watch.sees(missing(cost_micros_per_day=cost))
    assert now.state is State.ACKNOWLEDGED
    assert watch.changes(incident) == ["opened", "acknowledged", "dearer", "dearer"]
    told = reading.history(watch.store.connection, incident.id)[1]
    assert (told.by, told.note) == ("ann", "looking")


def test_silenced_it_is_told_to_nobody_until_the_time_is_up(watch: Watch):
    (incident,) = watch.sees(missing(cost_micros_per_day=100))
    watch.store.silence(incident.id, watch.now + 2 * HOUR, "ann", watch.now)
    (now,) = watch.sees(missing(cost_micros_per_day=10_000))
    assert now.state is State.SILENCED
    watch.store.wake(watch.now + HOUR - 1)
    assert watch.live[0].state is State.SILENCED
    watch.store.wake(watch.now + HOUR)
    assert watch.live[0].state is State.OPEN
    assert watch.changes(incident) == ["opened", "silenced", "unsilenced"]


def test_what_comes_back_while_it_is_silenced_stays_silent(watch: Watch):
    (incident,) = watch.sees(missing())
    watch.store.silence(incident.id, watch.now + 100 * HOUR, "ann", watch.now)
    for _ in range(3):
        watch.sees()
    assert watch.live == []
    assert watch.sees(missing())[0].state is State.SILENCED
    told = "SELECT change FROM history WHERE told IS NOT NULL ORDER BY seq"
    assert watch.store.connection.execute(told).fetchall() == [("opened",), ("closed",)]


@pytest.mark.parametrize("until", [-1, 0, 31 * 86_400_000])
def test_a_silence_ends_within_thirty_days(watch: Watch, until: int):
    (incident,) = watch.sees(missing())
    with pytest.raises(InvalidRequest, match="until_ms: expected a time within the next 30 days"):
        watch.store.silence(incident.id, watch.now + until, "ann", watch.now)


def test_what_is_closed_or_unknown_cannot_be_acknowledged(watch: Watch):
    (incident,) = watch.sees(missing())
    watch.store.close(incident.id, "ann", watch.now)
    with pytest.raises(InvalidRequest, match="is closed"):
        watch.store.acknowledge(incident.id, "ann", watch.now)
    with pytest.raises(InvalidRequest, match="expected the id of one there is, got 'nobody'"):
        watch.store.close("nobody", "ann", watch.now)


def test_history_is_append_only(watch: Watch):
    watch.sees(missing())
    for statement in ("DELETE FROM history", "UPDATE history SET note = 'never happened'"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            watch.store.connection.execute(statement)


def test_a_note_has_a_length(watch: Watch):
    (incident,) = watch.sees(missing())
    with pytest.raises(InvalidRequest, match="note: expected at most 500 characters"):
        watch.store.acknowledge(incident.id, "ann", watch.now, "x" * 501)
    assert watch.changes(incident) == ["opened"]  # nothing of it was written


def test_two_processes_write_and_neither_loses_anything(watch: Watch, path: Path):
    (incident,) = watch.sees(missing())
    at = watch.now

    def note(number: int) -> None:
        page = IncidentStore(path, HABITS)
        page.silence(incident.id, at + HOUR, f"ann-{number}", at)
        page.close_file()

    with ThreadPoolExecutor(4) as threads:
        done = [threads.submit(note, number) for number in range(20)]
        for _ in range(20):
            watch.sees(missing())
        for one in done:
            one.result()
    by = {entry.by for entry in reading.history(watch.store.connection, incident.id)}
    assert {f"ann-{n}" for n in range(20)} <= by
    assert len(reading.evidence(watch.store.connection, incident.id)) == 21


def test_a_watch_that_starts_again_goes_on(path: Path):
    first = Watch(path)
    (incident,) = first.sees(missing())
    second = Watch(path)
    assert [i.id for i in second.sees(missing(), hour=1)] == [incident.id]
    assert reading.watched(second.store.connection) == reading.Watched(START + HOUR, START + 2 * HOUR, 40, 2)


def test_a_kind_that_nobody_knows_is_told_all_the_same(watch: Watch):
    (incident,) = watch.sees(Found("weather", Series("feature", "rain"), APP))
    assert (incident.title, incident.runbook) == ("rain is not as usual in app_version 4.2.0", "docs/runbooks.md#other")


def test_ten_thousand_campaigns_at_once_are_kept_within_seconds(watch: Watch):
    ctr = Series("calibration", "ctr")
    findings = [Found("calibration", ctr, Slice("campaign", f"c{i}"), detail={"rows": 100 + i}) for i in range(10_000)]
    incidents = watch.sees(*findings)
    assert [i.findings for i in incidents] == [10_000]  # one model that is wrong everywhere


def test_numbers_that_json_lacks_are_kept(watch: Watch):
    (incident,) = watch.sees(missing(size=float("inf"), usual=float("nan"), evidence=float("inf")))
    assert incident.size == float("inf")


def test_a_file_that_is_no_database_is_named(path: Path):
    path.write_bytes(b"not a database, and long enough to be looked at" * 100)
    with pytest.raises(FileDamaged, match=r"incidents\.sqlite: it is no database"):
        IncidentStore(path)
    with pytest.raises(FileDamaged):
        INCIDENTS.open_to_read(path)


def test_what_a_stream_is_does_not_depend_on_the_release():
    assert Stream.of(missing(release="1")) == Stream.of(missing(release="2"))
    assert Change("opened") is Change.OPENED
