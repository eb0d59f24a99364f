"""`make bench-pacing`: who keeps campaigns to their plan, ends them with their budgets spent, and has the most for the money?

Seeds from 101 on are for tuning; 1 to 5 report.
"""

import argparse
import dataclasses
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.pacing.controllers import CONTROLLERS
from benchmarks.pacing.days import CAMPAIGNS, DAYS, PAGES, Row, simulate


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-pacing ARGS=", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="markets (default 5)")
    parser.add_argument("--first-seed", type=int, default=1, help="of them (default 1)")
    parser.add_argument("--only", choices=CONTROLLERS, action="append", help="one controller; may be given again (default: all)")
    parser.add_argument("--days", type=int, default=DAYS, help=f"the first of which counts nowhere (default {DAYS})")
    parser.add_argument("--campaigns", type=int, default=CAMPAIGNS, help=f"that compete (default {CAMPAIGNS})")
    parser.add_argument("--pages", type=int, default=PAGES, help=f"of an average day (default {PAGES})")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    given = parser.parse_args()
    if given.seeds < 1 or given.days < 2 or given.campaigns < 2 or given.pages < 1:
        parser.error("expected a seed, two days, two campaigns and a page at least")
    began, rows = time.monotonic(), []
    numbers = range(given.first_seed, given.first_seed + given.seeds)
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with ProcessPoolExecutor(min(os.cpu_count() or 1, given.seeds), mp_context=get_context("spawn")) as pool:
        asked = given.only or list(CONTROLLERS), given.days, given.campaigns, given.pages
        working = {pool.submit(simulate, seed, *asked): seed for seed in numbers}
        for done in as_completed(working):
            rows += done.result()
            print(f"{time.monotonic() - began:5.0f} s  seed {working[done]}", file=sys.stderr, flush=True)
    rows.sort(key=lambda r: (list(CONTROLLERS).index(r.controller), r.seed))
    Console(width=None if sys.stdout.isatty() else 150).print(table(rows))
    if given.json:
        given.json.write_bytes(orjson.dumps([dataclasses.asdict(r) for r in rows], option=orjson.OPT_INDENT_2) + b"\n")


def table(rows: list[Row]) -> Table:
    """Each controller over its seeds: the worst of what is to be small, the mean of the rest."""
    shown = Table(
        "controller", "worst end", "of views and clicks", "within 1 %", "median off plan", "over", "value to optimum", "value",
        box=None, pad_edge=False,
    )  # fmt: skip
    for name in dict.fromkeys(r.controller for r in rows):
        of = [r for r in rows if r.controller == name]
        least = min(r.value_to_optimum for r in of)
        shown.add_row(
            name,
            f"{max(r.worst_end_error for r in of):.1%}",
            f"{max(r.worst_end_error_by_click_or_view for r in of):.1%}",
            f"{np.mean([r.ends_within_1_percent for r in of]):.1%}",
            f"{max(r.median_plan_error for r in of):.1%}",
            f"{max(r.overspent_micros for r in of)}",
            f"{np.mean([r.value_to_optimum for r in of]):.1%} (least {least:.1%})",
            f"{np.mean([r.value_micros for r in of]) / 1e6:,.0f}",
        )
    return shown


if __name__ == "__main__":
    main()
