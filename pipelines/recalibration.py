"""A new calibrator for the newest release, fitted to what was logged since; the model stays."""

import shutil
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from domain.errors import ContractError, NothingToLearn
from features.log_schema import contiguous
from features.market import Market
from features.model_spec import TaskSpec
from features.spec import CLUSTER, RawTensor, Record
from models import metrics, release
from models.calibration import Calibrator
from models.calibration.selection import clearly_worse, enough
from models.release import Release, calibrated_column, left_out
from models.release_folder import newest_usable
from pipelines.bags import tensor_columns
from pipelines.calibration import Columns, calibrated, counting, fit_task, where_shown
from pipelines.clusters import SAID_BY, cluster_column, clusters_of
from pipelines.doubts import doubted_labels, doubts
from pipelines.examples import archive_end_ms, join_log, matures_s
from pipelines.freshness import learned_through_ms, seen
from pipelines.push import PARTIAL, link, push

JUDGED = 0.2  # of a task's rows, the latest
ERRORS = 2.0  # standard errors that a gain must exceed: of calibrations that are as good, one in forty is published


class Comparison(Record):
    """The calibration in service and a new one, on the latest rows, to which the new one was not fitted."""

    rows_fitted: int
    rows_judged: int
    positives_judged: int
    log_loss_before: float | None = None
    log_loss_after: float | None = None
    pcoc_before: float | None = None
    pcoc_after: float | None = None
    replaced: bool = False
    """Whether the new one is better by more than two standard errors of the difference in log loss."""


class Recalibration(Record):
    """recalibration.json."""

    release: int
    """The one whose calibration was in service."""
    from_ms: int
    """Rows shown since were read; each task's window ends where its labels can no longer change."""
    as_of_ms: int
    """End of the log: what came later is not known."""
    tasks: dict[str, Comparison]

    @property
    def better(self) -> bool:
        """Whether any task has a better calibration now."""
        return any(task.replaced for task in self.tasks.values())


@dataclass(frozen=True, slots=True)
class Recalibrated:
    """What came of it."""

    report: Recalibration
    calibrator: Calibrator
    release: Path | None
    """The new release; None where nothing was better and nothing was published."""


def recalibrate(market: Market, log_dir: Path, releases: Path, window_s: int, now_ms: int) -> Recalibrated:
    """Fits each task to the first 80 % of its rows in the window, judges on the rest, and publishes what is better.

    A row counts once its label can no longer change, when the windows of attribution up to that label have passed, whatever
    `training.delayed_labels` says; if the model has not learned from that label: of rows that it has trained on it is too sure;
    and if neither this release nor one before it doubts the label. A task that does not gain keeps the calibration it has.

    Args:
      releases: the newest one in this folder is recalibrated; if anything is better, a newer one appears beside it, the same
        files under second names, but for the calibrator.
      window_s: how much of the log to use per task, back from its newest row that counts.
      now_ms: time of the new release; labels are as of the end of the archive, if that is earlier.
    Raises:
      ContractError: there is no release, or it was made for another market.
      InvalidTrainingData: the log has no impressions in the window, or none that the model has not learned from.
    """
    newest = newest_release(releases).compatible_with(market)
    after_s, as_of_ms = matures_s(market), archive_end_ms(log_dir, now_ms)
    since_ms = as_of_ms - 1000 * (window_s + max(after_s.values()))
    rows, _ = join_log(market, log_dir, as_of_ms, since_ms)
    usable = _usable(market, newest, rows, as_of_ms, window_s)
    if not any(mask.any() for mask in usable.values()):
        expected = f"labels that have become final since release {newest.version} learned, within {window_s:,} s"
        raise NothingToLearn(str(log_dir), expected, f"none in {len(rows):,} impressions")
    columns = predicted(market, newest, rows)
    usable = _believed(market, newest, columns, usable)
    tasks, compared = dict(newest.calibrator.tasks), {}
    for t in market.tasks:
        counts = counting(t, columns) & usable[t.label]
        judged = counts & (columns["time_ms"] > _cut(columns["time_ms"][counts]))
        fitted = fit_task(market, t, columns, counts & ~judged)
        latest = {name: column[judged] for name, column in columns.items()}
        compared[t.name] = _compare(
            market, t, latest, newest.calibrator, Calibrator(tasks={t.name: fitted}), rows_fitted=fitted.rows
        )
        if compared[t.name].replaced:
            tasks[t.name] = fitted
    report = Recalibration(release=newest.version, from_ms=since_ms, as_of_ms=as_of_ms, tasks=compared)
    calibrator = Calibrator(tasks=tasks)
    return Recalibrated(report, calibrator, _publish(newest, report, calibrator, releases, now_ms) if report.better else None)


def newest_release(releases: Path) -> Release:
    """The newest release in a folder that is whole: the one that gateways serve.

    Raises:
      ContractError: there is none, or all of them are damaged.
    """
    found = newest_usable(releases)
    if found.release is not None:
        return found.release
    if found.passed_over:
        raise found.passed_over[0]
    raise ContractError(f"{releases}: expected a folder with at least one release, found none")


def _usable(market: Market, trained: Release, rows: pa.Table, as_of_ms: int, window_s: int) -> dict[str, NDArray[np.bool_]]:
    """Label -> [R], rows of the window whose label is final, and was neither learned from nor left out."""
    columns = {"time_ms": rows["time_ms"].to_numpy()}
    through_ms = learned_through_ms(market, trained.manifest)
    found = {}
    for label, after_s in matures_s(market).items():
        in_window = (as_of_ms - columns["time_ms"]) / 1000 - after_s <= window_s
        learned = seen(columns, through_ms.get(label)) | left_out(columns["time_ms"], label, trained.manifest.left_out)
        found[label] = in_window & (rows[f"{label}_matured"].to_numpy() == 1) & ~learned
    return found


def _believed(
    market: Market, newest: Release, columns: Columns, usable: dict[str, NDArray[np.bool_]]
) -> dict[str, NDArray[np.bool_]]:
    """Of the usable labels those that the release believes: clicks that got lost say nothing about it."""
    final = {t.usable_column: usable[t.label].astype(np.int64) for t in market.tasks}
    found = doubts(market, {**columns, **final, **calibrated(market, newest.calibrator, columns)})
    doubted = doubted_labels(market, {task: [r for r in of_task if r.doubted] for task, of_task in found.items()})
    return {label: mask & ~left_out(columns["time_ms"], label, doubted) for label, mask in usable.items()}


def predicted(market: Market, trained: Release, rows: pa.Table) -> Columns:
    """The rows' columns, and the model's own probabilities of them where they were shown."""
    from pipelines.scoring import load_ranker, score  # TensorFlow takes seconds: only once there are rows

    features = {f.name for f in market.features}
    columns = {name: rows[name].to_numpy() for name in rows.column_names if name not in features} | raw_tensors(market, rows)
    said = {name: contiguous(rows[name]) for name in SAID_BY if name in rows.column_names}
    columns[CLUSTER] = cluster_column(said, len(rows))
    return where_shown(market, columns | score(market, load_ranker(str(trained.path)), columns))


def raw_tensors(market: Market, rows: pa.Table) -> dict[str, NDArray[Any]]:
    """The features of training rows as the model's inputs by name, [R] or [R, width]; text as str."""
    tensors: dict[str, NDArray[Any]] = {}
    for f in market.features:
        arrays = tensor_columns(f, contiguous(rows[f.name]), partial(_where, f.name))
        tensors |= {t.name: _values(t, array) for t, array in zip(f.tensors, arrays, strict=True)}
    return tensors


def _where(feature: str, row: int) -> str:
    return f"the log: feature {feature!r}, row {row + 1}"


def _values(tensor: RawTensor, column: pa.Array) -> NDArray[Any]:
    """[R] or [R, width]; text as str."""
    if tensor.width is None:
        return column.to_numpy(zero_copy_only=False)
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), tensor.width)


def _cut(time_ms: NDArray[np.int64]) -> float:
    """Time after which rows are judged; rows of one time stay together."""
    return float(np.quantile(time_ms, 1 - JUDGED, method="lower")) if len(time_ms) else 0.0


def _compare(
    market: Market, task: TaskSpec, latest: Columns, before: Calibrator, after: Calibrator, rows_fitted: int
) -> Comparison:
    """Of one task, on its latest rows; too few to tell leaves everything as it is."""
    labels = latest[task.label]
    sizes = Comparison(rows_fitted=rows_fitted, rows_judged=len(labels), positives_judged=int(labels.sum()))
    if not enough(labels):
        return sizes
    old, new = (calibrated(market, one, latest)[calibrated_column(task.name)] for one in (before, after))
    return sizes.model_copy(
        update={
            "log_loss_before": metrics.log_loss(labels, old),
            "log_loss_after": metrics.log_loss(labels, new),
            "pcoc_before": metrics.pcoc(labels, old),
            "pcoc_after": metrics.pcoc(labels, new),
            "replaced": clearly_worse(
                metrics.row_log_loss(labels, old), metrics.row_log_loss(labels, new), ERRORS, clusters_of(latest)
            ),
        }
    )


def _publish(newest: Release, report: Recalibration, calibrator: Calibrator, releases: Path, now_ms: int) -> Path:
    """A release like `newest`, but for its calibrator and manifest."""
    manifest = newest.manifest.model_copy(
        update={
            "version": release.next_version(releases, now_ms // 1000),
            "created_ms": now_ms,
            "full_ms": newest.manifest.full_ms or newest.manifest.created_ms,  # or it would put off the next full training
            "recalibrated_from": newest.manifest.recalibrated_from or newest.version,
        }
    )
    # A linked file must not be written to: it is the other release's, too.
    written = {release.CALIBRATOR: calibrator, release.RECALIBRATION: report}
    own = shutil.ignore_patterns(*(Path(name).name for name in (*written, release.MANIFEST)))
    with tempfile.TemporaryDirectory(prefix=f"{PARTIAL}recalibrated-", dir=releases) as folder:
        assembled = Path(folder) / "assembled"
        shutil.copytree(newest.path, assembled, copy_function=link, ignore=own)
        for name, content in written.items():
            (assembled / name).write_text(content.model_dump_json(indent=2) + "\n", encoding="utf-8")
        release.seal(assembled, manifest)
        return push(assembled, releases, copy=link)
