"""`make bench ARGS="--against REV"`: what a decision costs now and cost at another commit, both at once, in pairs.

A machine that others share is faster now and slower a minute later; two stacks that run at the same time are slowed alike, so
that their ratio holds where neither number does. They take turns in who begins.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from rich import box
from rich.console import Console
from rich.table import Table
from scipy import stats

from benchmarks.bench_release import REPOSITORY

KEPT = REPOSITORY / ".offerrank" / "against"
"""Of each commit a checkout, so that its release is trained once."""
HEAD_START_S = 8.0
"""Between the starts of the two: loading TensorFlow twice at once is what neither is measured by."""
NOT_OURS = ("load generator", "everything else")


@dataclass(frozen=True, slots=True)
class Load:
    """What each of the two is asked."""

    rate: float
    seconds: float
    offers: int


def against(rev: str, load: Load, pairs: int) -> dict[str, Any]:
    """CPU-milliseconds per decision of both, pair by pair.

    Returns:
      `rev`, and `pairs`: a list of process -> [before, now], `all` among them.
    Raises:
      SystemExit: there is no such commit, or a run ended badly.
    """
    folder = checkout(rev)
    for root in (folder, REPOSITORY):
        _run(root, "-c", f"from benchmarks.bench_release import bench_release as make; make({load.offers})")
    measured = []
    for n in range(pairs):
        print(f"pair {n + 1} of {pairs}", file=sys.stderr, flush=True)
        measured.append(_pair(folder, load, before_first=n % 2 == 0))
    return {"rev": rev, "rate": load.rate, "seconds": load.seconds, "offers": load.offers, "pairs": measured}


def checkout(rev: str) -> Path:
    """A folder with the files of that commit."""
    asked = ["git", "-C", str(REPOSITORY), "rev-parse", "--verify", "--quiet", f"{rev}^{{commit}}"]
    found = subprocess.run(asked, capture_output=True, text=True)
    if found.returncode:
        sys.exit(f"--against: expected a commit of this repository, got '{rev}'")
    commit = found.stdout.strip()
    folder = KEPT / commit[:12]
    if not (folder / "benchmarks").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        files = subprocess.run(["git", "-C", str(REPOSITORY), "archive", commit], capture_output=True, check=True)
        subprocess.run(["tar", "-x", "-C", str(folder)], input=files.stdout, check=True)
    return folder


def cpu_ms(numbers: dict[str, Any]) -> dict[str, float]:
    """Process -> CPU-milliseconds per decision, and of `all`: those of whoever asks and of other programs left out."""
    per_second = numbers["decisions_per_s"]
    each = {name: 1000 * share / per_second for name, share in numbers["cpu_share"].items() if name not in NOT_OURS}
    return each | {"all": sum(each.values())}


def ratio(pairs: list[dict[str, list[float]]], name: str) -> tuple[float, float, float]:
    """(now / before, least, most): geometric mean over the pairs and its 95 % interval, infinite for a single pair."""
    logs = np.log([now / before for before, now in (pair[name] for pair in pairs)])
    mean = float(logs.mean())
    margin = float(stats.sem(logs) * stats.t.ppf(0.975, len(logs) - 1)) if len(logs) > 1 else np.inf
    return float(np.exp(mean)), float(np.exp(mean - margin)), float(np.exp(mean + margin))


def report(console: Console, found: dict[str, Any]) -> None:
    """A line for each process that both have."""
    pairs = found["pairs"]
    title = f"CPU per decision against {found['rev']}, {len(pairs)} pairs at {found['rate']:.0f}/s for {found['seconds']:.0f} s"
    table = Table("", "before", "now", "now / before", "95 % interval", box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for name in pairs[0]:
        before, now = np.mean([pair[name] for pair in pairs], axis=0)
        if before > 0 and now > 0:
            mean, least, most = ratio(pairs, name)
            interval = f"{least:.3f} to {most:.3f}" if len(pairs) > 1 else ""
            table.add_row(name, f"{before:.2f} ms", f"{now:.2f} ms", f"{mean:.3f}", interval)
    console.print(table)


def _pair(before: Path, load: Load, *, before_first: bool) -> dict[str, list[float]]:
    roots = (before, REPOSITORY) if before_first else (REPOSITORY, before)
    with tempfile.TemporaryDirectory() as work:
        written = {root: Path(work) / f"{n}.json" for n, root in enumerate(roots)}
        first = _start(roots[0], load, written[roots[0]])
        time.sleep(HEAD_START_S)
        second = _start(roots[1], load, written[roots[1]])
        for run in (first, second):
            output, _ = run.communicate()
            if run.returncode:
                sys.exit(f"--against: a run ended with {run.returncode}:\n{output}")
        was, now = (cpu_ms(orjson.loads(written[root].read_bytes())) for root in (before, REPOSITORY))
    return {name: [was[name], now[name]] for name in was if name in now}


def _start(root: Path, load: Load, written: Path) -> "subprocess.Popen[str]":
    asked = ["--rate", load.rate, "--seconds", load.seconds, "--offers", load.offers, "--maximum-seconds", 0, "--json", written]
    command = [sys.executable, "-m", "benchmarks.gateway", *map(str, asked)]
    return subprocess.Popen(
        command, cwd=root, env=_environment(root), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _run(root: Path, *arguments: str) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=root, env=_environment(root), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"--against: {root} made no release:\n{done.stderr}")


def _environment(root: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(root)}
