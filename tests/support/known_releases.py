"""A folder of releases as trainings leave it, without their models: two that are whole, one that is damaged, and a refusal."""

from pathlib import Path
from typing import Any

from log_entries import MARKET_TOML

from models import release
from models.evaluation import Change, EvaluationReport, GateResult, InService, Measured, Metrics, Rival, TaskEvaluation
from models.metrics import Interval
from models.release import FinalLabels, Input, Manifest
from store.runs import Run, Step, write_run

HOUR_MS = 3_600_000
FULL, MORE, DAMAGED = 1728007200, 1728010800, 1728014400
"""Versions, an hour apart, from two hours after the first decision of the watched archive."""
WHY = "the model was not released: AUC of ctr is 0.6123, training.gates.ctr.min_auc asks for 0.7"


def metrics_of(auc: float, pcoc: float) -> Metrics:
    interval = Interval(auc - 0.03, auc + 0.03)
    return Metrics(
        auc=auc,
        log_loss=0.2768,
        pcoc=pcoc,
        normalised_entropy=0.97,
        ece=0.004,
        auc_interval=interval,
        log_loss_interval=None,
        pcoc_interval=Interval(pcoc - 0.1, pcoc + 0.1),
    )


def evaluation(auc: float, pcoc: float, over: int | None = None) -> EvaluationReport:
    """With a gate that was passed and one that could not be judged; compared with a release, if one is given."""
    whole = Measured(rows=1266, positives=101, raw=metrics_of(auc, pcoc + 0.2), calibrated=metrics_of(auc, pcoc))
    few = Measured(rows=101, positives=9, raw=metrics_of(0.6, 1.4), calibrated=metrics_of(0.6, 1.1))
    gates = (
        GateResult(task="ctr", key="training.gates.ctr.min_auc", metric="AUC", value=auc, bound=0.6, verdict="passed"),
        GateResult(
            task="cvr", key="training.gates.cvr.min_auc", metric="AUC", value=0.6, bound=0.6, verdict="skipped", note="few"
        ),
    )
    change = Change(rows=1266, positives=101, relative=-0.021, interval=Interval(-0.04, -0.002))
    rival = Rival(rows=1266, positives=101, seen=0, ours=metrics_of(auc, pcoc), metrics=metrics_of(0.7, 1.0), change=change)
    return EvaluationReport(
        tasks={"ctr": TaskEvaluation(**dict(whole)), "cvr": TaskEvaluation(**dict(few))},
        gates=gates,
        in_service=InService(version=over, tasks={"ctr": rival}) if over else None,
    )


def know_releases(folder: Path) -> None:
    """Writes it all."""
    first = FULL * 1000
    full: dict[str, Any] = {
        "trained_through_ms": first - HOUR_MS,
        "labels": _labels(first - HOUR_MS // 2),
        "tasks": ("ctr", "cvr"),
    }
    more = full | {"trained_through_ms": first, "labels": _labels(first + HOUR_MS // 2), "warm_from": FULL, "full_ms": first}
    _write(folder, FULL, evaluation(0.71, 1.02), "2.16.1", **full)
    _write(folder, MORE, evaluation(0.74, 0.98, FULL), "2.16.2", **more)
    (folder / str(DAMAGED) / release.EXTRA).mkdir(parents=True)
    (folder / str(DAMAGED) / release.MANIFEST).write_text('{"version": 17')
    run = Run(
        "run-of-more", "incremental", "corner", "log", MORE * 1000 - 60_000, FULL, MORE * 1000, MORE * 1000, "released", "", MORE
    )
    write_run(folder, run)
    refused = Run("run-refused", "full", "corner", "log", MORE * 1000, None, MORE * 1000, MORE * 1000 + 1, "refused", WHY)
    write_run(folder, Run(**{n: getattr(refused, n) for n in refused.__slots__} | {"steps": (Step("read", MORE * 1000, 1.0),)}))


def _labels(as_of_ms: int) -> FinalLabels:
    return FinalLabels(as_of_ms=as_of_ms, click_window_s=100, conversion_window_s=1000)


def _write(folder: Path, version: int, judged: EvaluationReport, tensorflow: str, **made: Any) -> None:
    path = folder / str(version)
    (path / release.EXTRA).mkdir(parents=True)
    (path / release.MARKET).write_text(MARKET_TOML)
    (path / release.EVALUATION).write_text(judged.model_dump_json())
    (path / release.REPORT).write_text(f"<!doctype html><title>r</title><h1>Report of {version}</h1>")
    inputs = (Input(name="country", source="shopper", dtype="string", missing="default", width=None),)
    manifest = Manifest(
        version=version,
        market="corner",
        created_ms=version * 1000,
        inputs=inputs,
        embedding_dim=8,
        packages={"tensorflow": tensorflow, "offerrank": "0.1.0"},
        rows={"train": 5979, "valid": 1255, "eval": 1266},
        **made,
    )
    (path / release.MANIFEST).write_text(manifest.model_dump_json())
