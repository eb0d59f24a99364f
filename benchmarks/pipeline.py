"""`make bench-pipeline`: seconds and peak memory of each component of a training on rows of the confirmation market.

The rows, of three slots a page, are simulated first, which is not measured. Peak memory is that of the process that trains, Beam
and TensorFlow included, since the component began; what it held before counts. The model server of ServingCheck is its own.
Seconds of CPU say more than seconds where others use the machine.
"""

import argparse
import resource
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from features.market import Market, load_market
from pipelines.progress import Event, StepFinished, StepStarted
from pipelines.recording import forget_peak, peak_bytes
from pipelines.run_local import train
from simulation.advertisers import to_toml
from simulation.offline import OfflineMarket

MARKET = Path(__file__).parents[1] / "examples" / "confirmation" / "market.toml"
SEED, EPOCHS = 1, 3
PAGES_AT_ONCE = 10_000
ANY = {"min_auc": 0.0, "min_pcoc": 0.0, "max_pcoc": 100.0, "unjudged": "release"}
FEWEST = 10

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-pipeline ARGS=", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the log (default 100000)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key of [training], such as tfma=true")
    parser.add_argument("--json", type=Path, help="write the rows of the table to this file")
    given = parser.parse_args()
    changes = {key: orjson.loads(value) for key, _, value in (one.partition("=") for one in given.set)}
    with tempfile.TemporaryDirectory(prefix="offerrank-") as folder:
        market, rows = Path(folder) / "market.toml", Path(folder) / "rows.parquet"
        market.write_text(to_toml(benched(changes)), encoding="utf-8")
        write_rows(load_market(market), given.rows, rows)
        measured = measure(market, rows, Path(folder) / "releases")
    print("| component | seconds | of CPU | peak MB |\n| --- | --- | --- | --- |")
    for row in measured:
        print(f"| {row['component']} | {row['seconds']:.1f} | {row['cpu_seconds']:.1f} | {row['peak_mb']:,.0f} |")
    if given.json:
        given.json.write_bytes(orjson.dumps(measured, option=orjson.OPT_INDENT_2) + b"\n")


def benched(changes: dict[str, Any]) -> dict[str, Any]:
    """The confirmation market, three epochs however the loss goes, and no gate that a model could miss."""
    raw = tomllib.loads(MARKET.read_text(encoding="utf-8"))
    raw["model"] |= {"epochs": EPOCHS, "patience": EPOCHS}
    raw["training"] |= {"gates": {t["name"]: ANY for t in raw["tasks"]}, "min_rows": FEWEST} | changes
    return raw


def write_rows(market: Market, rows: int, path: Path) -> None:
    """Simulated pages, a block at a time; shoppers have a made-up history."""
    simulated, rng = OfflineMarket(market, SEED), np.random.default_rng(SEED)
    writer: Any = None
    hour = 0
    while rows > 0:
        log = simulated.hour(hour, PAGES_AT_ONCE)
        history = {f.name: rng.poisson(2, len(log)) for f in market.features if f.source == "history"}
        others = {"position": log.position, "click": log.click.astype(np.int64), "conversion": log.conversion.astype(np.int64)}
        table = pa.table({f.log_column: (log.features | history)[f.name] for f in market.features} | others)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table.slice(0, rows))
        rows, hour = rows - len(table), hour + 1
    writer.close()


def measure(market: Path, rows: Path, releases: Path) -> list[Row]:
    """A row for each step, in order, and one for all."""
    measured: list[Row] = []
    cpu_s = began_cpu_s = _cpu_s()

    def hear(event: Event) -> None:
        nonlocal cpu_s
        if isinstance(event, StepStarted):
            cpu_s = _cpu_s()
            forget_peak()
        elif isinstance(event, StepFinished):
            measured.append(_row(event.name, event.seconds, _cpu_s() - cpu_s, peak_bytes() / 1e6))

    began_s = time.monotonic()
    train(market, rows, releases, progress=hear)
    peak_mb = max(row["peak_mb"] for row in measured)
    return [*measured, _row("total", time.monotonic() - began_s, _cpu_s() - began_cpu_s, peak_mb)]


def _row(component: str, seconds: float, cpu_seconds: float, peak_mb: float) -> Row:
    return {"component": component, "seconds": round(seconds, 2), "cpu_seconds": round(cpu_seconds, 2), "peak_mb": round(peak_mb)}


def _cpu_s() -> float:
    """Of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


if __name__ == "__main__":
    main()
