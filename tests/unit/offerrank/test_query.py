"""`offerrank query` reads the archive, and does nothing else."""

import pytest
from log_entries import decision, slot
from typer.testing import CliRunner
from watched_archive import BEGIN_MS, HOUR_MS, WatchedArchive

from offerrank.cli import app


@pytest.fixture
def log_dir(tmp_path):
    archive = WatchedArchive(tmp_path / "it's a log")
    archive.decides(decision("a", BEGIN_MS, slot("i"), slot("j", "red")))
    archive.decides(decision("b", BEGIN_MS + HOUR_MS, release="7"))
    archive.happens("click", "i", BEGIN_MS + 5)
    archive.write(HOUR_MS)
    archive.write(2 * HOUR_MS)
    return archive.log_dir


def ask(sql, log_dir, *options):
    return CliRunner().invoke(app, ["query", sql, "--log-dir", str(log_dir), *options])


def test_decisions_and_events_are_tables(log_dir):
    done = ask("SELECT release, features.country, len(slots) AS slots FROM decisions ORDER BY time_ms", log_dir)
    assert done.exit_code == 0
    lines = [line.split() for line in done.stdout.strip().splitlines()]
    assert (lines[0], lines[2:]) == (["release", "country", "slots"], [["cold-start", "DE", "2"], ["7", "DE", "0"]])


def test_slots_join_with_what_came_of_them_and_hours_are_a_column(log_dir):
    sql = """
        SELECT hour, slot.campaign_id, type FROM (SELECT hour, unnest(slots) AS slot FROM decisions) AS shown
        LEFT JOIN (SELECT impression_id, type FROM events) AS happened ON happened.impression_id = slot.impression_id ORDER BY 2
    """
    done = ask(sql, log_dir, "--json")
    assert done.stdout.splitlines() == [
        '{"hour":"2024-10-04T00","campaign_id":"tea","type":"click"}',
        '{"hour":"2024-10-04T00","campaign_id":"wine","type":null}',
    ]


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("COPY (SELECT 1) TO 'x.csv'", "the archive is only read"),
        ("CREATE TABLE t AS SELECT 1", "the archive is only read"),
        ("SELECT 1; SELECT 2", "the archive is only read"),
        ("SELECT * FROM read_csv('/etc/hostname')", "disabled by configuration"),
        ("SELECT nothing FROM decisions", "nothing"),
        ("SELEC 1", "syntax error"),
    ],
)
def test_what_is_no_question_is_refused(log_dir, sql, says):
    done = ask(sql, log_dir)
    assert done.exit_code == 2
    assert says in done.stderr
    assert sorted(p.name for p in log_dir.iterdir()) == ["decisions", "events"]


def test_an_empty_archive_is_named(tmp_path):
    done = ask("SELECT 1", tmp_path)
    assert (done.exit_code, "found no part" in done.stderr) == (2, True)
