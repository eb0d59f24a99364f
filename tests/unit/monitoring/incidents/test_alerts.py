"""Alerts reach whoever is on call: at least once, in order, whatever the receiver does, and without what is secret."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_string, policy
from pathlib import Path
from typing import Any

import pytest
from found import HOUR, START, Found, missing
from receivers import HttpReceiver, MailServer

from domain.clock import now_ms
from domain.errors import OfferRankError
from domain.refusals import read_settings
from monitoring.incidents import Habits, IncidentStore, incidents_path, reading
from monitoring.incidents.alerts import AlertSettings, Sender, formats, outbox, try_receivers
from monitoring.incidents.alerts.alert import Alert
from monitoring.incidents.alerts.mail import Undelivered, send_mail
from monitoring.summaries import Series, Slice
from store.sqlite import transaction

APP = Slice("app_version", "4.2.0")
EVIL = "<!channel> \r\nBcc: all@leaf.example"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return incidents_path(tmp_path)


@pytest.fixture
def store(path: Path) -> IncidentStore:
    return IncidentStore(path, Habits(HOUR, quiet_hours=1))


def alert(store: IncidentStore, **changes: Any) -> Alert:
    """The last that is to be told."""
    query = "SELECT seq, at_ms, change, note, told FROM history WHERE told IS NOT NULL ORDER BY seq DESC LIMIT 1"
    made = Alert.of(store.connection.execute(query).fetchone(), "corner", "EUR", "https://ops.example/")
    return made


@contextmanager
def sending(path: Path, **settings: Any) -> Iterator[Sender]:
    sender = Sender(path, AlertSettings(**settings), "corner", "EUR", deadline_s=0.5, look_s=0.01)
    sender.start()
    try:
        yield sender
    finally:
        sender.stop()


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def all_due_now(store: IncidentStore) -> None:
    """As if the time of the next attempt had come."""
    with transaction(store.connection):
        store.connection.execute("UPDATE deliveries SET due_ms = 0 WHERE done_ms IS NULL")


# Formats.


def test_our_own_json_has_everything(store: IncidentStore):
    store.observe(START, [missing(of=APP, cost_micros_per_day=12_300_000)], START + HOUR)
    said = formats.plain(alert(store))
    assert said["headline"] == "New: country is missing in app_version 4.2.0 (12.30 EUR a day)"
    assert said["delivery"] == "corner-1"
    assert said["incident"]["slice"] == {"by": "app_version", "value": "4.2.0"}
    assert said["url"] == f"https://ops.example/incidents/{said['incident']['id']}"


def test_pagerduty_resolves_what_it_was_told_of(store: IncidentStore):
    store.observe(START, [missing(of=APP, cost_micros_per_day=1)], START + HOUR)
    (opened,) = formats.pagerduty(alert(store), "key")
    store.observe(START + HOUR, [], START + 2 * HOUR)
    (closed,) = formats.pagerduty(alert(store), "key")
    assert (opened["event_action"], closed["event_action"]) == ("trigger", "resolve")
    assert opened["dedup_key"] == closed["dedup_key"]
    assert opened["payload"]["severity"] == "error"
    assert opened["payload"]["source"] == "corner"


def test_a_broken_promise_is_critical_and_what_costs_nothing_a_warning(store: IncidentStore):
    store.observe(START, [missing()], START)
    assert alert(store).severity == "warning"
    store.observe_levels([Found("latency", Series("level", "latency"))], START, START)
    assert alert(store).severity == "critical"


def test_values_from_elsewhere_are_no_markup_and_no_header(store: IncidentStore):
    store.observe(START, [missing(of=Slice("app_version", EVIL))], START)
    said = alert(store)
    assert "<!channel>" not in formats.slack(said)["blocks"][0]["text"]["text"]
    assert "&lt;!channel&gt;" in formats.slack(said)["text"]
    message = formats.email(said, "ops@corner.example", "ann@corner.example")
    read = message_from_string(message.as_string(), policy=policy.default)
    assert read["Bcc"] is None
    assert "Bcc: all@leaf.example" in str(read["Subject"])


def test_the_mails_of_an_incident_are_one_thread(store: IncidentStore):
    store.observe(START, [missing()], START)
    first = formats.email(alert(store), "a@x.example", "b@x.example")
    store.observe(START + HOUR, [], START)
    second = formats.email(alert(store), "a@x.example", "b@x.example")
    assert first["References"] == second["References"]
    assert first["Message-ID"] != second["Message-ID"]
    assert str(second["Subject"]).startswith("[OfferRank corner] Over: country is missing")


# Settings.


@pytest.mark.parametrize("wrong", ["hooks.example/secret", "ftp://x/secret", "https:///secret"])
def test_a_wrong_address_is_refused_without_being_shown(wrong: str):
    with pytest.raises(OfferRankError, match="OFFERRANK_ALERT_SLACK_URL: expected an address") as refused:
        read_settings(AlertSettings, alert_slack_url=wrong)
    assert "secret" not in str(refused.value)


def test_mail_needs_who_sends_and_who_gets():
    with pytest.raises(OfferRankError, match="OFFERRANK_ALERT_MAIL_FROM: is needed with OFFERRANK_ALERT_SMTP_URL") as refused:
        read_settings(AlertSettings, alert_smtp_url="smtp://ann:secret@mail.example")
    assert "secret" not in str(refused.value)
    with pytest.raises(OfferRankError, match=r"OFFERRANK_ALERT_SMTP_URL: expected smtp://user:password@host"):
        read_settings(AlertSettings, alert_smtp_url="smtp://host:secret")


# Sending.


def test_each_receiver_hears_of_opening_and_end_in_its_own_format(path: Path, store: IncidentStore):
    with HttpReceiver() as hook, HttpReceiver() as slack, HttpReceiver() as pager, MailServer("pass word") as mail:
        settings = {
            "alert_webhook_url": hook.url,
            "alert_slack_url": slack.url,
            "alert_pagerduty_key": "k",
            "alert_pagerduty_url": pager.url,
            "alert_smtp_url": f"smtp://ann:pass%20word@127.0.0.1:{mail.port}",
            "alert_mail_from": "ops@corner.example",
            "alert_mail_to": "ann@corner.example, bob@corner.example",
        }
        with sending(path, **settings):
            store.observe(START, [missing()], START + HOUR)
            until(lambda: len(mail.messages) == len(hook.taken) == len(slack.taken) == len(pager.taken) == 1)
            store.observe(START + HOUR, [], START + 2 * HOUR)
            until(lambda: len(mail.messages) == len(hook.taken) == len(slack.taken) == 2 and len(pager.taken) == 3)
    assert [b["change"] for b in hook.bodies()] == ["opened", "closed"]
    assert [b["event_action"] for b in pager.bodies()] == ["trigger", "resolve", "resolve"]  # nothing is left of a storm, either
    assert "Over:" in slack.bodies()[1]["text"]
    assert mail.recipients[:2] == ["ann@corner.example", "bob@corner.example"]
    assert hook.headers[0]["Idempotency-Key"] == "corner-1"


@pytest.mark.parametrize("answer", [500, 429, 404, 302, "slow"])
def test_what_is_not_taken_is_told_again_and_nothing_waits_for_it(path: Path, store: IncidentStore, answer: int | str):
    with (
        HttpReceiver(answer) as hook,
        HttpReceiver() as slack,
        sending(path, alert_webhook_url=hook.url, alert_slack_url=slack.url),
    ):
        store.observe(START, [missing()], now_ms())
        until(lambda: reading.alerts_waiting(store.connection) and reading.alerts_waiting(store.connection)[0][3])
        until(slack.bodies)
        ((name, count, _, error),) = reading.alerts_waiting(store.connection)
        assert (name, count) == ("webhook", 1)
        assert error == {302: "answered 302: redirects are not followed", "slow": "no answer in time"}.get(
            answer, f"answered {answer}"
        )
        all_due_now(store)
        until(lambda: reading.alerts_waiting(store.connection) == [])
    assert [one["path"] for one in hook.taken] == ["/hook", "/hook"]
    assert hook.headers[0]["Idempotency-Key"] == hook.headers[1]["Idempotency-Key"]


def test_an_end_is_not_told_before_its_beginning(path: Path, store: IncidentStore):
    with HttpReceiver(500) as hook, sending(path, alert_webhook_url=hook.url):
        store.observe(START, [missing()], now_ms())
        until(lambda: hook.taken)
        store.observe(START + HOUR, [missing("brand", APP)], now_ms())  # closes the first, opens another
        until(lambda: hook.bodies())
        assert [b["incident"]["series"]["name"] for b in hook.bodies()] == ["brand"]
        all_due_now(store)
        until(lambda: len(hook.bodies()) == 3)
    assert [b["change"] for b in hook.bodies() if b["incident"]["series"]["name"] == "country"] == ["opened", "closed"]


def test_what_was_told_by_one_that_was_killed_is_told_by_the_next(path: Path, store: IncidentStore):
    at = now_ms()
    with transaction(store.connection):
        outbox.enlist(store.connection, "webhook", at)
    store.observe(START, [missing()], at)
    with transaction(store.connection):  # it is leased, and then the process is gone
        assert outbox.claim(store.connection, "webhook", at) is not None
        assert outbox.claim(store.connection, "webhook", at + outbox.LEASE_MS - 1) is None
        assert outbox.claim(store.connection, "webhook", at + outbox.LEASE_MS) is not None


def test_a_new_receiver_is_told_what_is_open_and_not_what_was(path: Path, store: IncidentStore):
    store.observe(START, [missing("brand", APP)], now_ms())
    store.observe(START + HOUR, [missing()], now_ms())
    with HttpReceiver() as hook, sending(path, alert_webhook_url=hook.url):
        until(lambda: hook.bodies())
    assert [b["incident"]["series"]["name"] for b in hook.bodies()] == ["country"]


def test_the_wait_doubles_up_to_ten_minutes_and_ends_after_three_days(store: IncidentStore):
    db, at = store.connection, START
    with transaction(db):
        outbox.enlist(db, "webhook", at)
    store.observe(START, [missing()], at)
    waits = []
    for _ in range(10):
        with transaction(db):
            task = outbox.claim(db, "webhook", at)
            assert task is not None
            outbox.failed(db, task, at, "no answer")
        (due,) = db.execute("SELECT due_ms FROM deliveries").fetchone()
        waits.append((due - at) // 1000)
        at = due
    assert waits == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]
    with transaction(db):
        task = outbox.claim(db, "webhook", START + outbox.PATIENCE_MS + 1)
        assert task is not None
        outbox.failed(db, task, START + outbox.PATIENCE_MS + 1, "no answer")
    assert outbox.is_idle(db, "webhook", START + 2 * outbox.PATIENCE_MS)


def test_a_clock_set_back_by_a_day_does_not_hold_alerts_back(store: IncidentStore):
    db = store.connection
    with transaction(db):
        outbox.enlist(db, "webhook", START)
    store.observe(START, [missing()], START)
    with transaction(db):
        assert outbox.claim(db, "webhook", START + 86_400_000) is not None
        assert outbox.claim(db, "webhook", START) is not None


def test_nobody_listens(path: Path, store: IncidentStore, caplog: pytest.LogCaptureFixture):
    with HttpReceiver() as gone:
        url = gone.url
    with caplog.at_level(logging.INFO), sending(path, alert_webhook_url=f"{url}/secret"):
        store.observe(START, [missing()], now_ms())
        until(lambda: reading.alerts_waiting(store.connection) and reading.alerts_waiting(store.connection)[0][3])
    assert "will be tried again: no answer" in caplog.text
    assert "secret" not in caplog.text + reading.alerts_waiting(store.connection)[0][3]


@pytest.mark.parametrize(
    ("server", "url", "why"),
    [
        ({"password": "right"}, "smtp://ann:wrong@127.0.0.1:{port}", "535 wrong password"),
        ({"refused": "ann"}, "smtp://127.0.0.1:{port}", "refused for 1 of the recipients"),
        ({"drips": True}, "smtp://127.0.0.1:{port}", "SMTPServerDisconnected|SMTPConnectError"),
    ],
    ids=["password", "recipient", "a-letter-at-a-time"],
)
def test_a_mail_that_is_not_taken_says_why(store: IncidentStore, server: dict[str, Any], url: str, why: str):
    store.observe(START, [missing()], START)
    message = formats.email(alert(store), "ops@corner.example", "ann@corner.example")
    with MailServer(**server) as mail, pytest.raises(Undelivered, match=why) as refused:
        send_mail(url.format(port=mail.port), message, 0.4)
    assert "wrong@" not in str(refused.value)


def test_a_receiver_can_be_tried(path: Path):
    with HttpReceiver() as hook, HttpReceiver() as pager, HttpReceiver(403) as slack:
        settings = AlertSettings(  # type: ignore[call-arg]
            alert_webhook_url=hook.url,
            alert_slack_url=f"{slack.url}/secret",
            alert_pagerduty_key="k",
            alert_pagerduty_url=pager.url,
        )  # type: ignore[arg-type]
        tried = asyncio.run(try_receivers(settings, "corner", "EUR", START))
    assert tried == [("webhook", ""), ("slack", "answered 403"), ("pagerduty", "")]
    assert hook.bodies()[0]["headline"] == "Test: alerts arrive, and nothing is wrong (cost unknown)"
    assert [b["event_action"] for b in pager.bodies()] == ["trigger", "resolve"]  # it pages, and leaves nothing open
    assert not path.exists()
