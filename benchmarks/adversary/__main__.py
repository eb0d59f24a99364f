"""`make adversary`: attacks, floods, losses and faults against real processes, and what they cost.

Exits with 1 if any case is not as it should be.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.adversary import conversions, drain, end_of_budget, faults, floods, fraud, losses
from benchmarks.adversary.row import Row

GROUPS: dict[str, Callable[..., Iterator[Row]]] = {
    "end-of-budget": end_of_budget.cases,
    "conversions": conversions.cases,
    "drain": drain.cases,
    "fraud": fraud.cases,
    "floods": floods.cases,
    "losses": losses.cases,
    "faults": faults.cases,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make adversary ARGS=", description=__doc__)
    parser.add_argument("--only", choices=GROUPS, action="append", help="one group of cases; may be given again (default: all)")
    parser.add_argument("--short", action="store_true", help="smaller sizes, as in CI")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    given = parser.parse_args()
    rows: list[Row] = []
    began = time.monotonic()
    for name in given.only or GROUPS:
        with tempfile.TemporaryDirectory(prefix=f"offerrank-{name}-") as folder:
            for row in GROUPS[name](Path(folder), short=given.short):
                rows.append(row)
                print(
                    f"{time.monotonic() - began:5.0f} s  {row.case}: {'ok' if row.ok else 'NOT OK'}", file=sys.stderr, flush=True
                )
    Console(width=None if sys.stdout.isatty() else 150).print(table(rows))
    if given.json:
        given.json.write_bytes(orjson.dumps([dataclasses.asdict(r) for r in rows], option=orjson.OPT_INDENT_2) + b"\n")
    sys.exit(0 if all(row.ok for row in rows) else 1)


def table(rows: list[Row]) -> Table:
    shown = Table(
        "case", "", "budget", "charged", "sellable", "sold", "lost", "doubled", "recovery s", "", box=None, pad_edge=False
    )
    for r in rows:
        money = [_micros(r.budget_micros), _micros(r.charged_micros)]
        counts = [_count(n) for n in (r.sellable, r.sold, r.lost, r.doubled)]
        recovery = "" if r.recovery_s is None else f"{r.recovery_s:.1f}"
        shown.add_row(r.case, "ok" if r.ok else "NOT OK", *money, *counts, recovery, r.said)
    return shown


def _micros(micros: int | None) -> str:
    return "" if micros is None else f"{micros / 1e6:,.2f}"


def _count(n: int | None) -> str:
    return "" if n is None else f"{n:,}"


if __name__ == "__main__":
    main()
