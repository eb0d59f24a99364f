"""`offerrank recalibrate`: what came of it, in a line per task."""

from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import typer

from domain.clock import now_ms
from features.market import load_market
from offerrank.training import disk_errors_said
from pipelines.progress import listening
from pipelines.recording import recorded, step

if TYPE_CHECKING:
    from pipelines.recalibration import Comparison, Recalibrated


def recalibrate(market: Path, log_dir: Path, releases: Path, window_s: int, as_json: bool) -> None:
    """Recalibrates the newest release and prints what changed.

    Raises:
      InvalidMarket, InvalidTrainingData, ContractError, OfferRankError: nothing was published.
    """
    from pipelines.recalibration import recalibrate as run

    loaded = load_market(market)
    with disk_errors_said(), recorded(releases, "recalibration", loaded.name, log_dir.absolute()) as record:
        with listening(record), step("recalibrate", 1, 1, {}):
            done = run(loaded, log_dir, releases, window_s, now_ms())
            judged = [task.rows_fitted + task.rows_judged for task in done.report.tasks.values()]
            record.rows = lambda _: (max(judged, default=0), None)
        tasks = {name: task.model_dump() for name, task in done.report.tasks.items()}
        record.know(previous=done.report.release, details={"as_of_ms": done.report.as_of_ms, "tasks": tasks})
        if done.release is None:
            record.end("unchanged", "no calibration would be better")
        else:
            record.know(release=int(done.release.name))
    if as_json:
        result = done.report.model_dump() | {"published": None if done.release is None else str(done.release)}
        typer.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
    else:
        typer.echo(describe(done))


def describe(done: "Recalibrated") -> str:
    """A line per task and the new release, or one line that says why there is none."""
    tasks = [f"{name}: {_change(task)}" for name, task in done.report.tasks.items()]
    if done.release is None:
        return f"release {done.report.release} stays, no calibration would be better: {'; '.join(tasks)}"
    return "\n".join([*tasks, f"release {done.release}"])


def _change(task: "Comparison") -> str:
    if task.log_loss_before is None or task.log_loss_after is None:
        return f"{task.positives_judged:,} positives among the {task.rows_judged:,} latest rows, too few to tell"
    verdict = "" if task.replaced else ", stays as it was"
    return f"log loss {task.log_loss_before:.5f} -> {task.log_loss_after:.5f} on the {task.rows_judged:,} latest rows{verdict}"
