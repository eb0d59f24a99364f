"""Trains on this machine: reads a log, runs the pipeline with TFX's LocalDagRunner, says what came of it."""

import gc
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from domain.clock import now_ms
from domain.errors import ContractError, InvalidMarket, NotBlessed, OfferRankError, Unjudged
from features.market import Market, load_market
from models import release
from models.evaluation import EvaluationReport
from models.release import FinalLabels, LeftOut, Release, WarmStart
from pipelines.console import console_listener
from pipelines.ingest import Ingested
from pipelines.logs import component_times, logs_to
from pipelines.metadata_address import MetadataAddress
from pipelines.progress import Listener, listening
from pipelines.recording import Recorder, step
from pipelines.report import write_report
from pipelines.run_details import details_kept, rows_of
from pipelines.scratch import scratch_folder, temporary_files_in
from pipelines.server_ahead import server_ahead
from pipelines.workplace import Workplace

COMPONENTS = 12
BEFORE = 2
"""Steps that come first: reading the log and importing TFX."""
LOG = "train.log"
REPORT = "report.html"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A pushed release and how it was made."""

    release: Path
    version: int
    rows: dict[str, int]
    """Rows per split."""
    evaluation: EvaluationReport
    seconds: dict[str, float]
    """By step."""
    warm_start: WarmStart | None
    """What was taken over; none in a full training."""

    def as_json(self) -> dict[str, Any]:
        """What `offerrank train --json` prints."""
        measured = {"auc", "log_loss", "pcoc", "normalised_entropy"}
        return {
            "release": str(self.release),
            "report": str(self.release / release.REPORT),
            "version": self.version,
            "rows": self.rows,
            "metrics": {
                name: {
                    "rows": task.rows,
                    "positives": task.positives,
                    "raw": task.raw.model_dump(include=measured),
                    "calibrated": task.calibrated.model_dump(include=measured),
                }
                for name, task in self.evaluation.tasks.items()
            },
            "value": self.evaluation.value and self.evaluation.value.model_dump(),
            "warm_start": self.warm_start and self.warm_start.model_dump(),
            "gates": [gate.model_dump() for gate in self.evaluation.gates],
            "warnings": self.evaluation.data.warnings,
            "seconds": {name: round(s, 2) for name, s in self.seconds.items()},
            "total_seconds": round(sum(self.seconds.values()), 2),
        }


def train(
    market_path: Path,
    data: Path | None,
    out: Path,
    *,
    work_dir: Path | None = None,
    progress: Listener | None = None,
    through_ms: int | None = None,
    labels: FinalLabels | None = None,
    previous: Release | None = None,
    new: Path | None = None,
    left_out: tuple[LeftOut, ...] = (),
    beam_args: Sequence[str] = (),
    record: Recorder | None = None,
    metadata: MetadataAddress | None = None,
) -> TrainingResult:
    """Trains on `data` and pushes a release to `out/<version>`.

    Whatever ends the run early, SIGTERM and Ctrl-C included, leaves `out` as it was.

    Args:
      data: a .csv, .csv.gz, .parquet, .tfrecord or .tfrecord.gz file, or a directory of them.
      work_dir: keeps TFX's artifacts, metadata and log here; without one they go to a temporary folder that is removed, except
        for the log of a failed run and the report of a model that was refused.
      progress: hears of every step; without one they are shown on standard error.
      through_ms, labels: time of the newest logged decision in `data`, and which labels were final, if it comes from the log.
      previous: a release to start from, for a market with the same features and tasks.
      new: rows that the release in service has not learned from, to be judged first and learned then; with `previous` there is
        no other `data`, else it is what that release has learned from.
      left_out: of the log, in this training and those before it.
      beam_args: pipeline options of Beam; without any its direct runner works in this process.
      record: hears of every step, too, and learns what else is worth keeping of the run.
      metadata: where the run's ML Metadata stays; without it, only with `work_dir`.
    Raises:
      InvalidMarket, InvalidTrainingData: before anything is written to `out`.
      NotBlessed: the model missed a gate; Unjudged: there are too few rows to judge it by.
      ContractError: a component failed; names it and the log.
      OSError: the rows or the folder for them cannot be read or written.
    """
    market = load_market(market_path)
    if not market.offer_features or not market.request_features:
        raise InvalidMarket("features", "at least one with source offer and one with another source, to train", "none")
    _require_writable(out)
    with ExitStack() as stack:
        work = stack.enter_context(_workplace(work_dir))
        stack.enter_context(temporary_files_in(work / "tmp"))
        listener = progress or stack.enter_context(console_listener())
        ahead = stack.enter_context(server_ahead(work / "serving"))
        stack.enter_context(listening(listener, *([record] if record else []), ahead))
        stack.enter_context(_sigterm_unwinds())
        if record is not None:
            stack.enter_context(details_kept(record, Workplace(work), metadata, out, lasting=work_dir is not None))
        stack.enter_context(logs_to(work / LOG))
        seconds: dict[str, float] = {}
        steps = BEFORE + COMPONENTS + _asked_for(market, progressive=new is not None)
        with step("read", 1, steps, seconds):
            rows = Workplace(work).lay_out(market_path, data, through_ms, labels, previous, new, left_out)
            if record is not None:
                record.rows = partial(rows_of, Workplace(work), rows.rows, rows.progressive)
        with step("import TFX", 2, steps, seconds):
            run = import_pipeline()
        try:
            with component_times(first=BEFORE + 1, of=steps) as components:
                run(market, Workplace(work), out.absolute(), rows, previous, beam_args)
        except NotBlessed:
            pass  # by the last component; below, with all that TFMA says, too
        except Exception as e:
            if isinstance(e, OfferRankError) and not isinstance(e, ContractError):
                raise
            log.exception("training failed")
            what = str(e) if isinstance(e, ContractError) else f"{type(e).__name__}: {str(e).strip()[:500]}"
            if _assembled(work):
                _write_report(work, (what,))
            raise ContractError(f"training failed: {what}; see {work / LOG}") from e
        result = _result(out.absolute(), work, rows, seconds | components)
        if record is not None:
            record.know(release=result.version)
        return result


def _asked_for(market: Market, progressive: bool) -> int:
    """Components that are there only where the market asks for them: Evaluator, InfraValidator, and TfExamples for them."""
    asked = (market.training.tfma and not progressive, market.training.infra_validator is not None)
    return sum(asked) + any(asked)


def _require_writable(out: Path) -> None:
    """Minutes before it is written to.

    Raises:
      ContractError: `out` is no folder, or none can be made there.
    """
    nearest = next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise ContractError(f"{out}: expected a folder that can be written to; {nearest} is not")


@contextmanager
def _workplace(work_dir: Path | None) -> Iterator[Path]:
    """An empty folder for one run; of a temporary one only what explains a failure outlives it."""
    if work_dir is not None:
        work = work_dir.absolute() / f"run-{now_ms()}"
        work.mkdir(parents=True)
        yield work
        return
    kept: set[str] = set()
    with scratch_folder("train", kept) as work:
        try:
            yield work
        except ContractError:
            kept |= {LOG, REPORT}
            raise
        except NotBlessed:
            kept |= {REPORT}
            raise


@contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does: cleaning up on the way out."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


Run = Callable[[Market, Workplace, Path, Ingested, Release | None, Sequence[str]], None]


def import_pipeline() -> Run:
    """TensorFlow and TFX, 10 to 20 s: only once the data has been found good, or ahead of time while data is still to come."""
    gc.disable()  # what is imported stays: to look through it for garbage again and again takes a fifth of the time
    try:
        from tfx.orchestration.local.local_dag_runner import LocalDagRunner

        from pipelines.ranking import IN_PROCESS, ranking_pipeline
        from pipelines.schema import write_schema
        from pipelines.vocabulary_growth import grow_vocabularies
    finally:
        gc.enable()

    def run(
        market: Market, work: Workplace, out: Path, rows: Ingested, previous: Release | None, beam_args: Sequence[str]
    ) -> None:
        write_schema(market, work.schema)
        start = previous.path.absolute() if previous else None
        if start is not None:
            grow_vocabularies(market, start / release.TRANSFORM, work.rows / "eval" / "rows.parquet", work.transform)
        LocalDagRunner().run(ranking_pipeline(market, work, out, rows, start, beam_args or IN_PROCESS))

    return run


def _result(out: Path, work: Path, rows: Ingested, seconds: dict[str, float]) -> TrainingResult:
    """Reads what the components left behind.

    Raises:
      NotBlessed: a gate was missed, and which.
    """
    evaluation = EvaluationReport.model_validate_json(
        (Workplace(work).outputs("Assessor", "assessment") / Path(release.EVALUATION).name).read_bytes()
    )
    failures = evaluation.refusals
    judged = (work / "artifacts" / "Evaluator").exists()
    if not failures and judged and not (Workplace(work).outputs("Evaluator", "blessing") / "BLESSED").exists():
        failures = _tfma_failures(Workplace(work).outputs("Evaluator", "evaluation"))
    if failures:
        raise (Unjudged if evaluation.waits else NotBlessed)(failures, _write_report(work, failures))
    (assembled,) = _assembled(work)
    version = _version(assembled)
    warm = assembled / release.WARM_START
    warm_start = WarmStart.model_validate_json(warm.read_bytes()) if warm.exists() else None
    return TrainingResult(out / str(version), version, rows.rows, evaluation, seconds, warm_start)


def _write_report(work: Path, refused: tuple[str, ...]) -> Path:
    """Of a release that was assembled, and is not pushed for these reasons."""
    (assembled,) = _assembled(work)
    write_report(assembled, work / REPORT, _version(assembled), refused)
    return work / REPORT


def _assembled(work: Path) -> tuple[Path, ...]:
    """The sealed release, or none before there is one."""
    sealed = work.glob(f"artifacts/Release/release_model/*/Format-Serving/{release.MANIFEST}")
    return tuple(path.parents[1] for path in sealed)


def _version(assembled: Path) -> int:
    return release.Manifest.model_validate_json((assembled / release.MANIFEST).read_bytes()).version


def _tfma_failures(evaluation: Path) -> tuple[str, ...]:
    """What TFMA held against the model: it approximates AUC, so it may miss a bound that the exact value meets."""
    import tensorflow_model_analysis as tfma

    result = tfma.load_validation_result(str(evaluation))
    lines = [
        f"TFMA: {failure.metric_key.name} of {failure.metric_key.output_name or 'the model'}: {failure.message}"
        for by_slice in result.metric_validations_per_slice
        for failure in by_slice.failures
    ]
    return tuple(lines) or ("TFMA: nothing to judge by",)
