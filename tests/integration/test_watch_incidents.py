"""From the archive to the person on call: a release promises more clicks than come, and the incident says what that costs."""

import random
from contextlib import closing
from pathlib import Path

from log_entries import decision, slot
from watched_archive import BEGIN_MS, HOUR_MS, WatchedArchive

from monitoring.incidents import INCIDENTS, Keeper, Objectives, incidents_path
from monitoring.incidents.alerts import AlertSettings

HOURS, PAGES = 12, 110
PROMISED, TRUE, PRICE = 0.3, 0.1, 250_000


def test_a_release_that_promises_too_much_is_an_incident_with_its_cost(tmp_path: Path) -> None:
    archive, rng = WatchedArchive(tmp_path), random.Random(11)
    for hour in range(HOURS):
        for i in range(PAGES):
            name, at_ms = f"{hour}-{i}", BEGIN_MS + hour * HOUR_MS + rng.randrange(HOUR_MS)
            shown = slot(name, probability={"ctr": PROMISED, "cvr": 0.2}, price_micros=PRICE)
            archive.decides(decision(name, at_ms, shown, release="7"))
            archive.happens("impression", name, at_ms + 900)
            if rng.random() < TRUE:
                archive.happens("click", name, at_ms + 5_000, status="settled", charged_micros=PRICE)
        archive.write((hour + 1) * HOUR_MS)
    keeper = Keeper(tmp_path, "corner", "EUR", HOUR_MS, AlertSettings(), Objectives())
    keeper.start()
    try:
        archive.watched(keeper)
    finally:
        keeper.stop()
    with closing(INCIDENTS.open_to_read(incidents_path(tmp_path))) as db:
        opened = db.execute("SELECT kind, series_name, size, cost_micros_per_day FROM incidents").fetchall()
    ((kind, task, pcoc, cost_micros),) = opened
    assert (kind, task) == ("calibration", "ctr")
    # 110 pages an hour at (0.3 - 0.1) * 0.25 a click: 132 a day, as far as the clicks of one hour tell it.
    a_day = 24 * PAGES * (PROMISED - TRUE) * PRICE
    assert 0.7 * a_day < cost_micros < 1.3 * a_day
    assert 2 < pcoc < 5
