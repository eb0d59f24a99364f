"""What a watch would have written of a corner market: statistics of some days, and incidents of the last, calm or not."""

from pathlib import Path

import numpy as np
from found import HOUR, Found, missing

from monitoring.incidents import Habits, IncidentStore, incidents_path, reading
from monitoring.summaries import ALL, FLOW, Calibration, Flows, Numbers, Series, Slice, Summary, Values
from monitoring.watch import MonitorStore
from monitoring.watch.slicing import Tally

APP = Slice("app_version", "4.2.0")
COUNTRY, AMOUNT, CTR = Series("feature", "country"), Series("feature", "amount"), Series("calibration", "ctr")
RELEASE = "1700000010"
EVIL = '<img src=x onerror="document.title=1">'


def know(log_dir: Path, now_ms: int, days: int = 8, alarming: bool = False) -> None:
    """Statistics of so many days; where it is alarming, country is missing in one app version for the last ten hours."""
    rng = np.random.default_rng(1)
    last = now_ms // HOUR * HOUR - HOUR
    store = MonitorStore.to_write(log_dir)
    with store.writing():
        store.add_baseline(RELEASE, {COUNTRY: Values(500, 5, 0, {"DE": 300, "NL": 195}, 0)}, "")
        for at in range(last - (24 * days - 1) * HOUR, last + 1, HOUR):
            broken = alarming and at > last - 10 * HOUR
            tally = Tally()
            tally.by[at, RELEASE] = _hour(rng, 200, broken)
            store.add_pages(at, 200, 1.0)
            store.reach(at, 3)
            store.merge(tally)
    store.close()
    incidents = IncidentStore(incidents_path(log_dir), Habits(HOUR))
    for at in range(last - 11 * HOUR, last + 1, HOUR):
        incidents.observe(at, _found(last) if alarming and at > last - 10 * HOUR else [], at + HOUR, streams=40)
    incidents.close_file()


def dearest(log_dir: Path) -> str:
    """Id of the incident that costs most."""
    store = IncidentStore(incidents_path(log_dir))
    found = reading.live_incidents(store.connection)[0].id
    store.close_file()
    return found


def _found(last: int) -> list[Found]:
    since = last - 9 * HOUR
    country = missing(
        "country", APP, size=0.9, usual=0.01, since_ms=since, cost_micros_per_day=412_350_000, detail={"rows": 40.0}
    )
    evil = Found("new_value", AMOUNT, Slice("partner", EVIL), EVIL, since, 0.2, 0.0, 9.0, 1_000_000, {EVIL: EVIL})
    wrong = Found("calibration", CTR, Slice("campaign", "wine"), RELEASE, since, 1.4, 1.0, 7.0, 38_120_000)
    return [country, evil, wrong]


def _hour(rng: np.random.Generator, rows: int, broken: bool) -> dict[tuple[Slice, Series], Summary]:
    said: dict[tuple[Slice, Series], Summary] = {}
    for where, n, gone in ((ALL, rows, 0.2 if broken else 0.01), (APP, rows // 5, 0.9 if broken else 0.01)):
        there = int(n * (1 - gone))
        said[where, COUNTRY] = Values(
            n, n - there, 0, {"DE": there - there // 3, "NL": there // 3} | ({EVIL: 1} if broken else {}), 0
        )
        said[where, AMOUNT] = Numbers.of(np.round(rng.lognormal(3, 0.7, n), 2))
    p = rng.uniform(0.01, 0.2, rows)
    said[ALL, Series("probability", "ctr")] = Numbers.of(p)
    said[ALL, CTR] = Calibration.of(p, (rng.random(rows) < p).astype(int), np.full(rows, 250_000))
    wrong = Calibration.of(p, (rng.random(rows) < p / 2).astype(int), np.full(rows, 250_000))
    said[Slice("campaign", "wine"), CTR] = wrong
    sold = {"bid_micros": 40_000_000, "price_micros": 30_000_000, "charged_micros": 1_250_000}
    said[Slice("campaign", "wine"), FLOW] = Flows({"filled": rows // 4, "impressions": rows // 4, "clicks": 5, **sold})
    said[ALL, FLOW] = Flows(
        {"pages": rows, "wanted": 2 * rows, "filled": rows, "impressions": rows, "clicks": 20, "charged_micros": 5_000_000}
    )
    return said
