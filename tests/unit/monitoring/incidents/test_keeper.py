"""What the watch is given: decisions in, incidents out, and a gateway that is looked at."""

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pyarrow as pa
import pytest
from found import HOUR, START, missing
from receivers import HttpReceiver

from monitoring.incidents import INCIDENTS, IncidentStore, Keeper, Objectives, incidents_path, reading
from monitoring.incidents.alerts import AlertSettings
from monitoring.incidents.looks import Looks, is_ready
from monitoring.incidents.minutes import kept_counts
from store.sqlite import FileDamaged

MINUTE = HOUR // 60


def decisions(minute: int, count: int, degraded: int) -> pa.Table:
    return pa.table(
        {
            "time_ms": [START + minute * MINUTE] * count,
            "total_us": [5_000] * count,
            "degraded": pa.array([["ranker"]] * degraded + [[]] * (count - degraded), pa.list_(pa.string())),
            "slots": pa.array([[{"a": 1}]] * count, pa.list_(pa.struct([("a", pa.int64())]))),
        }
    )


def test_what_the_log_says_becomes_an_incident_and_is_told(tmp_path: Path):
    with HttpReceiver() as hook:
        settings = AlertSettings(alert_webhook_url=hook.url)  # type: ignore[arg-type]
        keeper = Keeper(tmp_path, "corner", "EUR", HOUR, settings, Objectives())
        keeper.start()
        for minute in range(40):
            keeper.count(f"part-{minute}", decisions(minute, 10, 5), START + HOUR)
        keeper.turn(START + HOUR)
        keeper.observe(START, [missing()], START + HOUR, streams=7)
        deadline = time.monotonic() + 20
        while len(hook.bodies()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        keeper.stop()
    assert [b["incident"]["kind"] for b in hook.bodies()] == ["degraded", "missing"]
    assert hook.bodies()[0]["severity"] == "critical"


def test_damage_in_the_middle_of_the_file_is_found_at_the_start(tmp_path: Path):
    # Whoever starts the watch has it set aside; found only later, it would end the watch again after each start.
    keeper = Keeper(tmp_path, "corner", "EUR", HOUR, AlertSettings(), Objectives())
    keeper.start()
    keeper.observe(START, [missing()], START + HOUR, streams=7)
    keeper.stop()
    path = incidents_path(tmp_path)
    pages = bytearray(path.read_bytes())
    half = len(pages) // 2 // 4096 * 4096
    pages[half : half + 4096] = b"x" * 4096
    path.write_bytes(pages)
    with pytest.raises(FileDamaged, match="damaged"):
        Keeper(tmp_path, "corner", "EUR", HOUR, AlertSettings(), Objectives())


def test_a_quiet_log_is_no_incident(tmp_path: Path):
    keeper = Keeper(tmp_path, "corner", "EUR", HOUR, AlertSettings(), Objectives())
    keeper.start()
    keeper.turn(START)
    keeper.count("part-1", decisions(0, 1000, 0), START + HOUR)
    keeper.turn(START)
    keeper.stop()
    db = INCIDENTS.open_to_read(keeper.path)
    assert reading.live_incidents(db) == []
    db.close()


def test_a_gateway_that_is_not_ready_is_counted_as_bad(tmp_path: Path):
    answers = [200, 503, 200]

    class Gateway(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/readyz"
            self.send_response(answers.pop(0) if answers else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Gateway)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    assert [is_ready(f"{url}/readyz") for _ in range(3)] == [True, False, True]
    looks = Looks(incidents_path(tmp_path), url, 24 * HOUR)
    looks._minute_ms = 12_000  # a look a second
    looks.start()
    deadline = time.monotonic() + 20
    store = IncidentStore(incidents_path(tmp_path))
    while not kept_counts(store.connection):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    looks.stop()
    store.close_file()
    server.shutdown()
    thread.join()
    server.server_close()
    assert not is_ready(f"{url}/readyz")  # nobody listens any more
