"""Which rows train and which judge, and what a model must reach to be released."""

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from domain.refusals import Misfit
from features.spec import Record


class SplitSpec(Record):
    """How rows are divided: `train` fits the weights, `valid` stops training and fits the calibrator, `eval` reports."""

    kind: Literal["random", "hash", "time"] = "random"
    """random by the seed, hash by a column's value, time by a column's order."""
    by: str | None = None
    """Column: hashed for `hash`; ordered for `time`, latest rows to eval, of those with the same final labels."""
    valid_fraction: float = Field(default=0.1, gt=0, lt=1)
    """Share of the rows in `valid`."""
    eval_fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of the rows in `eval`."""
    valid: Literal["latest", "random"] = "latest"
    """Of kind time: which of the rows before eval are `valid`. The latest are most like those to come; if they are random ones,
    the latest train, too."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.valid_fraction + self.eval_fraction >= 0.95:
            raise ValueError("valid_fraction and eval_fraction must leave at least 5 % of the rows for training")
        if (self.kind == "random") != (self.by is None):
            raise Misfit("names the column for kind hash or time, and is absent for random", "by")
        if self.kind != "time" and self.valid == "random":
            raise Misfit("'random' belongs to kind time", "valid")
        return self


class Gate(Record):
    """What a task must reach for a release to be pushed; an auxiliary task is reported, and not held to any."""

    min_auc: float = Field(default=0.5, ge=0, le=1)
    """Area under the ROC curve."""
    max_log_loss: float | None = Field(default=None, gt=0)
    """Mean log loss of the calibrated probabilities, in nats."""
    min_pcoc: float = Field(default=0.8, ge=0)
    """PCOC is sum p / sum y of the calibrated probabilities; of a slice, its whole 95 % interval lies beyond a bound to fail."""
    max_pcoc: float = Field(default=1.25, ge=0)
    """Upper bound of the same."""
    max_log_loss_increase: float | None = Field(default=0.01, ge=0)
    """Of the calibrated log loss, relative to the release in service on the same rows, overall and on every slice: fails where
    the whole 95 % interval of the difference lies above it."""
    max_recall_loss: float | None = Field(default=0.02, ge=0, le=1)
    """Of the share of positives whose offer the two towers retrieve, against the release in service: fails where the whole 95 %
    interval of the difference lies above it."""
    min_label_rate: float | None = Field(default=None, ge=0, le=1)
    """Share of positives among the training rows that count; below it something is wrong with the labels."""
    max_label_rate: float | None = Field(default=None, ge=0, le=1)
    """Upper bound of the same."""
    labels_min_pcoc: float = Field(default=0.5, ge=0)
    """PCOC of the release in service on an hour of new rows: where its whole interval lies below, labels are taken for
    broken, and `offerrank retrain` does not learn from them."""
    labels_max_pcoc: float = Field(default=2.0, ge=1)
    """Upper bound of the same: of clicks that got lost half are missing."""
    min_positives: int = Field(default=100, ge=1)
    """With fewer positives, or fewer negatives, among the rows that judge, a model cannot be judged, nor a slice with fewer:
    PCOC's standard error is about 1 / sqrt(positives)."""
    unjudged: Literal["refuse", "release"] = "refuse"
    """What becomes of a model that cannot be judged on all rows; slices are merely left out."""


class CsvSpec(Record):
    """How CSV files of a training log are written, where that cannot be seen: a separator of the header line, and UTF-16 with its
    mark, can."""

    separator: str | None = Field(default=None, min_length=1, max_length=1)
    """One character between two fields; else what the header line is separated by: `,`, `;`, tab or `|`."""
    encoding: str | None = None
    """Such as "latin-1" or "cp1252"; else UTF-8, or what a byte order mark says."""
    columns: tuple[str, ...] = ()
    """Names of the columns, for files without a header line."""

    @field_validator("separator", "encoding")
    @classmethod
    def _check(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        if info.field_name == "separator" and (value in '"\r\n' or not value.isascii()):
            raise ValueError("expected an ASCII character that is no quote and no line break")
        if info.field_name == "encoding":
            try:
                "".encode(value)
            except LookupError:
                raise ValueError("expected the name of an encoding, such as latin-1") from None
        return value


class CalibrationSpec(Record):
    """How probabilities are corrected on the rows of `valid`; the curve is chosen there by cross-validated log loss."""

    slices: tuple[str, ...] = ()
    """Slices whose values get a correction of their own: string or int features, `campaign`, which the feature `offer_id` tells,
    or pairs of these, such as `format x campaign`."""


class TrainingSpec(Record):
    """Everything about a training run that is not the network."""

    split: SplitSpec = SplitSpec()
    """Which rows train, which calibrate, which report."""
    gates: dict[str, Gate] = Field(default={})
    """Task -> gate; a task without one takes the defaults."""
    slices: tuple[str, ...] = ()
    """Slices whose values get metrics and gates of their own: string or int features, `campaign`, `position`, `placement`, or
    pairs of these, such as `format x placement`."""
    calibration: CalibrationSpec = CalibrationSpec()
    """What corrects the model's probabilities."""
    csv: CsvSpec = CsvSpec()
    """How CSV files of a training log are written."""
    infra_validator: Literal["docker", "kubernetes"] | None = None
    """Load every release in the `tensorflow/serving` image, too, before it is pushed (TFX's InfraValidator): in Docker where the
    pipeline runs, or in the Kubernetes that it runs in."""
    min_rows: int = Field(default=200, ge=10)
    """Fewer rows than this are refused."""
    max_missing: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default={})
    """Feature -> largest share of the log's rows that may lack it; one not named may be missing anywhere."""
    max_clicks_without_impression: float = Field(default=0.2, ge=0, le=1)
    """Of the event log: largest share of the clicked offers whose impression was not reported; more are lost beacons, or pages
    that report none (`policy.impressions`). Refused where the whole 95 % interval lies above it."""
    click_window_s: int = Field(default=3600, ge=1)
    """A click counts for an impression this long before it; nobody looks at a confirmation page for longer than an hour."""
    conversion_window_s: int = Field(default=7 * 86_400, ge=1)
    """A conversion counts for a click this long before it. Training waits that long, so a long one learns from old pages."""
    keep_negatives: float = Field(default=1.0, gt=0, le=1)
    """Share of the training rows with a first label of 0 that the networks are fitted on; each stands for those left out, so odds
    and calibration stay right. Statistics, vocabularies, `valid` and `eval` are of all rows."""
    tfma: bool = False
    """Whether TFX's Evaluator measures the model as well, for TFMA's views by slice; its approximate AUC is a gate then."""
    delayed_labels: Literal["wait", "importance", "ignore"] = "wait"
    """Of rows of the event log: a label counts once no event can change it any more; or incremental trainings take each click at
    once, with importance weights for conversions (ES-DFM), where no feature tells the time; or a label counts as it is known when
    the rows are read, which takes "not yet" for "no"."""
