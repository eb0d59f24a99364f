"""`make faults`: a simulated market is broken in twelve ways and three sizes; who notices, when, and what has it cost till then?

Seeds 1 to 5 are for tuning, 6 to 10 for reporting once.
"""

import argparse
import dataclasses
import os
import sys
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.faults.faults import FAULTS, SIZES
from benchmarks.faults.rows import Clean, Row, rows_of
from benchmarks.faults.runs import CLEAN_WEEKS, HISTORY_H, FaultRun, Watched, seed_runs

NONE = "none"
_FIGURES = ("hours to detection", "missed", "feature", "slice", "lost till then")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make faults ARGS=", description=__doc__)
    parser.add_argument("--only", choices=[*FAULTS, NONE], action="append", help="one fault; may be given again (default: all)")
    parser.add_argument("--sizes", choices=SIZES, nargs="+", default=list(SIZES), help="default: all three")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="markets (default: 1 2 3 4 5)")
    parser.add_argument("--weeks", type=int, default=CLEAN_WEEKS, help="healthy weeks of each (default 4)")
    parser.add_argument("--history", type=int, default=HISTORY_H // 24, help="days known before anything breaks (default 14)")
    parser.add_argument("--pages", type=int, default=1200, help="pages an hour on average (default 1200)")
    parser.add_argument("--ours", action="store_true", help="our detector alone, and no longer than until it has found")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    given = parser.parse_args()
    names = [name for name in given.only or FAULTS if name != NONE]
    weeks = given.weeks if not given.only or NONE in given.only else 0
    began = time.monotonic()
    rows: list[Row | Clean] = []
    runs: list[FaultRun] = []
    clean: dict[int, Watched] = {}
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(given.seeds)), mp_context=get_context("spawn")) as pool:
        asked = names, given.sizes, weeks, given.pages, 24 * given.history, not given.ours
        working = {pool.submit(seed_runs, seed, *asked): seed for seed in given.seeds}
        for done in as_completed(working):
            found, healthy = done.result()
            runs += found
            if healthy is not None:
                clean[working[done]] = healthy
            rows = rows_of(sorted(runs, key=lambda r: (list(FAULTS).index(r.fault), SIZES.index(r.size), r.seed)), clean)
            if given.json:  # after each seed, so that a run that is ended early has said something
                given.json.write_bytes(orjson.dumps([dataclasses.asdict(r) for r in rows], option=orjson.OPT_INDENT_2) + b"\n")
            print(f"{time.monotonic() - began:5.0f} s  seed {working[done]}: {len(found)} faults", file=sys.stderr, flush=True)
    console = Console(width=None if sys.stdout.isatty() else 170)
    if runs:
        console.print(table([r for r in rows if isinstance(r, Row)]))
        console.print(summary([r for r in rows if isinstance(r, Row)]))
    if clean:
        console.print(clean_table([r for r in rows if isinstance(r, Clean)]))


def table(rows: list[Row]) -> Table:
    """Ours, by fault and size."""
    shown = Table("fault", "size", *_FIGURES, box=None, pad_edge=False)
    shown.title, shown.title_justify = "OfferRank, by fault", "left"
    for (fault, size), group in _grouped([r for r in rows if r.detector == "offerrank"], "fault", "size").items():
        shown.add_row(fault, size, *_figures(group))
    return shown


def summary(rows: list[Row]) -> Table:
    """All detectors, by size."""
    shown = Table(
        "detector", "size", "hours to detection", "missed", "feature", "slice", "lost till then", box=None, pad_edge=False
    )
    shown.title, shown.title_justify = "All detectors, all faults", "left"
    for (detector, size), group in _grouped(rows, "detector", "size").items():
        shown.add_row(detector, size, *_figures(group))
    return shown


def clean_table(rows: list[Clean]) -> Table:
    """Healthy weeks."""
    shown = Table("detector", "false alarms", "weeks", "a week", box=None, pad_edge=False)
    shown.title, shown.title_justify = "Healthy weeks", "left"
    for (detector,), group in _grouped(rows, "detector").items():
        alarms, weeks = sum(r.false_alarms for r in group), sum(r.weeks for r in group)
        shown.add_row(detector, f"{alarms}", f"{weeks:.0f}", f"{alarms / weeks:.2f}")
    return shown


def _figures(group: list[Row]) -> list[str]:
    hours = [r.hours_to_detection for r in group if r.hours_to_detection is not None]
    mean = f"{np.mean(hours):.1f} ({min(hours)} to {max(hours)})" if hours else ""
    right = [f"{100 * np.mean([getattr(r, name) for r in group]):.0f} %" for name in ("feature_right", "slice_right")]
    missed = f"{100 * (1 - len(hours) / len(group)):.0f} %"
    return [mean, missed, *right, f"{np.mean([r.money_lost_micros for r in group]) / 1e6:,.2f}"]


def _grouped(rows: list, *by: str) -> dict:  # type: ignore[type-arg]
    groups = defaultdict(list)
    for r in rows:
        groups[tuple(getattr(r, name) for name in by)].append(r)
    return groups


if __name__ == "__main__":
    main()
