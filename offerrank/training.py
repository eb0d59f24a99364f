"""`offerrank train` and `offerrank retrain`: the pipeline with its progress on standard error, its result on standard output."""

import re
import sys
import tempfile
import time
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
from offerrank.demo_view import Pipeline
from serving.signals import TERMINAL, told_to_stop

FIT_LINE_EVERY_S = 2.0
_STEP = re.compile(r"^\[(\d+)/(\d+)\] (.+)$")


def train(market: Path, data: Path, out: Path, as_json: bool, work_dir: Path | None = None) -> None:
    """Trains one release and prints its metrics.

    Raises:
      InvalidMarket, InvalidTrainingData: the market or the data cannot be used; nothing was written.
      NotBlessed: the model missed a gate; nothing was released.
      ContractError: a component of the pipeline failed.
    """
    from pipelines.run_local import train as run_pipeline

    # On a terminal the pipeline draws bars; in a log, lines that `progress_in` understands.
    progress = None if sys.stderr.isatty() else _Progress()
    result = run_pipeline(market, data, out, work_dir=work_dir, progress=progress).as_json()
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
    for name in ("release", "report"):
        console.print(f"{name} {result[name]}", highlight=False, soft_wrap=True)


def retrain(market_path: Path, log_dir: Path, out: Path, every_s: int | None, delay_s: int, as_json: bool) -> None:
    """Joins the archive into examples and trains on them; once, or again and again until told to stop.

    On a schedule a failed turn is said and the next one tried; of a single turn errors are raised as in `train`.
    """
    from pipelines.examples import write_training_rows

    def turn() -> None:
        market = load_market(market_path)
        with tempfile.TemporaryDirectory(prefix="offerrank-") as folder:
            rows = Path(folder) / "rows.parquet"
            report = write_training_rows(market, log_dir, now_ms(), rows)
            _say(f"{report.rows:,} impressions, {report.clicks:,} clicks and {report.conversions:,} conversions to learn from")
            train(market_path, rows, out, as_json)

    if delay_s:
        _load_while_waiting(delay_s)
    if every_s is None:
        turn()
        return
    with told_to_stop(TERMINAL) as stop:
        while not stop.is_set():
            started_s = time.monotonic()
            try:
                turn()
            except OfferRankError as e:
                _say(f"no release this time: {e}")
            stop.wait(max(every_s - (time.monotonic() - started_s), 1.0))


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
    """Prints what the pipeline tells: `[5/9] Trainer`, `[5/9] Trainer: ranker, epoch 2 of 8, 60 %, loss 0.281`."""

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
            _say(f"{self._step}: {event.model}, epoch {event.epoch} of {event.epochs}, {done:.0%}, loss {event.loss:.4f}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
