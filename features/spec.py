"""One record per feature and per task. Schema, preprocessing, request validation, assembly and log columns follow from it."""

import math
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.campaign import Value

MAX_STRING = 256
INT64 = 2**63 - 1
# Names every training row has beside its features; no feature may take them.
RESERVED = frozenset({"decision_id", "impression_id", "time_ms", "position", "propensity", "offer", "campaign"})
HISTORY_COUNTERS = ("impression", "click", "conversion")

Source = Literal["shopper", "context", "history", "offer"]
DType = Literal["string", "int", "float"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class FeatureSpec(_Record):
    """A feature: what it holds, where it comes from, how the model encodes it.

    A string feature is looked up in a `vocabulary` (given, or the N most frequent learned in training) or hashed into
    `hash_buckets`. A number is any of: looked up, cut at `quantiles`, normalised. Without a choice, strings learn a
    vocabulary of 1000 and numbers are both cut at 10 quantiles and normalised.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    """Name in requests, logs and the model's input; an offer feature named `offer_id` holds the offer's id."""
    source: Source
    """shopper and context come with the request, history from Redis, offer from the catalogue."""
    dtype: DType = "string"
    """What a value is; a whole float passes as an int."""
    default: Value
    """Stands in for a missing value, in training and in serving alike."""
    column: str | None = None
    """Name in an external training file, where it differs."""
    vocabulary: int | tuple[str | int, ...] | None = None
    """How many of the most frequent values to learn, or the values themselves; others share one bucket."""
    hash_buckets: int | None = Field(default=None, ge=2, le=10_000_000)
    """Hash values into this many buckets, without a vocabulary."""
    quantiles: int | None = Field(default=None, ge=2, le=1000)
    """Cut a number at this many quantiles and embed the bucket."""
    normalize: bool = False
    """Feed a number to the network with mean 0 and standard deviation 1, held within the range seen in training."""
    counter: Literal["impression", "click", "conversion"] | None = None
    """For source history: which of the shopper's counters."""
    examples: tuple[Value, ...] = ()
    """Shown in the API's documentation."""

    @model_validator(mode="before")
    @classmethod
    def _choose_encoding(cls, raw: object) -> object:
        if not isinstance(raw, dict):
            return raw
        raw = dict(raw)
        if raw.get("source") == "history":
            raw.setdefault("dtype", "int")
            raw.setdefault("default", 0)
        if not any(raw.get(k) for k in ("vocabulary", "hash_buckets", "quantiles", "normalize")):
            if raw.get("dtype", "string") == "string":
                raw["vocabulary"] = 1000
            else:
                raw.update(quantiles=10, normalize=True)
        return raw

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name in RESERVED:
            raise ValueError(f"{self.name!r} is reserved; reserved names are {sorted(RESERVED)}")
        object.__setattr__(self, "default", self.coerce(self.default))
        string = self.dtype == "string"
        if string and (self.quantiles or self.normalize):
            raise ValueError("a string feature takes vocabulary or hash_buckets, not quantiles or normalize")
        if self.vocabulary is not None and self.hash_buckets is not None:
            raise ValueError("vocabulary and hash_buckets exclude each other")
        if self.dtype == "float" and (self.vocabulary is not None or self.hash_buckets is not None):
            raise ValueError("a float feature takes quantiles or normalize, not vocabulary or hash_buckets")
        if self.vocabulary == 0 or self.vocabulary == () or (isinstance(self.vocabulary, int) and self.vocabulary < 0):
            raise ValueError("vocabulary must be a positive size or a non-empty list")
        if (self.source == "history") != (self.counter is not None):
            raise ValueError(f"`counter` (one of {HISTORY_COUNTERS}) belongs to source history, and is required there")
        return self

    @property
    def log_column(self) -> str:
        """Column of an external training file."""
        return self.column or self.name

    def coerce(self, value: object) -> Value:
        """A value as this feature's dtype.

        Raises:
          ValueError: of another type, not finite, out of int64, or a string of more than 256 characters.
        """
        if self.dtype == "string":
            if not isinstance(value, str):
                raise ValueError(f"must be a string, got {value!r}")
            if len(value) > MAX_STRING:
                raise ValueError(f"must have at most {MAX_STRING} characters, got {len(value)}")
            return value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"must be a number, got {value!r}")
        if self.dtype == "int":
            if isinstance(value, float) and not value.is_integer():
                raise ValueError(f"must be a whole number, got {value!r}")
            if not -INT64 <= value <= INT64:
                raise ValueError(f"must fit in 64 bits, got {value!r}")
            return int(value)
        if not math.isfinite(value) or abs(value) > 3e38:
            raise ValueError(f"must be a finite 32-bit number, got {value!r}")
        return float(value)


class TaskSpec(_Record):
    """A probability to predict: P(label | shown), or P(label | given) where `given` is another label."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")
    """Name of the model's output, such as `ctr`."""
    label: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    """Name of the 0/1 column in training rows; from the event log: `click` or `conversion`."""
    column: str | None = None
    """Name in an external training file, where it differs."""
    given: str | None = None
    """Label that must be 1 for this task to count, such as `click` for pcvr."""

    @property
    def log_column(self) -> str:
        """Column of an external training file."""
        return self.column or self.label


class ModelSpec(_Record):
    """The network and how it is trained."""

    structure: Literal["stacked", "parallel"] = "stacked"
    """Deep layers on top of the cross layers, or beside them."""
    cross_layers: int = Field(default=2, ge=0, le=8)
    """Depth of DCN-V2's cross network."""
    projection_dim: int | None = Field(default=None, ge=1)
    """Rank of the cross layers; none is full rank."""
    hidden_units: tuple[int, ...] = (64, 32)
    """Widths of the deep network."""
    experts: int = Field(default=4, ge=1, le=64)
    """MMoE experts, where there are two tasks or more."""
    expert_units: int = Field(default=32, ge=1, le=4096)
    """Width of an expert."""
    embedding_dim: int = Field(default=8, ge=1, le=512)
    """Length of a feature's embedding in the ranker."""
    tower_dim: int = Field(default=16, ge=2, le=512)
    """Length of the two-tower embeddings."""
    tower_temperature: float = Field(default=0.1, gt=0)
    """Divides the towers' cosine similarities in the softmax."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of deep units left out while training."""
    input_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the embedded input left out while training."""
    l2: float = Field(default=1e-6, ge=0)
    """Weight of the layers' squared norm in the loss."""
    embedding_l2: float = Field(default=0.0, ge=0)
    """Weight of the squared norm of the embeddings that a row uses."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Adam's."""
    batch_size: int = Field(default=512, ge=1)
    """Rows per step."""
    epochs: int = Field(default=8, ge=1, le=1000)
    """At most; training stops earlier once the validation loss of the first task no longer falls."""
    patience: int = Field(default=2, ge=1)
    """Epochs without a better validation loss before training stops."""
    tower_epochs: int = Field(default=10, ge=1, le=1000)
    """Epochs of the two towers."""
    seed: int = 1
    """Of the initial weights, the shuffling and the split."""


class SplitSpec(_Record):
    """How rows are divided: `train` fits the weights, `valid` stops training and fits the calibrator, `eval` reports."""

    kind: Literal["random", "hash", "time"] = "random"
    """random by the seed, hash by a column's value, time by a column's order."""
    by: str | None = None
    """Column: hashed for `hash`; ordered for `time`, latest rows to eval."""
    valid_fraction: float = Field(default=0.1, gt=0, lt=1)
    """Share of the rows in `valid`."""
    eval_fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of the rows in `eval`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.valid_fraction + self.eval_fraction >= 0.95:
            raise ValueError("valid_fraction and eval_fraction must leave at least 5 % of the rows for training")
        if (self.kind == "random") != (self.by is None):
            raise ValueError("`by` names the column for kind hash or time, and is absent for random")
        return self


class Gate(_Record):
    """Least a task's eval metrics must reach for a release to be pushed."""

    min_auc: float = Field(default=0.5, ge=0, le=1)
    """Area under the ROC curve."""
    max_log_loss: float | None = Field(default=None, gt=0)
    """Mean log loss of the calibrated probabilities, in nats."""
    min_pcoc: float = Field(default=0.8, ge=0)
    """PCOC is sum p / sum y of the calibrated probabilities."""
    max_pcoc: float = Field(default=1.25, ge=0)
    """Upper bound of the same."""
    min_positives: int = Field(default=100, ge=1)
    """With fewer positives, or fewer negatives, in `eval` the gate is skipped, and the report says so: PCOC's standard error is
    about 1 / sqrt(positives)."""


class TrainingSpec(_Record):
    """Everything about a training run that is not the network."""

    split: SplitSpec = SplitSpec()
    """Which rows train, which calibrate, which report."""
    gates: dict[str, Gate] = {}
    """Task -> gate; a task without one takes the defaults."""
    slices: tuple[str, ...] = ()
    """Features whose values get their own metrics."""
    min_rows: int = Field(default=200, ge=10)
    """Fewer rows than this are refused."""
    click_window_s: int = Field(default=7 * 86_400, ge=1)
    """A click counts for an impression this long before it."""
    conversion_window_s: int = Field(default=30 * 86_400, ge=1)
    """A conversion counts for a click this long before it."""
