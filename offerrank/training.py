"""`offerrank train` and `offerrank retrain`: the pipeline with its progress on standard error, its result on standard output."""

import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from domain.clock import now_ms
from domain.errors import OfferRankError
from features.market import load_market
from models.release import FinalLabels, Release
from offerrank.demo_view import Pipeline
from serving.signals import TERMINAL, told_to_stop

FIT_LINE_EVERY_S = 2.0
_STEP = re.compile(r"^\[(\d+)/(\d+)\] (.+)$")


@dataclass(frozen=True, slots=True)
class Schedule:
    """When `offerrank retrain` trains, and from what."""

    every_s: int | None
    """Seconds from one start to the next; once if none."""
    delay_s: int
    """Seconds before the first."""
    full_every_s: int
    """Age of the last full training at which the next one is due; 0 trains on the whole log each time."""


def train(
    market: Path,
    data: Path,
    out: Path,
    as_json: bool,
    work_dir: Path | None = None,
    through_ms: int | None = None,
    labels: FinalLabels | None = None,
    previous: Release | None = None,
    beam_args: Sequence[str] = (),
) -> None:
    """Trains one release and prints its metrics; see `pipelines.run_local.train`.

    Raises:
      InvalidMarket, InvalidTrainingData: the market or the data cannot be used; nothing was written.
      NotBlessed: the model missed a gate; nothing was released.
      ContractError: a component of the pipeline failed.
    """
    from pipelines.run_local import train as run_pipeline

    # On a terminal the pipeline draws bars; in a log, lines that `progress_in` understands.
    progress = None if sys.stderr.isatty() else _Progress()
    result = run_pipeline(
        market,
        data,
        out,
        work_dir=work_dir,
        progress=progress,
        through_ms=through_ms,
        labels=labels,
        previous=previous,
        beam_args=beam_args,
    ).as_json()
    if as_json:
        typer.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
    else:
        print_result(Console(), result)


def print_result(console: Console, result: dict[str, Any]) -> None:
    """A training's metrics, on rows it has not seen, and where the time went."""
    metrics = Table(box=box.SIMPLE_HEAD)
    for name in ("task", "probabilities", "rows", "positives", "AUC", "log loss", "PCOC"):
        metrics.add_column(name, justify="left" if name in ("task", "probabilities") else "right")
    for task, found in result["metrics"].items():
        for kind in ("raw", "calibrated"):
            m = found[kind]
            # A metric is None where it is undefined, such as AUC without a positive.
            numbers = ("-" if m[name] is None else f"{m[name]:.4f}" for name in ("auc", "log_loss", "pcoc"))
            metrics.add_row(task, kind, f"{found['rows']:,}", f"{found['positives']:,}", *numbers)
    console.print(metrics)
    slowest = sorted(result["seconds"].items(), key=lambda step: -step[1])[:5]
    console.print(
        f"{result['total_seconds']:.0f} s, of it {', '.join(f'{name} {s:.0f}' for name, s in slowest)}", highlight=False
    )
    if warm := result["warm_start"]:
        fresh = f", fresh are {', '.join(warm['fresh'])}" if warm["fresh"] else ""
        grown = "".join(f", {entries} new of {feature}" for feature, entries in warm["new_entries"].items())
        console.print(f"warm start: {len(warm['taken'])} weights taken over{fresh}{grown}", highlight=False, soft_wrap=True)
    for name in ("release", "report"):
        console.print(f"{name} {result[name]}", highlight=False, soft_wrap=True)


def retrain(
    market_path: Path, log_dir: Path, out: Path, schedule: Schedule, as_json: bool, beam_args: Sequence[str] = ()
) -> None:
    """Joins the archive into examples and trains on them; once, or again and again until told to stop.

    Starts from the newest release, on what was logged since; from nothing, on the whole log, where that cannot be or is due.
    On a schedule a failed turn is said and the next one tried; of a single turn errors are raised as in `train`.
    """
    from pipelines.examples import write_training_rows
    from pipelines.freshness import release_to_continue

    def turn() -> None:
        market = load_market(market_path)
        with tempfile.TemporaryDirectory(prefix="offerrank-") as folder:
            rows = Path(folder) / "rows.parquet"
            previous, why = release_to_continue(market, out, now_ms(), schedule.full_every_s)
            report = write_training_rows(market, log_dir, now_ms(), rows, previous.manifest if previous else None)
            _say(f"{'incremental' if previous else 'full'} training: {why}")
            _say(f"{report.rows:,} impressions, {report.clicks:,} clicks and {report.conversions:,} conversions to learn from")
            train(
                market_path,
                rows,
                out,
                as_json,
                through_ms=report.newest_ms,
                labels=report.labels,
                previous=previous,
                beam_args=beam_args,
            )

    if schedule.delay_s:
        _load_while_waiting(schedule.delay_s)
    if schedule.every_s is None:
        turn()
        return
    with told_to_stop(TERMINAL) as stop:
        while not stop.is_set():
            started_s = time.monotonic()
            try:
                turn()
            except OfferRankError as e:
                _say(f"no release this time: {e}")
            stop.wait(max(schedule.every_s - (time.monotonic() - started_s), 1.0))


def _load_while_waiting(delay_s: int) -> None:
    """TensorFlow takes its time to load; the log fills meanwhile."""
    from pipelines.run_local import import_pipeline

    start_s = time.monotonic() + delay_s
    _say("loading TensorFlow while the log fills")
    import_pipeline()
    time.sleep(max(start_s - time.monotonic(), 0))


def progress_in(log: Path) -> Pipeline:
    """Where a training is that writes to `log`."""
    state = Pipeline("starting")
    if log.exists():
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-200:]:
            if found := _STEP.match(line):
                state = Pipeline(found[3], int(found[1]) - 1, int(found[2]))
    return state


class _Progress:
    """Prints what the pipeline tells: `[5/9] Trainer`, `[5/9] Trainer: ranker, epoch 2 of 8, 60 %, loss 0.281, ...`."""

    def __init__(self) -> None:
        self._step = ""
        self._next_s = 0.0

    def __call__(self, event: Any) -> None:
        from models.progress import FitProgress
        from pipelines.progress import StepStarted

        if isinstance(event, StepStarted):
            self._step = f"[{event.number}/{event.of}] {event.name}"
            _say(self._step)
        elif isinstance(event, FitProgress) and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + FIT_LINE_EVERY_S
            done = event.rows / event.total if event.total else 1.0
            where = f"epoch {event.epoch} of {event.epochs}, {done:.0%}, loss {event.loss:.4f}"
            _say(f"{self._step}: {event.model}, {where}, {event.pace}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
