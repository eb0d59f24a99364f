"""What the components of a run left in its folder that is worth keeping: rows, gates, anomalies, where the data came from."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from models import release
from models.evaluation import EvaluationReport
from pipelines.metadata_address import MetadataAddress
from pipelines.recording import Recorder, outcome_of
from pipelines.workplace import Workplace

log = logging.getLogger(__name__)

READS = {
    "ExampleGen": ("train", "valid", "eval"),
    "StatisticsGen": ("train", "eval"),
    "ExampleValidator": ("train", "eval"),
    "Transform": ("train",),
    "Trainer": ("train", "valid"),
    "Calibrator": ("valid",),
    "Assessor": ("eval",),
    "TfExamples": ("eval",),
    "Evaluator": ("eval",),
}
"""Step -> splits that it reads."""


LEARNS_ALL = {"StatisticsGen": ("train", "eval"), "Trainer": ("train", "valid", "eval"), "Calibrator": ("valid", "eval")}
"""Where `eval` is judged before it is learned from."""


def rows_of(work: Workplace, laid_out: dict[str, int], progressive: bool, step: str) -> tuple[int | None, int | None]:
    """Rows in, by what was laid out, and rows out, as counted in what the step wrote; None where there are none to count."""
    if step == "read":
        return None, sum(laid_out.values())
    reads = READS | LEARNS_ALL if progressive else READS
    came = sum(laid_out[split] for split in reads[step]) if step in reads else None
    went = None
    if step == "StatisticsGen":
        went = sum(map(_examples, work.outputs(step, "statistics").glob("Split-*/FeatureStats.pb")))
    elif step == "Assessor":
        went = pq.read_metadata(work.outputs(step, "assessment") / Path(release.EVAL_PREDICTIONS).name).num_rows
    return came, went


def details_of(work: Workplace) -> dict[str, Any]:
    """For `store.runs.Run.details`; of a run that ended early as much as there is."""
    details: dict[str, Any] = {}
    if work.origin.exists():
        details |= json.loads(work.origin.read_bytes())
    if (evaluation := _output(work, "Assessor", "assessment", Path(release.EVALUATION).name)) is not None:
        report = EvaluationReport.model_validate_json(evaluation.read_bytes())
        details["gates"] = [gate.model_dump() for gate in report.gates]
    if (found := _output(work, "ExampleValidator", "anomalies")) is not None:
        from pipelines.components.anomaly_check import anomalies_in

        details["anomalies"] = [{"split": a.split, "column": a.column, "what": a.what} for a in anomalies_in(found)]
    return details


@contextmanager
def details_kept(
    record: Recorder, work: Workplace, metadata: MetadataAddress | None, releases: Path, lasting: bool
) -> Iterator[None]:
    """Whatever ends the block: what is left of the run is noted, and its ML Metadata filed. Neither can fail the run."""
    outcome, why = "stopped", ""
    try:
        yield
        outcome = "released"
    except Exception as e:
        outcome, why = outcome_of(e), " ".join(str(e).split())
        raise
    finally:
        try:
            details = details_of(work)
            record.detail(**details)
            if metadata is not None and work.metadata.exists():
                _file(record, work, metadata, releases, {"outcome": outcome, "why": why}, details, lasting)
        except Exception:
            log.exception("what is left of the run cannot be noted")


def _file(
    record: Recorder,
    work: Workplace,
    metadata: MetadataAddress,
    releases: Path,
    came: dict[str, str],
    details: dict[str, Any],
    lasting: bool,
) -> None:
    from pipelines.metadata_store import file_run

    version = record.run.release
    told = {name: json.dumps(details[name]) for name in ("rows", "labels", "gates", "anomalies") if details.get(name)}
    told |= {"release": str(releases.absolute() / str(version))} if version is not None else {}
    numbers = {"version": version} | {name: details.get(name) for name in ("trained_through_ms", "warm_from")}
    facts = {**came, "data": record.run.data, **told, **numbers}
    file_run(work.metadata, metadata, releases, record.run.id, facts, lasting)


def _output(work: Workplace, component: str, key: str, name: str = "") -> Path | None:
    folder = work.path / "artifacts" / component / key
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    path = found[0] / name if found else None
    return path if path is not None and path.exists() else None


def _examples(statistics: Path) -> int:
    from tensorflow_metadata.proto.v0 import statistics_pb2

    read = statistics_pb2.DatasetFeatureStatisticsList()
    read.ParseFromString(statistics.read_bytes())
    return sum(dataset.num_examples for dataset in read.datasets)
