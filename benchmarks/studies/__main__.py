"""`make studies`: what the models are worth on simulated logs, against the truth that made them."""

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import orjson
from rich.console import Console

from benchmarks.studies import delay, drift, heads, month, position, selection
from benchmarks.studies.scores import Score, decile_table, table

STUDIES = {"position": position, "selection": selection, "heads": heads, "delay": delay, "drift": drift}
MONTH = "month"
"""Told by day, not by model."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="make studies ARGS=", description=__doc__)
    parser.add_argument("--only", choices=(*STUDIES, MONTH), action="append", help="one study; may be given again (default: all)")
    parser.add_argument("--seeds", type=int, default=5, help="markets, each with its own truth and weights (default 5)")
    parser.add_argument("--pages", type=int, help="pages logged, an hour where a study runs over hours (default: its own)")
    parser.add_argument("--days", type=int, default=month.DAYS, help=f"of the month (default {month.DAYS})")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    given = parser.parse_args()
    if given.days < 1 or given.seeds < 1 or (given.pages is not None and given.pages < 1):
        parser.error("seeds, pages and days must be at least 1")
    console = Console(width=None if sys.stdout.isatty() else 150)
    found: dict[str, list[Score]] = {}
    chosen = given.only or (*STUDIES, MONTH)
    for name in (name for name in chosen if name in STUDIES):
        study, began = STUDIES[name], time.monotonic()
        scores = found[name] = []
        for seed in range(1, given.seeds + 1):
            scores += study.study(seed, given.pages or study.PAGES)
            print(f"{name}: seed {seed} after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        console.print(table(study.TITLE, scores))
        if any(score.by_decile for score in scores):
            console.print(decile_table("PCOC by decile of true pCTR, random offers", scores))
        for claim in study.claims(scores):
            console.print(claim, highlight=False)
        console.print()
    rows = [{"study": name} | dataclasses.asdict(score) for name, scores in found.items() for score in scores]
    for seed in range(1, given.seeds + 1) if MONTH in chosen else ():
        days, said = month.study(seed, given.pages or month.PAGES, given.days)
        for told in month.tables(days, said):
            console.print(told, highlight=False, soft_wrap=True)
        rows += [{"study": MONTH, "seed": seed} | dataclasses.asdict(day) for day in days]
    if given.json:
        given.json.write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()
