"""Memory and time of the join of the log, by its length: `python -m benchmarks.join --slots 200000 2000000`; two minutes.

Hours of the confirmation market with a part a minute, 20,000 sold slots each; one in twenty is clicked, one in ten of those
converts, days later. Each length has a process of its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.log_archive import DECISIONS, EVENTS, Archived, StreamId, part_path
from features.log_schema import decision_schema, event_schema
from features.market import Market, load_market
from pipelines.examples import write_training_rows
from pipelines.recording import peak_bytes

MARKET = Path(__file__).resolve().parents[1] / "examples" / "confirmation" / "market.toml"
SLOTS_PER_PAGE, SLOTS_PER_HOUR, PARTS_PER_HOUR = 2, 20_000, 60
HOUR_MS = 3_600_000
BEGIN_MS = 490_000 * HOUR_MS
CLICKED, CONVERTED = 0.05, 0.1


def main() -> None:
    """Prints a row per length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, nargs="+", default=[200_000, 2_000_000])
    parser.add_argument("--archive", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.archive is not None:
        print(json.dumps(measured(args.archive)))
        return
    print(f"{'slots':>10} {'hours':>6} {'rows':>10} {'clicks':>8} {'conversions':>12} {'seconds':>8} {'peak MB':>8}")
    for slots in args.slots:
        with tempfile.TemporaryDirectory() as folder:
            write_archive(load_market(MARKET), Path(folder) / "log", slots)
            command = [sys.executable, "-m", "benchmarks.join", "--archive", folder]
            found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        hours = slots // SLOTS_PER_HOUR
        numbers = f"{found['rows']:>10,} {found['clicks']:>8,} {found['conversions']:>12,} {found['seconds']:>8.1f}"
        print(f"{slots:>10,} {hours:>6} {numbers} {found['peak_mb']:>8.0f}", flush=True)


def measured(folder: Path) -> dict[str, float]:
    """Of one join, with all that the process holds besides."""
    market = load_market(MARKET)
    began_s = time.monotonic()
    report = write_training_rows(market, folder / "log", BEGIN_MS + 10_000 * HOUR_MS, folder / "rows.parquet")
    seconds = time.monotonic() - began_s
    peak_mb = peak_bytes() / 2**20
    return {
        "rows": report.rows,
        "clicks": report.clicks,
        "conversions": report.conversions,
        "seconds": seconds,
        "peak_mb": peak_mb,
    }


def write_archive(market: Market, log_dir: Path, slots: int) -> None:
    """Decisions and events, and a part of each at the end from which on all labels are final."""
    rng = np.random.default_rng(1)
    pages = SLOTS_PER_HOUR // SLOTS_PER_PAGE // PARTS_PER_HOUR
    minutes = -(-slots // (pages * SLOTS_PER_PAGE))
    windows_ms = 1000 * (market.training.click_window_s + market.training.conversion_window_s)
    events: list[pa.Table] = []
    for minute in range(minutes):
        at_ms = BEGIN_MS + minute * HOUR_MS // PARTS_PER_HOUR + np.arange(pages) * 100
        decision_id = np.char.add("d", (minute * pages + np.arange(pages)).astype(str))
        _write(log_dir, DECISIONS, minute + 1, _decisions(market, decision_id, at_ms, rng))
        shown_ms = np.repeat(at_ms, SLOTS_PER_PAGE)
        shown = np.char.add(np.repeat(decision_id, SLOTS_PER_PAGE), np.tile(["-0", "-1"], pages))
        clicked = rng.random(len(shown)) < CLICKED
        converts = clicked & (rng.random(len(shown)) < CONVERTED)
        later_ms = rng.integers(0, windows_ms // 2, len(shown))
        for kind, mask, ms in (
            ("impression", clicked | True, 500),
            ("click", clicked, 9_000),
            ("conversion", converts, later_ms),
        ):
            events.append(_events(kind, shown[mask], (shown_ms + ms)[mask]))
    log = pa.concat_tables(events)
    log = log.take(pa.array(np.argsort(log["time_ms"].to_numpy(), kind="stable")))
    ends = np.linspace(0, len(log), minutes + 1).astype(int).tolist()
    for number, (first, end) in enumerate(pairwise(ends), 1):
        _write(log_dir, EVENTS, number, log.slice(first, end - first))
    end_ms = np.array([BEGIN_MS + minutes * HOUR_MS // PARTS_PER_HOUR + 2 * windows_ms])
    _write(log_dir, DECISIONS, minutes + 1, _decisions(market, np.array(["last"]), end_ms, rng))
    _write(log_dir, EVENTS, minutes + 1, _events("dismiss", np.array(["none"]), end_ms))


def _decisions(market: Market, decision_id: np.ndarray, at_ms: np.ndarray, rng: np.random.Generator) -> pa.Table:
    pages, sold = len(at_ms), len(at_ms) * SLOTS_PER_PAGE
    requests = pa.StructArray.from_arrays(
        [_values(market, f.name, pages, rng) for f in market.request_features], [f.name for f in market.request_features]
    )
    offers = pa.StructArray.from_arrays(
        [_values(market, f.name, sold, rng) for f in market.offer_features], [f.name for f in market.offer_features]
    )
    slots = {
        "position": pa.array(np.tile(np.arange(SLOTS_PER_PAGE), pages).astype(np.int32)),
        "placement": pa.array(np.full(sold, market.placements[0].name)),
        "impression_id": pa.array(np.char.add(np.repeat(decision_id, SLOTS_PER_PAGE), np.tile(["-0", "-1"], pages))),
        "propensity": pa.array(np.full(sold, 0.9)),
        "features": offers,
    }
    listed = pa.StructArray.from_arrays(list(slots.values()), list(slots))
    offsets = pa.array(np.arange(pages + 1) * SLOTS_PER_PAGE, pa.int32())
    columns = {
        "decision_id": pa.array(decision_id),
        "time_ms": pa.array(at_ms),
        "shopper_key": pa.array(decision_id),
        "features": requests,
        "slots": pa.ListArray.from_arrays(offsets, listed),
        "explored": pa.array(rng.random(pages) < 0.05),
    }
    assert set(columns) <= set(decision_schema(market).names)
    return pa.table(columns)


def _values(market: Market, name: str, rows: int, rng: np.random.Generator) -> pa.Array:
    """Values of a feature as it is logged; the market has none with several."""
    spec = next(f for f in market.features if f.name == name)
    numbers = rng.integers(0, 50, rows)
    if spec.dtype == "string":
        return pa.array(np.char.add("value", numbers.astype(str)))
    return pa.array(numbers.astype(np.int64 if spec.dtype == "int" else np.float32))


def _events(kind: str, impression_id: np.ndarray, at_ms: np.ndarray) -> pa.Table:
    columns = {"type": np.full(len(at_ms), kind), "status": np.full(len(at_ms), "logged"), "impression_id": impression_id}
    columns["time_ms"] = at_ms.astype(np.int64)
    assert set(columns) <= set(event_schema().names)
    return pa.table({name: pa.array(column) for name, column in columns.items()})


def _write(log_dir: Path, log: str, number: int, table: pa.Table) -> None:
    times = table["time_ms"].to_numpy()
    path = part_path(log_dir, log, number, int(times.min()), int(times.max()))
    path.parent.mkdir(parents=True, exist_ok=True)
    last = StreamId(int(times.max()), 0)
    metadata = Archived(number, {0: last}, last.ms).metadata()
    pq.write_table(table.replace_schema_metadata(metadata), path, compression="zstd")


if __name__ == "__main__":
    main()
