"""Incidents through kills: a watch that dies in the middle of its hours, again and again, loses nothing, tells nothing twice."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from found import HOUR, START, missing

from monitoring.incidents import Habits, IncidentStore, State, incidents_path, reading
from monitoring.summaries import Slice

HOURS = 40
WATCH = """
import sys
from pathlib import Path
from found import HOUR, START, missing
from monitoring.incidents import Habits, IncidentStore, incidents_path
from monitoring.summaries import Slice

store = IncidentStore(incidents_path(Path(sys.argv[1])), Habits(HOUR, quiet_hours=3))
(known,) = store.connection.execute("SELECT coalesce(max(hour_ms), 0) FROM hours").fetchone()
begin = max((known - START) // HOUR, 0)  # the last hour again: nobody knows whether it was told of
for hour in range(begin, int(sys.argv[2])):
    found = [missing(of=Slice("app_version", str(i)), cost_micros_per_day=hour + i) for i in range(5) if (hour // 8 + i) % 3]
    store.observe(START + hour * HOUR, found, START + (hour + 1) * HOUR, streams=5)
    print(hour, flush=True)
"""


def test_a_watch_killed_in_the_middle_goes_on_as_if_nothing_was(tmp_path: Path) -> None:
    paths = str(Path(__file__).parents[1] / "support")
    rng = random.Random(1)
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {paths!r})\n{WATCH}"]
    subprocess.run([*command, str(undisturbed), str(HOURS)], check=True, stdout=subprocess.DEVNULL)
    kills = 0
    while True:
        process = subprocess.Popen([*command, str(killed), str(HOURS)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()  # it has done an hour, and is in the middle of another
        time.sleep(rng.uniform(0, 0.12))
        process.send_signal(signal.SIGKILL)
        process.stdout.close()
        if process.wait() == 0:
            break
        kills += 1
        page = IncidentStore(incidents_path(killed), Habits(HOUR, quiet_hours=3))
        assert page.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        page.close_file()
        if page_done(killed):
            break
    assert kills > 0
    assert told(killed) == told(undisturbed)


def page_done(log_dir: Path) -> bool:
    store = IncidentStore(incidents_path(log_dir))
    watched = reading.watched(store.connection)
    store.close_file()
    return watched is not None and watched.hour_ms == START + (HOURS - 1) * HOUR


def told(log_dir: Path) -> list[tuple[object, ...]]:
    store = IncidentStore(incidents_path(log_dir))
    query = "SELECT slice_value, change, at_ms FROM history JOIN incidents ON id = incident_id ORDER BY slice_value, seq"
    found = store.connection.execute(query).fetchall()
    store.close_file()
    return found


def test_the_page_acts_while_the_watch_writes(tmp_path: Path) -> None:
    watch = IncidentStore(incidents_path(tmp_path), Habits(HOUR))
    watch.observe(START, [missing(of=Slice("app_version", "4.2.0"))], START)
    (incident,) = reading.live_incidents(watch.connection)
    page = IncidentStore(incidents_path(tmp_path))
    for hour in range(1, 30):
        watch.observe(START + hour * HOUR, [missing(of=Slice("app_version", "4.2.0"))], START)
        page.silence(incident.id, START + 40 * HOUR, "ann", START + hour * HOUR)
    assert reading.live_incidents(page.connection)[0].state is State.SILENCED
    page.close_file()
    watch.close_file()
