"""Ten thousand campaigns: what gateway, pacer and Redis take for them, and whether pages still fill as their budgets end."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.adversary.market import Spec, market_toml
from benchmarks.adversary.outcome import Outcome
from benchmarks.adversary.row import Row
from benchmarks.adversary.running import Running, running
from benchmarks.adversary.shoppers import p50_ms, shopping

BUDGET_MICROS = 1_000_000
"""Two clicks or so of one campaign: those at the top end one after the other."""
MOST_OF_REDIS = 0.15
"""Of one core, while nobody asks: one gateway that looks twice a second, and a pacer that works four times as often as usual."""
MOST_MB = {"gateway": 400, "pacer": 250}
PROCESSES = ("redis", "gateway", "pacer")


def cases(folder: Path, *, short: bool) -> Iterator[Row]:
    """Three offers each."""
    count = 1000 if short else 10_000
    specs = [Spec(f"c{i}", 900_000 - 50 * i, budget_micros=BUDGET_MICROS, offers=3) for i in range(count)]
    with running(folder, market_toml(specs)) as case:
        yield _crowd(case, count, 2 if short else 10)


def _crowd(case: Running, count: int, seconds: float) -> Row:
    """So long nobody asks, and so long shoppers do."""
    idle = _shares(case, seconds)
    before = case.charged()
    with shopping(case, 3) as shoppers:
        case.wait(lambda: len(shoppers.clicked) > 100, "clicks")
        began = time.monotonic()
        time.sleep(seconds)
    pages = shoppers.between(began, time.monotonic())
    outcome = Outcome.of(case, shoppers, pages, before)
    megabytes = {name: psutil.Process(pid).memory_info().rss / 2**20 for name, pid in _pids(case).items()}
    light = idle["redis"] <= MOST_OF_REDIS and all(megabytes[name] <= most for name, most in MOST_MB.items())
    return outcome.row(
        f"{count:,} campaigns of three offers",
        ok=light and bool(pages),
        said=f"idle {_said(idle, '.0%')}; {_said(megabytes, '.0f')} MB; p50 of decisions {p50_ms(pages):.0f} ms",
    )


def _pids(case: Running) -> dict[str, int]:
    return {name: pid for name, pid in case.supervisor.pids().items() if name in PROCESSES}


def _shares(case: Running, seconds: float) -> dict[str, float]:
    """Of one core, by process, over some seconds."""
    processes = {name: psutil.Process(pid) for name, pid in _pids(case).items()}
    began = {name: _cpu_s(p) for name, p in processes.items()}
    time.sleep(seconds)
    return {name: (_cpu_s(p) - began[name]) / seconds for name, p in processes.items()}


def _cpu_s(process: psutil.Process) -> float:
    times: Any = process.cpu_times()
    return float(times.user + times.system)


def _said(values: dict[str, float], form: str) -> str:
    return ", ".join(f"{name} {value:{form}}" for name, value in values.items())
