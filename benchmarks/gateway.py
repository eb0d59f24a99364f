"""`make bench`: what a decision costs, end to end, on this machine.

Starts Redis, gateway, pacer, archiver and model server as `offerrank serve` does, on a market of 10,000 offers of which 100 are
ranked per decision, by a release that the real pipeline trained. All share the machine, the load generator included.
"""

import argparse
import asyncio
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psutil
import redis
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import against
from benchmarks.bench_release import KEPT, SEED, bench_release
from benchmarks.load import Load
from domain.keys import Keys
from features.assemble import OfferColumns, assemble
from features.log_entry import decision_json
from features.market import Market
from offerrank.processes import Supervisor
from offerrank.stack import Plan, Stack
from serving.gateway.adapters.model_client import ModelClient
from simulation.client import decision_request
from simulation.shoppers import Shoppers
from store.key_records import Role

WARM_UP_S = 5.0
CANDIDATES = 100
PREDICTS = 400
BODIES = 2000


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench ARGS=", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--rate", type=float, help="decisions per second (default 100)")
    parser.add_argument("--seconds", type=float, default=30, help="how long it is measured (default 30)")
    parser.add_argument("--offers", type=int, default=10_000, help="size of the catalogue (default 10000)")
    parser.add_argument("--maximum-seconds", type=float, default=5, help="how long the most is measured; 0 for not (default 5)")
    parser.add_argument("--monitor", action="store_true", help="with watch and page, which only read")
    parser.add_argument("--against", metavar="REV", help="CPU per decision beside that of another commit, both at once, at 40/s")
    parser.add_argument("--pairs", type=int, default=4, help="how often both are measured (default 4)")
    given = parser.parse_args()
    given.rate = given.rate if given.rate is not None else 40 if given.against else 100
    if given.rate <= 0 or given.seconds <= 0 or given.offers < 200 or given.pairs < 1:
        parser.error("rate, seconds and pairs must be positive, offers at least 200")
    print("making or finding the release (some 90 s the first time)", file=sys.stderr, flush=True)
    if given.against:
        found = against.against(given.against, against.Load(given.rate, given.seconds, given.offers), given.pairs)
        against.report(_console(), found)
        return _write(given.json, found)
    market_path, releases, market = bench_release(given.offers)
    numbers = measure(market_path, releases, market, given.rate, given.seconds, given.maximum_seconds, watched=given.monitor)
    report(_console(), numbers)
    _write(given.json, numbers)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 100)


def _write(path: Path | None, numbers: dict[str, Any]) -> None:
    if path:
        path.write_bytes(orjson.dumps(numbers, option=orjson.OPT_INDENT_2) + b"\n")


def measure(
    market_path: Path, releases: Path, market: Market, rate: float, seconds: float, maximum_s: float, *, watched: bool = False
) -> dict[str, Any]:
    """Everything `make bench` prints, as plain values."""
    run_dir = KEPT / f"run-{time.time_ns()}"
    plan = Plan.of(market_path, run_dir, releases)
    try:
        with Supervisor(run_dir, lambda line: print(line, file=sys.stderr)) as supervisor:
            stack = Stack(plan, supervisor)
            stack.start_serving()
            stack.start_writers()
            if watched:
                stack.start_watching()
            stack.start_model_server()
            _wait_for_release(stack)
            bodies = run_dir / "bodies"
            bodies.write_bytes(b"\n".join(_bodies(market)))
            address = ["127.0.0.1", str(plan.gateway_port), stack.keys[Role.SERVER], str(bodies)]
            command = [sys.executable, "-m", "benchmarks.load", *address, *map(str, (rate, seconds, WARM_UP_S, maximum_s))]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as generator:
                assert generator.stdout is not None
                generator.stdout.readline()
                busy, machine = _cpu_s(supervisor), _machine_s()
                load = Load(**orjson.loads(generator.stdout.readline()))
                busy = {name: (used - busy[name]) / load.seconds for name, used in _cpu_s(supervisor).items()}
                others = (_machine_s() - machine) / load.seconds - sum(busy.values()) - load.cpu_share
                memory = _memory_mb(supervisor)
                stages = _stages(stack, market, round(rate * seconds))
                most = orjson.loads(generator.stdout.readline())
            predict = asyncio.run(_predict_ms(stack, market))
    finally:
        shutil.rmtree(run_dir, ignore_errors=True)
    if not load.latency_ms:
        sys.exit(f"not one of {load.errors} requests was answered with success")
    p50, p95, p99 = np.percentile(load.latency_ms, [50, 95, 99])
    predict_p50 = float(np.median(predict))
    numbers = {
        "rate": rate,
        "decisions_per_s": round(len(load.latency_ms) / load.seconds, 2),
        "p50_ms": round(float(p50), 2),
        "p95_ms": round(float(p95), 2),
        "p99_ms": round(float(p99), 2),
        "max_ms": round(max(load.latency_ms), 2),
        "errors": load.errors,
        "degraded": load.degraded,
        "predict_p50_ms": round(predict_p50, 2),
        "predict_p99_ms": round(float(np.percentile(predict, 99)), 2),
        "p50_to_predict_p50": round(float(p50) / predict_p50, 2),
        "stages": stages,
        "memory_mb": memory,
        "cpu_share": {name: round(share, 3) for name, share in busy.items()}
        | {"load generator": round(load.cpu_share, 3), "everything else": round(max(others, 0.0), 3)},
        "maximum_decisions_per_s": round(len(most["latency_ms"]) / most["seconds"], 1) if most else None,
        "offers": len(market.offers),
        "candidates": CANDIDATES,
        "cores": psutil.cpu_count(),
    }
    cpu_ms = {name: round(ms, 3) for name, ms in against.cpu_ms(numbers).items()}
    return numbers | {"cpu_ms_per_decision": cpu_ms.pop("all"), "cpu_ms": cpu_ms}


def report(console: Console, numbers: dict[str, Any]) -> None:
    """The same as one table."""
    table = Table(
        box=box.SIMPLE_HEAD, title=f"{numbers['offers']:,} offers, {numbers['candidates']} ranked", title_justify="left"
    )
    for name in ("", "", ""):
        table.add_column(name, justify="left" if not table.columns else "right", no_wrap=True)
    table.add_row("decisions per second", f"{numbers['decisions_per_s']:.1f}", f"of {numbers['rate']:.0f} sent")
    if numbers["maximum_decisions_per_s"]:
        table.add_row("  at most, 8 clients waiting", f"{numbers['maximum_decisions_per_s']:.1f}", "")
    for name in ("p50", "p95", "p99", "max"):
        table.add_row(f"latency {name}", f"{numbers[f'{name}_ms']:.2f} ms", "")
    table.add_row("CPU per decision, all processes", f"{numbers['cpu_ms_per_decision']:.2f} ms", "")
    table.add_row("errors", str(numbers["errors"]), "")
    table.add_row("degraded", str(numbers["degraded"]), "")
    table.add_row("model server alone, p50", f"{numbers['predict_p50_ms']:.2f} ms", f"p99 {numbers['predict_p99_ms']:.2f} ms")
    table.add_row("p50 to the model server's p50", f"{numbers['p50_to_predict_p50']:.2f}", "", end_section=True)
    for name, stage in numbers["stages"].items():
        table.add_row(f"stage {name}, p50", f"{stage['p50_ms']:.2f} ms", f"{stage['share']:.0%} of the time")
    table.add_section()
    for name, used in numbers["memory_mb"].items():
        table.add_row(f"memory {name}", f"{used:.0f} MB", f"{numbers['cpu_share'].get(name, 0):.0%} of a core")
    for name in ("load generator", "everything else"):
        table.add_row(name, "", f"{numbers['cpu_share'][name]:.0%} of a core")
    console.print(table)


def _wait_for_release(stack: Stack) -> None:
    deadline_s = time.monotonic() + 180
    while stack.active_release() is None:
        stack.supervisor.poll()
        if time.monotonic() > deadline_s:
            sys.exit(f"the gateway did not take up the release in 180 s; logs are in {stack.plan.run_dir / 'logs'}")
        time.sleep(0.2)


def _bodies(market: Market) -> list[bytes]:
    shoppers = Shoppers(market, SEED)
    placements = [{"name": p.name, "count": p.count} for p in market.placements]
    return [
        orjson.dumps(decision_request(shoppers.purchase(i, 40 * i), placements) | {"include_pricing": False})
        for i in range(BODIES)
    ]


def _cpu_s(supervisor: Supervisor) -> dict[str, float]:
    return {name: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in supervisor.pids().items()}


def _machine_s() -> float:
    """CPU seconds that all cores together have worked: tells whether somebody else was busy meanwhile."""
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0))


def _memory_mb(supervisor: Supervisor) -> dict[str, float]:
    return {name: round(psutil.Process(pid).memory_info().rss / 2**20, 1) for name, pid in supervisor.pids().items()}


def _stages(stack: Stack, market: Market, n: int) -> dict[str, dict[str, float]]:
    """Median and share of the total of each stage, from the newest n decision records."""
    took: dict[str, list[int]] = defaultdict(list)
    with redis.Redis.from_url(stack.redis.url) as client:
        for _, fields in client.xrevrange(Keys(market.name).decisions, count=n):
            decision = orjson.loads(decision_json(fields))
            for name, us in decision["stage_us"].items():
                took[name].append(us)
            took["rest"].append(decision["total_us"] - sum(decision["stage_us"].values()))
    whole = sum(map(sum, took.values()))
    return {
        name: {"p50_ms": round(float(np.median(us)) / 1000, 3), "share": round(sum(us) / whole, 4)} for name, us in took.items()
    }


async def _predict_ms(stack: Stack, market: Market) -> list[float]:
    """Predict calls of the size a decision makes, one after the other, with nobody else asking."""
    client = ModelClient(f"127.0.0.1:{stack.plan.model_grpc_port}")
    columns, shoppers = OfferColumns.of(market), Shoppers(market, SEED)
    rng = np.random.default_rng(SEED)
    took: list[float] = []
    for i in range(PREDICTS + 50):
        purchase = shoppers.purchase(i, 40 * i)
        offers = rng.choice(len(market.offers), CANDIDATES, replace=False).astype(np.int32)
        tensors = assemble(market, purchase.shopper | purchase.context, columns, offers)
        started_s = time.perf_counter()
        await client.predict("serving_default", None, tensors, 5.0)
        took.append((time.perf_counter() - started_s) * 1000)
    await client.close()
    return took[50:]


if __name__ == "__main__":
    main()
