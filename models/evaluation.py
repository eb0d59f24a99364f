"""What a trained model is worth on held-out rows, per task and slice, and against the release in service."""

from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from features.spec import Record
from models import metrics
from models.clusters import Clusters, codes, count, of_rows, ratio_error
from models.explored import Choice, OnExplored
from models.log_used import LogUsed
from models.metrics import Interval, ReliabilityBin
from models.retrieval import Recall, RecallLoss
from models.value_metrics import ValueEvaluation

MOST_SLICES = 50

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Slices = dict[str, NDArray[np.object_]]
"""Feature -> [N], its value in every row."""


class Metrics(Record):
    """None where undefined, such as AUC without a positive."""

    auc: float | None
    log_loss: float | None
    pcoc: float | None
    normalised_entropy: float | None
    ece: float | None
    auc_interval: Interval | None
    log_loss_interval: Interval | None
    pcoc_interval: Interval | None

    @classmethod
    def of(cls, labels: Labels, p: Floats, clusters: Clusters = None) -> "Metrics":
        """All metrics of predictions p [N]; `clusters` as codes."""
        return cls(
            auc=metrics.auc(labels, p),
            log_loss=metrics.log_loss(labels, p),
            pcoc=metrics.pcoc(labels, p),
            normalised_entropy=metrics.normalised_entropy(labels, p),
            ece=metrics.ece(labels, p),
            auc_interval=metrics.auc_interval(labels, p, clusters),
            log_loss_interval=metrics.log_loss_interval(labels, p, clusters),
            pcoc_interval=metrics.pcoc_interval(labels, p, clusters),
        )


class LabelCount(Record):
    """Rows that count for a task, and the positives among them."""

    rows: int
    positives: int


class Measured(LabelCount):
    """Metrics before and after calibration, over the rows that count."""

    clusters: int | None = None
    """Shoppers, or pages, that the rows are of: intervals rest on these. None where every row stands for itself."""
    raw: Metrics
    calibrated: Metrics

    @classmethod
    def of(cls, labels: Labels, raw: Floats, calibrated: Floats, clusters: Clusters = None) -> "Measured":
        """Measures [N] rows."""
        coded = codes(clusters)
        return cls(
            rows=len(labels),
            positives=int(labels.sum()),
            clusters=None if coded is None else count(coded, len(labels)),
            raw=Metrics.of(labels, raw, coded),
            calibrated=Metrics.of(labels, calibrated, coded),
        )


class TaskEvaluation(Measured):
    """One task, whole and by slice: feature -> value -> measured."""

    slices: dict[str, dict[str, Measured]] = Field(default={})
    field_rce: dict[str, float | None] = Field(default={})
    """Slicing feature -> field-level relative calibration error of the calibrated probabilities."""
    reliability: dict[Literal["raw", "calibrated"], tuple[ReliabilityBin, ...]] = Field(default={})
    importance: dict[str, float] = Field(default={})
    """Feature -> AUC lost when its values come from other rows, most important first."""
    importance_intervals: dict[str, Interval] = Field(default={})
    importance_rows: LabelCount | None = None
    """That importance was measured on: weighted, with as many of the positives as there is room for."""
    recall: Recall | None = None
    """Of the two towers; None where all offers are ranked, or nothing is positive."""
    explored: OnExplored | None = None
    """On rows of pages that were drawn at random; None where there are none."""
    entire: Measured | None = None
    """Of a task with `given`, fitted on the entire space: P(given) P(label | given) over all rows."""


class Change(LabelCount):
    """Relative difference of this model's log loss from that of the release in service, on these rows: above 0 is worse."""

    relative: float
    interval: Interval


class Rival(LabelCount):
    """This model and the release in service, each calibrated, on the rows that the latter has not learned from."""

    seen: int
    """Rows that were left out, since it has."""
    ours: Metrics
    metrics: Metrics
    """Of the release in service."""
    change: Change | None
    recall: RecallLoss | None = None
    """Of the two towers, this model's against those of the release in service."""
    choice: Choice | None = None
    """What each would choose, by importance sampling; None where the rows say no propensities."""
    slices: dict[str, dict[str, Change]] = Field(default={})


class InService(Record):
    """The release in service when this model was trained."""

    version: int
    note: str = ""
    """Why it could not be compared."""
    tasks: dict[str, Rival] = Field(default={})


class SplitData(Record):
    """What a split holds."""

    rows: int
    tasks: dict[str, LabelCount]
    first: str | None = None
    """Least and greatest value of the column that a split by time orders by, as logged."""
    last: str | None = None


class DataUsed(Record):
    """The rows of a run, by split."""

    splits: dict[str, SplitData] = Field(default={})
    log: LogUsed | None = None
    """What became of the event log that they were joined from; None of rows from elsewhere."""
    warnings: tuple[str, ...] = ()
    """What a training goes on with, and somebody should look at."""
    progressive: bool = False
    """Whether `eval` was judged, and then learned from."""


class GateResult(Record):
    """One bound of one gate."""

    task: str
    key: str
    """Of market.toml, such as `training.gates.ctr.min_auc`."""
    metric: str
    value: float | None
    bound: float
    verdict: Literal["passed", "failed", "unjudged", "skipped"]
    """unjudged: there are too few rows, and it is not released for it. skipped: there are, and the market lets it pass, or there
    is nothing to judge."""
    note: str = ""
    where: str = ""
    """The slice that comes closest to failing, such as `device = phone`; empty for all rows."""
    over: int | None = None
    """The release that `value` is relative to."""
    interval: Interval | None = None
    """Given where the verdict rests on it: only an interval wholly beyond the bound fails."""

    def __str__(self) -> str:
        if self.verdict == "unjudged":
            return f"{self.task} cannot be judged{self._over}: {self.note}"
        value = "undefined" if self.value is None else f"{self.value:.4f}"
        if self.interval is not None:
            value += f" (95 % interval {self.interval[0]:.4f} to {self.interval[1]:.4f})"
        return f"{self.subject} is {value}, {self.key} asks for {self.bound:g}"

    @property
    def subject(self) -> str:
        """What was measured, in words."""
        where = f" where {self.where}" if self.where else ""
        return f"{self.metric} of {self.task}{where}{self._over}"

    @property
    def _over(self) -> str:
        return f" over release {self.over}" if self.over is not None else ""


class Examined(Record):
    """A position of the page, as the bias tower has it."""

    position: int
    rows: int
    seen: float
    """Clicks that it leaves an offer, of those at the first position: e_k, the mean over its rows."""


class EvaluationReport(Record):
    """evaluation.json."""

    tasks: dict[str, TaskEvaluation]
    gates: tuple[GateResult, ...]
    data: DataUsed = DataUsed()
    in_service: InService | None = None
    """None before the first release."""
    examination: tuple[Examined, ...] = ()
    """By position; none without a bias tower."""
    value: ValueEvaluation | None = None
    """Where the market asks for values, and the rows have a conversion whose value is known."""

    @property
    def failed(self) -> tuple[GateResult, ...]:
        """Bounds that were missed; a release has none."""
        return tuple(g for g in self.gates if g.verdict == "failed")

    @property
    def unjudged(self) -> tuple[GateResult, ...]:
        """Bounds that there are too few rows to judge by; a release has none."""
        return tuple(g for g in self.gates if g.verdict == "unjudged")

    @property
    def refusals(self) -> tuple[str, ...]:
        """Why it is not released, what was missed first; of bounds for want of the same rows one line."""
        return tuple(dict.fromkeys(map(str, self.failed + self.unjudged)))

    @property
    def waits(self) -> bool:
        """Whether nothing is held against the model, and it is not released for want of rows."""
        return bool(self.unjudged) and not self.failed


def evaluate_task(labels: Labels, raw: Floats, calibrated: Floats, slices: Slices, clusters: Clusters = None) -> TaskEvaluation:
    """Measures one task over the rows that count.

    Args:
      labels, raw, calibrated: [N].
      slices: only the 50 most frequent values of a feature are reported.
      clusters: [N], equal for rows that are not independent.
    """

    def of(m: NDArray[np.bool_]) -> Measured:
        return Measured.of(labels[m], raw[m], calibrated[m], of_rows(clusters, m))

    by_feature = {
        feature: {value: of(rows) for value, rows in frequent_values(values).items()} for feature, values in slices.items()
    }
    whole, coded = Measured.of(labels, raw, calibrated, clusters), codes(clusters)
    return TaskEvaluation(
        **dict(whole),
        slices=by_feature,
        field_rce={feature: metrics.field_rce(labels, calibrated, values) for feature, values in slices.items()},
        reliability={
            "raw": metrics.reliability_curve(labels, raw, clusters=coded),
            "calibrated": metrics.reliability_curve(labels, calibrated, clusters=coded),
        },
    )


def compare(labels: Labels, ours: Floats, theirs: Floats, slices: Slices, seen: int = 0, clusters: Clusters = None) -> Rival:
    """This model against the release in service, on the same rows.

    Args:
      labels, ours, theirs: [N], calibrated probabilities of rows that the release in service has not learned from.
      slices, clusters: as in `evaluate_task`.
      seen: rows that were left out.
    """
    by_feature: dict[str, dict[str, Change]] = {}
    for feature, values in slices.items():
        masks = frequent_values(values)
        changes = {
            value: log_loss_change(labels[m], ours[m], theirs[m], len(masks), of_rows(clusters, m)) for value, m in masks.items()
        }
        by_feature[feature] = {value: change for value, change in changes.items() if change is not None}
    coded = codes(clusters)
    return Rival(
        rows=len(labels),
        positives=int(labels.sum()),
        seen=seen,
        ours=Metrics.of(labels, ours, coded),
        metrics=Metrics.of(labels, theirs, coded),
        change=log_loss_change(labels, ours, theirs, clusters=coded),
        slices=by_feature,
    )


def log_loss_change(
    labels: Labels, ours: Floats, theirs: Floats, comparisons: int = 1, clusters: Clusters = None
) -> Change | None:
    """Relative increase of the mean log loss, paired by row, its interval by the delta method (`ratio_error`).

        r = sum a_i / sum b_i - 1

    Args:
      labels, ours, theirs: [N]; a_i and b_i are the losses of row i under ours and theirs.
      comparisons: how many such intervals hold together with 95 % confidence (Bonferroni).
      clusters: [N], equal for rows that are not independent.
    Returns:
      None with fewer than two clusters.
    """
    coded = codes(clusters)
    if count(coded, len(labels)) < 2:
        return None
    a, b = metrics.row_log_loss(labels, ours), metrics.row_log_loss(labels, theirs)
    ratio = float(a.sum() / b.sum())
    z = NormalDist().inv_cdf(1 - 0.025 / comparisons)
    half = z * ratio_error(a - ratio * b, float(b.sum()), coded)
    interval = Interval(ratio - 1 - half, ratio - 1 + half)
    return Change(rows=len(labels), positives=int(labels.sum()), relative=ratio - 1, interval=interval)


def frequent_values(values: NDArray[np.object_]) -> dict[str, NDArray[np.bool_]]:
    """The 50 most frequent values of [N] rows, in order, each with its rows."""
    found, group, count = np.unique(values, return_inverse=True, return_counts=True)
    frequent = sorted(np.argsort(-count, kind="stable")[:MOST_SLICES])
    return {str(found[i]): group == i for i in frequent}
