"""Incidents of training/serving skew: found by a process of their own, beside the watch and in no order with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from found import HOUR, START, Found, missing

from monitoring.incidents import Habits, IncidentStore, incidents_path, reading
from monitoring.summaries import ALL, Series


def skew(name: str = "country", **changes: object) -> Found:
    return Found("skew", Series("feature", name), ALL, **changes)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[IncidentStore]:
    store = IncidentStore(incidents_path(tmp_path), Habits(HOUR, quiet_hours=3, reopen_hours=10))
    yield store
    store.close_file()


def live(store: IncidentStore) -> list[str]:
    return [i.title for i in reading.live_incidents(store.connection)]


def test_one_clean_hour_closes_it_and_the_next_difference_opens_it_again(store: IncidentStore):
    store.observe_skew(START, [skew()], START + HOUR)
    assert live(store) == ["country differs between training and serving"]
    store.observe_skew(START + HOUR, [], START + 2 * HOUR)
    assert live(store) == []
    store.observe_skew(START + 2 * HOUR, [skew()], START + 3 * HOUR)
    (incident,) = reading.live_incidents(store.connection)
    assert [str(e.change) for e in reading.history(store.connection, incident.id)] == ["opened", "closed", "reopened"]


def test_hours_of_the_watch_neither_close_it_nor_take_its_evidence(store: IncidentStore):
    store.observe_skew(START, [skew()], START + HOUR)
    (incident,) = reading.live_incidents(store.connection)
    for hour in range(8):
        store.observe(START + hour * HOUR, [missing("amount")], START + (hour + 1) * HOUR)
    assert "country differs between training and serving" in live(store)
    assert [e.hour_ms for e in reading.evidence(store.connection, incident.id)] == [START]


def test_a_clean_hour_closes_nothing_of_the_watch_and_is_none_of_its_quiet_hours(store: IncidentStore):
    store.observe(START, [missing("amount")], START + HOUR)
    for hour in range(8):
        store.observe_skew(START + hour * HOUR, [], START + (hour + 1) * HOUR)
    assert live(store) == ["amount is missing"]


def test_an_hour_looked_at_again_says_what_is_found_now(store: IncidentStore):
    store.observe_skew(START, [skew(size=3.0)], START + HOUR)
    store.observe_skew(START, [skew(size=1.0)], START + HOUR)
    (incident,) = reading.live_incidents(store.connection)
    assert [(e.hour_ms, e.size) for e in reading.evidence(store.connection, incident.id)] == [(START, 1.0)]
    assert incident.size == 1.0
