"""`offerrank train`: the pipeline with its progress on standard error, its result on standard output."""

import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from domain.errors import OfferRankError
from features.market import load_market
from models.release import FinalLabels, LeftOut, Release
from offerrank.demo_view import Pipeline

if TYPE_CHECKING:
    from pipelines.recording import Recorder

FIT_LINE_EVERY_S = 2.0
_STEP = re.compile(r"^\[(\d+)/(\d+)\] (.+)$")


def train(
    market: Path,
    data: Path | None,
    out: Path,
    as_json: bool,
    work_dir: Path | None = None,
    through_ms: int | None = None,
    labels: FinalLabels | None = None,
    previous: Release | None = None,
    new: Path | None = None,
    left_out: tuple[LeftOut, ...] = (),
    beam_args: Sequence[str] = (),
    metadata: str | None = None,
    record: "Recorder | None" = None,
) -> None:
    """Trains one release and prints its metrics; see `pipelines.run_local.train`.

    Args:
      metadata: address of ML Metadata's store.
      record: of a run that has begun already; without one it begins here.

    Raises:
      InvalidMarket, InvalidTrainingData: the market or the data cannot be used; nothing was written.
      NotBlessed: the model missed a gate, or could not be judged; nothing was released.
      ContractError: a component of the pipeline failed.
      OSError: the data or the folder to work in cannot be read or written.
    """
    from pipelines.metadata_address import metadata_address
    from pipelines.recording import recorded
    from pipelines.run_local import train as run_pipeline

    store = metadata_address(metadata, out)
    if record is None:
        assert data is not None
        with recorded(out, "training", load_market(market).name, data.absolute()) as began:
            train(market, data, out, as_json, work_dir, beam_args=beam_args, metadata=metadata, record=began)
        return
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
        new=new,
        left_out=left_out,
        beam_args=beam_args,
        record=record,
        metadata=store,
    ).as_json()
    for warning in result["warnings"]:
        say(f"warning: {warning}")
    for gate in (g for g in result["gates"] if g["verdict"] == "skipped"):
        say(f"not judged: {gate['key']}: {gate['note']}")
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
    if value := result["value"]:
        console.print(value_line(value), highlight=False, soft_wrap=True)
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


def value_line(value: dict[str, Any]) -> str:
    """What a conversion is worth, of `models.value_metrics.ValueEvaluation`."""
    pcoc = "-" if value["pcoc"] is None else f"{value['pcoc']:.4f}"
    micros = f"{value['predicted_micros']:,.0f} micros predicted, {value['observed_micros']:,.0f} observed"
    return f"a conversion's value: PCOC {pcoc}, {micros}, {value['rows']:,} conversions"


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
            say(self._step)
        elif isinstance(event, FitProgress) and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + FIT_LINE_EVERY_S
            done = event.rows / event.total if event.total else 1.0
            where = f"epoch {event.epoch} of {event.epochs}, {done:.0%}, loss {event.loss:.4f}"
            say(f"{self._step}: {event.model}, {where}{event.pace}")


@contextmanager
def disk_errors_said() -> Iterator[None]:
    """A full disk or a damaged file is the user's to mend: one line, no traceback.

    Raises:
      OfferRankError: in place of an error of the file system or of Arrow.
    """
    try:
        yield
    except (OSError, pa.ArrowException) as e:
        raise OfferRankError(one_line(e)) from e


def one_line(error: BaseException) -> str:
    """What an error says; of one that is not ours its kind, too."""
    said = " ".join(str(error).split())
    return said if isinstance(error, OfferRankError) else f"{type(error).__name__}: {said}"


def say(line: str) -> None:
    """On standard error."""
    print(line, file=sys.stderr, flush=True)
