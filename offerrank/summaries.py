"""`offerrank summaries`: what the watch would know of a long archive, by Beam."""

import shutil
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import orjson
import typer

from domain.clock import now_ms
from features.market import load_market


def run(
    market: Path,
    log_dir: Path,
    out: Path | None,
    since_ms: int,
    until_ms: int | None,
    work_dir: Path | None,
    beam_args: Sequence[str],
    as_json: bool,
) -> None:
    """See `pipelines.summaries.summarise`; errors are the same.

    Args:
      out: folder of the file; the archive's unless given.
      work_dir: a folder that Beam's workers see, too; a temporary one unless given.
    """
    loaded = load_market(market)
    from pipelines.scratch import scratch_folder

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Google's client libraries, about the Python version
        from pipelines.summaries import FOREVER_MS, summarise

    with ExitStack() as stack:
        if work_dir is None:
            work = stack.enter_context(scratch_folder("summaries"))
        else:
            work = work_dir / f"summaries-{now_ms()}"
            work.mkdir(parents=True)
            stack.callback(shutil.rmtree, work, ignore_errors=True)
        told = summarise(loaded, log_dir, out or log_dir, work, since_ms, FOREVER_MS if until_ms is None else until_ms, beam_args)
    for path, why in told.skipped.items():
        typer.echo(f"{path}: left out: {why}", err=True)
    if as_json:
        typer.echo(orjson.dumps(asdict(told), option=orjson.OPT_INDENT_2).decode())
    else:
        typer.echo(f"{told.parts:,} parts, {told.hours:,} hours; {len(told.skipped):,} parts left out")
