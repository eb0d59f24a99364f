"""`make studies`: what the models are worth on simulated logs, against the truth that made them."""

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import orjson
from rich.console import Console

from benchmarks.studies import delay, drift, position, selection
from benchmarks.studies.scores import Score, decile_table, table

STUDIES = {"position": position, "selection": selection, "delay": delay, "drift": drift}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make studies ARGS=", description=__doc__)
    parser.add_argument("--only", choices=STUDIES, action="append", help="one study; may be given again (default: all)")
    parser.add_argument("--seeds", type=int, default=5, help="markets, each with its own truth and weights (default 5)")
    parser.add_argument("--pages", type=int, help="pages logged, an hour where a study runs over hours (default: its own)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    given = parser.parse_args()
    if given.seeds < 1 or (given.pages is not None and given.pages < 1):
        parser.error("seeds and pages must be at least 1")
    console = Console(width=None if sys.stdout.isatty() else 150)
    found: dict[str, list[Score]] = {}
    for name in given.only or STUDIES:
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
    if given.json:
        rows = [{"study": name} | dataclasses.asdict(score) for name, scores in found.items() for score in scores]
        given.json.write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()
