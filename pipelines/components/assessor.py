"""Measures the model on `eval`, raw and calibrated, beside the release in service, and holds it to the market's gates."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples, Model, ModelEvaluation
from tfx.utils import path_utils

from features.market import Market, load_market
from features.model_spec import TaskSpec
from features.monitoring_spec import POSITION
from features.slices import slice_values
from features.spec import VALUE_MICROS
from features.training_spec import Gate
from models import release
from models.calibration import Calibrator
from models.clusters import Clusters, of_rows
from models.evaluation import (
    DataUsed,
    EvaluationReport,
    Examined,
    GateResult,
    InService,
    LabelCount,
    Measured,
    Rival,
    Slices,
    TaskEvaluation,
    compare,
    evaluate_task,
)
from models.gates import check_task, check_value
from models.importance import Importance, auc_lost, draw
from models.metrics import Interval
from models.release import AHEAD, EXAMINATION, calibrated_column, judged_column, raw_column
from models.release_folder import newest_usable
from models.retrieval import Catalogue, Recall, recall, recall_loss
from pipelines.calibration import Rows, calibrated, counting, usable, where_shown
from pipelines.clusters import clusters_of
from pipelines.components.calibrator import CALIBRATED_FILE, CALIBRATOR_FILE
from pipelines.exploration import choice, on_explored
from pipelines.freshness import held_out_alike, learned_through_ms, seen
from pipelines.predictions import write_predictions
from pipelines.progressive import by_row, scores_of
from pipelines.recall import ahead, positives
from pipelines.scoring import load_signatures, score
from pipelines.split_columns import Columns, split_columns
from pipelines.values import evaluated_values

EVALUATION_FILE = "evaluation.json"
PREDICTIONS_FILE = "eval_predictions.parquet"
SHUFFLED_ROWS = 4000  # one call of the model per feature


@component
def Assessor(  # noqa: N802
    model: InputArtifact[Model],
    examples: InputArtifact[Examples],
    calibration: InputArtifact[ModelEvaluation],
    assessment: OutputArtifact[ModelEvaluation],
    market_file: Parameter[str],
    releases: Parameter[str],
    data_file: Parameter[str],
    places_file: Parameter[str],
) -> None:
    """Writes evaluation.json and eval_predictions.parquet.

    `releases` is the folder whose newest version is in service; `data_file` holds a `DataUsed`, `places_file` where the
    rows stand in the log.
    """
    market = load_market(Path(market_file))
    saved = Path(path_utils.serving_model_path(model.uri))
    signatures = load_signatures(str(saved))
    rank, rows = signatures["evaluate"], split_columns(market, examples.uri, "eval")
    calibrator = Calibrator.model_validate_json((Path(calibration.uri) / CALIBRATOR_FILE).read_bytes())
    rows |= score(market, rank, rows)
    rows |= calibrated(market, calibrator, rows)
    if (scores := saved / release.PROGRESSIVE).exists():
        shown = where_shown(market, rows | scores_of(scores, "eval", rows))
        shown |= by_row(Path(calibration.uri) / CALIBRATED_FILE, rows)
        outputs = [*(t.name for t in market.tasks), *([VALUE_MICROS] if market.value else [])]
        rows |= {judged_column(name): shown[raw_column(name)] for name in outputs}
    else:
        rows |= ahead(market, signatures, rows)
        shown = where_shown(market, rows)
        shown |= calibrated(market, calibrator, shown)
    used = DataUsed.model_validate_json(Path(data_file).read_bytes())
    evaluation = assess(
        market, shown, used, importances(market, rank, rows), in_service(market, Path(releases), shown, used.progressive)
    )
    out = Path(assessment.uri)
    (out / EVALUATION_FILE).write_text(evaluation.model_dump_json(indent=2) + "\n", encoding="utf-8")
    write_predictions(market, rows, Path(places_file), out / PREDICTIONS_FILE)


def assess(
    market: Market, rows: Columns, data: DataUsed, importance: Mapping[str, Importance], rival: InService | None
) -> EvaluationReport:
    """Metrics of every task, and the gates of those that are served."""
    tasks: dict[str, TaskEvaluation] = {}
    gates: list[GateResult] = []
    shown_to, slices = clusters_of(rows), _slices(market, rows)
    for t in market.tasks:
        counts = counting(t, rows)
        labels, raw, calibrated = (rows[name][counts] for name in (t.label, raw_column(t.name), calibrated_column(t.name)))
        clusters = of_rows(shown_to, counts)
        measured = evaluate_task(labels, raw.astype(np.float64), calibrated, slices(counts), clusters)
        entire = _entire(market, t, rows) if t.space == "entire" else None
        found: dict[str, Any] = {"entire": entire, "recall": _recall(market, t, rows, shown_to)}
        found["explored"] = on_explored(rows, t.label, calibrated_column(t.name), counts)
        if (of_task := importance.get(t.name)) is not None:
            on = LabelCount(rows=of_task.rows, positives=of_task.positives)
            found |= {"importance": of_task.lost, "importance_intervals": of_task.intervals, "importance_rows": on}
        tasks[t.name] = measured.model_copy(update=found)
        if t.role == "primary" and (counts.any() or not data.progressive):
            gates += check_task(t.name, market.training.gates.get(t.name, Gate()), measured, _trained_on(data, t), rival)
    value = evaluated_values(market, rows, shown_to)
    if market.value is not None and value is not None:
        gates += check_value(market.value, value)
    return EvaluationReport(
        tasks=tasks, gates=tuple(gates), data=data, in_service=rival, examination=_examination(market, rows), value=value
    )


def in_service(market: Market, releases: Path, rows: Rows, unseen_by_it: bool = False) -> InService | None:
    """The newest release on the rows that it has not learned from, by its own model and calibrator; None where there is none.

    Args:
      unseen_by_it: whether that is all of them.
    """
    versions = release.versions(releases)
    if not versions:
        return None
    found = newest_usable(releases, market)
    if found.release is None:
        return InService(version=versions[-1], note=f"not compared: {found.passed_over[0]}")
    newest = found.release
    signatures = load_signatures(str(newest.path))
    raw = score(market, signatures["evaluate"], rows)
    nearer = ahead(market, signatures, rows) if AHEAD in rows else {}
    theirs = where_shown(market, rows | raw)
    theirs |= calibrated(market, newest.calibrator, theirs)
    through_ms = {} if unseen_by_it or held_out_alike(market, newest.manifest) else learned_through_ms(market, newest.manifest)
    shown_to, slices = clusters_of(rows), _slices(market, rows)
    tasks: dict[str, Rival] = {}
    for t in (t for t in market.tasks if raw_column(t.name) in raw):
        counts, column = counting(t, rows), calibrated_column(t.name)
        unseen = counts & ~seen(rows, through_ms.get(t.label))
        labels, ours, its = rows[t.label][unseen], rows[column][unseen], theirs[column][unseen]
        left_out = int(counts.sum() - unseen.sum())
        clusters = of_rows(shown_to, unseen)
        rival = compare(labels, ours, its, slices(unseen), left_out, clusters)
        if t.given is None:
            rival = rival.model_copy(update={"choice": choice(rows, t.label, column, theirs[column], unseen)})
        if nearer and t.role == "primary":
            asked = unseen & positives(market, t, rows)
            both = rows[AHEAD][asked], nearer[AHEAD][asked]
            lost = recall_loss(*both, market.policy.max_candidates, of_rows(shown_to, asked))
            rival = rival.model_copy(update={"recall": lost})
        tasks[t.name] = rival
    return InService(version=newest.version, tasks=tasks)


def importances(market: Market, rank: Any, rows: Columns) -> dict[str, Importance]:
    """Task -> what it would lose without each feature, on at most 4,000 rows, rare labels first: one call of the model each."""
    rng = np.random.default_rng(market.model.seed)
    counts = {t.name: counting(t, rows) for t in market.tasks}
    of_label = np.stack([counts[t.name] * (1 + rows[t.label]) for t in market.tasks], axis=1)
    chosen, weight = draw(np.unique(of_label, axis=0, return_inverse=True)[1].reshape(-1), SHUFFLED_ROWS, rng)
    others = rng.integers(len(of_label), size=len(chosen))
    sample = {name: column[chosen] for name, column in rows.items()}
    shown_to = clusters_of(sample)
    before = score(market, rank, sample)
    found: dict[str, dict[str, tuple[float, Interval | None]]] = {t.name: {} for t in market.tasks}
    for f in market.features:
        after = score(market, rank, sample | {t.name: rows[t.name][others] for t in f.tensors})
        for t in market.tasks:
            of_task = counts[t.name][chosen]
            p, q = (scores[raw_column(t.name)][of_task].astype(np.float64) for scores in (before, after))
            if (lost := auc_lost(sample[t.label][of_task], p, q, weight[of_task], of_rows(shown_to, of_task))) is not None:
                found[t.name][f.name] = lost
    return {
        t.name: Importance(
            rows=int(counts[t.name][chosen].sum()),
            positives=int(sample[t.label][counts[t.name][chosen]].sum()),
            lost={name: lost for name, (lost, _) in by_feature},
            intervals={name: interval for name, (_, interval) in by_feature if interval is not None},
        )
        for t in market.tasks
        if (by_feature := sorted(found[t.name].items(), key=lambda item: -item[1][0]))
    }


def _entire(market: Market, task: TaskSpec, rows: Columns) -> Measured:
    """Of P(given) P(label | given), all the way up to what is unconditional, over all rows whose label is usable; it is 0 without
    `given`."""
    final = usable(task, rows)
    labels = np.ones(int(final.sum()), np.int64)
    raw, calibrated = np.ones(len(labels)), np.ones(len(labels))
    by_label = {t.label: t for t in market.tasks}
    link: TaskSpec | None = task
    while link is not None:
        labels = labels * rows[link.label][final]
        raw, calibrated = raw * rows[raw_column(link.name)][final], calibrated * rows[calibrated_column(link.name)][final]
        link = by_label[link.given] if link.given else None
    return Measured.of(labels, raw, calibrated, of_rows(clusters_of(rows), final))


def _examination(market: Market, rows: Columns) -> tuple[Examined, ...]:
    """What positions leave of clicks, where that was learned; rows of unknown position say nothing."""
    if market.model.bias is None:
        return ()
    found, group, size = np.unique(rows[POSITION], return_inverse=True, return_counts=True)
    mean = np.bincount(group, weights=rows[EXAMINATION]) / size
    return tuple(
        Examined(position=int(k), rows=int(n), seen=float(e)) for k, n, e in zip(found, size, mean, strict=True) if k >= 0
    )


def _recall(market: Market, task: TaskSpec, rows: Columns, shown_to: Clusters) -> Recall | None:
    """Of the towers, over the positives of a task that is served; None where all offers are ranked."""
    if AHEAD not in rows or task.role != "primary":
        return None
    asked = positives(market, task, rows)
    catalogue = Catalogue(market.policy.max_candidates, len(market.offers))
    return recall(rows[AHEAD][asked], catalogue, of_rows(shown_to, asked))


def _slices(market: Market, rows: Columns) -> Callable[[NDArray[np.bool_]], Slices]:
    """Some of the rows [N] -> the values of the market's slices in them."""
    values = slice_values(market, market.training.slices, rows)
    slices = {name: np.array(of_rows, object) for name, of_rows in values.items()}
    return lambda chosen: {name: of_rows[chosen] for name, of_rows in slices.items()}


def _trained_on(data: DataUsed, task: TaskSpec) -> LabelCount:
    """Of a training that goes on, the rows that judged it."""
    return data.splits["train" if data.splits["train"].rows else "eval"].tasks[task.name]
