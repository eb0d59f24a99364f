"""A storm of incidents is one message and not a hundred; nothing of it is lost, and service levels do not wait for it."""

import sqlite3
import time
from email import message_from_string, policy
from pathlib import Path

import pytest
from found import HOUR, START, Found, missing
from receivers import HttpReceiver

from domain.clock import now_ms
from monitoring.incidents import Habits, IncidentStore, incidents_path
from monitoring.incidents.alerts import AlertSettings, Sender, formats, outbox
from monitoring.incidents.alerts.alert import Alert
from monitoring.incidents.alerts.digest import SHOWN, Digest
from monitoring.incidents.alerts.outbox import DIGEST_MS, STORM, STORM_MS, Task
from monitoring.summaries import Series, Slice
from store.sqlite import transaction

NOW = START + HOUR


def campaign(name: object, **changes: object) -> Found:
    """Of a feature of its own, too, or they would be one thing."""
    return missing(f"tag {name}", Slice("campaign", str(name)), **changes)


class OnCall:
    """Who is told by one receiver, and when."""

    def __init__(self, folder: Path) -> None:
        self.store = IncidentStore(incidents_path(folder), Habits(HOUR, quiet_hours=1))
        self.now = NOW
        with transaction(self.db):
            outbox.enlist(self.db, "webhook", self.now)
            outbox.enlist(self.db, "slack", self.now)

    @property
    def db(self) -> sqlite3.Connection:
        return self.store.connection

    def opened(self, *findings: Found, hour: int = 0) -> None:
        self.store.observe(START + hour * HOUR, findings, self.now)

    def claims(self) -> Task | None:
        with transaction(self.db):
            return outbox.claim(self.db, "webhook", self.now)

    def hears(self) -> list[int]:
        """Takes all that is to be told now; the number of changes in each message."""
        sizes = []
        while (task := self.claims()) is not None:
            sizes.append(len(task.rows))
            with transaction(self.db):
                outbox.done(self.db, task, self.now)
        return sizes

    def waiting(self) -> int:
        (count,) = self.db.execute("SELECT count(*) FROM deliveries WHERE done_ms IS NULL").fetchone()
        return int(count)


@pytest.fixture
def on_call(tmp_path: Path) -> OnCall:
    return OnCall(tmp_path)


def digest(task: Task | None, page: str | None = "https://ops.example/") -> Digest:
    assert task is not None
    return Digest(tuple(Alert.of(row, "corner", "EUR", page, calm=not task.live) for row in task.rows))


def test_a_few_incidents_are_told_one_by_one(on_call: OnCall):
    on_call.opened(*(campaign(i) for i in range(STORM)))
    assert on_call.hears() == [1] * STORM


def test_many_at_once_are_one_message_with_the_dearest_first(on_call: OnCall):
    on_call.opened(*(campaign(i, cost_micros_per_day=i * 1_000_000) for i in range(100)))
    task = on_call.claims()
    said = digest(task)
    assert said.headline == "100 incidents at once. New: tag 99 is missing in campaign 99 (99.00 EUR a day)"
    assert len(said.lines) == SHOWN + 1
    assert said.lines[0].endswith("campaign 99 (99.00 EUR a day), 30 % of rows without a value, usually 1 %")
    assert said.lines[-1] == "and 80 more"
    body = formats.plain(said)
    assert (body["change"], body["severity"], body["url"]) == ("digest", "error", "https://ops.example/")
    assert {a["incident"]["slice"]["value"] for a in body["alerts"]} == {str(i) for i in range(100)}
    assert on_call.claims() is None  # leased


def test_a_storm_that_goes_on_is_heard_of_every_few_minutes(on_call: OnCall):
    on_call.opened(*(campaign(i) for i in range(50)))
    assert on_call.hears() == [50]
    heard = []
    for hour in range(1, 11):  # hours of a market whose day is short
        on_call.now += DIGEST_MS // 5
        on_call.opened(*(campaign(i) for i in range(50 + 2 * hour)), hour=hour)
        heard += on_call.hears()
    assert heard == [10, 10]
    assert on_call.waiting() == 0


def test_when_it_is_over_they_are_told_one_by_one_again(on_call: OnCall):
    on_call.opened(*(campaign(i) for i in range(50)))
    on_call.hears()
    on_call.now += STORM_MS
    on_call.opened(*(campaign(i) for i in range(52)), hour=1)
    assert on_call.hears() == [1, 1]


def test_a_service_level_does_not_wait_for_the_digest(on_call: OnCall):
    on_call.opened(*(campaign(i) for i in range(50)))
    on_call.hears()
    on_call.opened(*(campaign(i) for i in range(51)), hour=1)
    on_call.store.observe_levels([Found("latency", Series("level", "latency"))], START, on_call.now)
    task = on_call.claims()
    assert task is not None
    assert '"kind":"latency"' in task.rows[0][4]
    assert on_call.waiting() == 2


def test_a_digest_that_is_not_taken_is_told_again_with_what_came_since(on_call: OnCall):
    on_call.opened(*(campaign(i) for i in range(50)))
    task = on_call.claims()
    assert task is not None
    with transaction(on_call.db):
        outbox.failed(on_call.db, task, on_call.now, "answered 500")
    on_call.opened(*(campaign(i) for i in range(60)), hour=1)
    assert on_call.claims() is None  # not at once, though some of it is new
    on_call.now += outbox.FIRST_WAIT_MS
    task = on_call.claims()
    assert task is not None
    assert (len(task.rows), task.attempts) == (60, 2)


def test_what_waited_for_a_receiver_that_was_away_is_one_message(on_call: OnCall):
    for hour in range(30):
        on_call.opened(*(campaign(i) for i in range(hour + 1)), hour=hour)
        on_call.now += 24 * HOUR
    assert on_call.hears() == [30]


def test_in_a_digest_an_incident_stands_as_it_was_last(on_call: OnCall):
    on_call.opened(*(campaign(i) for i in range(50)))
    on_call.opened(*(campaign(i) for i in range(49)), hour=1)  # the last one has closed
    said = digest(on_call.claims())
    assert len(said.alerts) == 51
    assert [a.headline for a in said.ranked][-1] == "Over: tag 49 is missing in campaign 49"


def test_pagerduty_pages_once_and_resolves_what_it_was_told_of_before(on_call: OnCall):
    on_call.opened(campaign("first"))
    on_call.hears()
    on_call.opened(*(campaign(i) for i in range(50)), hour=1)
    on_call.now += DIGEST_MS
    storm, first = formats.pagerduty(digest(on_call.claims()), "key")
    assert (storm["event_action"], storm["dedup_key"]) == ("trigger", "corner-storm")
    assert storm["payload"]["summary"].startswith("51 incidents at once.")
    assert first["event_action"] == "resolve"  # it was triggered by itself, and closed in the storm
    on_call.now += STORM_MS
    on_call.opened(hour=2)
    (_, *resolved) = formats.pagerduty(digest(on_call.claims()), "key")
    assert {event["event_action"] for event in resolved} == {"resolve"}


def test_the_storm_is_resolved_with_its_last_incident(on_call: OnCall):
    on_call.opened(*(campaign(i) for i in range(3)))
    on_call.hears()
    on_call.now += STORM_MS
    on_call.opened(hour=1)
    events = []
    while (task := on_call.claims()) is not None:
        alert = Alert.of(task.rows[0], "corner", "EUR", None, calm=not task.live)
        events += formats.pagerduty(alert, "key")
        with transaction(on_call.db):
            outbox.done(on_call.db, task, on_call.now)
    assert {"routing_key": "key", "dedup_key": "corner-storm", "event_action": "resolve"} in events


def test_values_from_elsewhere_are_no_markup_in_a_digest_either(on_call: OnCall):
    on_call.opened(*(campaign(f"<!channel> \r\nBcc: {i}@leaf.example", cost_micros_per_day=1) for i in range(50)))
    said = digest(on_call.claims())
    text = formats.slack(said)["blocks"][0]["text"]["text"]
    assert "<!channel>" not in text
    assert len(text) <= 3000
    mail = formats.email(said, "ops@corner.example", "ann@corner.example")
    read = message_from_string(mail.as_string(), policy=policy.default)
    assert read["Bcc"] is None
    assert read.get_content().count("New: tag <!channel>") == SHOWN + 1


def test_a_receiver_gets_one_message_of_a_storm_and_all_of_it(on_call: OnCall):
    with HttpReceiver(500) as hook, HttpReceiver() as slack:
        settings = AlertSettings(alert_webhook_url=hook.url, alert_slack_url=slack.url)  # type: ignore[call-arg, arg-type]
        on_call.store.observe(START, [campaign(i) for i in range(40)], now_ms())
        with transaction(on_call.db):  # what nobody can make an alert of keeps none of the others
            on_call.db.execute(
                "INSERT INTO history (incident_id, at_ms, change, by, note, told)"
                " SELECT incident_id, at_ms, change, by, note, '{}' FROM history LIMIT 1"
            )
        sender = Sender(on_call.store.path, settings, "corner", "EUR", deadline_s=0.5, look_s=0.01)
        sender.start()
        deadline = time.monotonic() + 20
        while not (slack.bodies() and hook.bodies()):
            assert time.monotonic() < deadline
            with transaction(on_call.db):  # as if the time of the next attempt had come
                on_call.db.execute("UPDATE deliveries SET due_ms = 0 WHERE attempts > 0 AND error <> ''")
            time.sleep(0.01)
        sender.stop()
    (digest,) = hook.bodies()
    assert len(digest["alerts"]) == 40
    assert len({alert["delivery"] for alert in digest["alerts"]}) == 40
    assert len(slack.taken) == 1
    assert "40 incidents at once" in slack.bodies()[0]["text"]
    assert on_call.waiting() == 0
