"""What is predicted, and by which network."""

from typing import Literal, Self

from pydantic import Field, model_validator

from domain.refusals import Misfit
from features.spec import VALUE_MICROS, Record

Head = Literal["separate", "mmoe"]


class TaskSpec(Record):
    """A probability to predict: P(label | shown), or P(label | given) where `given` is another label."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")
    """Name of the model's output, such as `ctr`."""
    label: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    """Name of the 0/1 column in training rows; from the event log: `click` or `conversion`."""
    column: str | None = None
    """Name in an external training file, where it differs."""
    positive: str | None = Field(default=None, min_length=1, max_length=256)
    """The text that means 1 in an external training file, such as "50000+.", where all others mean 0; 0 and 1, Y and N, yes and
    no, true and false need none."""
    given: str | None = None
    """Label that must be 1 for this task to count, such as `click` for pcvr."""
    space: Literal["conditional", "entire"] = "conditional"
    """With `given`: fit P(label | given) where it holds, or P(given) P(label | given) on all rows (ESMM)."""
    role: Literal["primary", "auxiliary"] = "primary"
    """An auxiliary task helps to train the others: it is reported, and never served."""
    weight: float = Field(default=1.0, gt=0)
    """Of this task's loss in the sum."""

    @property
    def log_column(self) -> str:
        """Column of an external training file."""
        return self.column or self.label

    @property
    def usable_column(self) -> str:
        """Column of training rows, 1 where the label is final: rows with 0 count for no task with that label."""
        return f"{self.label}_usable"

    @property
    def counts_column(self) -> str:
        """Column of checked rows, 1 where the row counts for this task: its label is usable, and `given`, if any, holds."""
        return f"{self.name}_counts" if self.given else self.usable_column

    @property
    def entry_column(self) -> str:
        """Column of training rows, of conversions that enter before they are final: ms from the click to its entry, else -1."""
        return f"{self.label}_entry_ms"

    @property
    def delay_column(self) -> str:
        """Column of training rows: ms from the click to the conversion, -1 where there is none."""
        return f"{self.label}_delay_ms"


class ValueSpec(Record):
    """What a conversion is worth, to predict: E(value | conversion) of the first conversion task, in micros of the currency."""

    column: str = VALUE_MICROS
    """Column of an external training file; rows of the event log have `conversion_value_micros`. Null where nobody knows."""
    min_pcoc: float | None = Field(default=None, ge=0)
    """Value-PCOC is the sum of the predicted values over that of the observed ones, of conversions: a release whose whole 95 %
    interval lies below this bound is not pushed. None is no bound."""
    max_pcoc: float | None = Field(default=None, gt=0)
    """Upper bound of the same."""


class BiasSpec(Record):
    """A shallow tower that explains clicks by where an offer stood; it takes part in training, and tells the auction."""

    features: tuple[str, ...] = ()
    """Request features with a given vocabulary, such as the device, beside the position, which training rows always have."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the training rows for which the tower is told nothing."""


class ModelSpec(Record):
    """The network and how it is trained."""

    structure: Literal["stacked", "parallel"] = "stacked"
    """Deep layers on top of the cross layers, or beside them."""
    cross_layers: int = Field(default=2, ge=0, le=8)
    """Depth of DCN-V2's cross network."""
    projection_dim: int | None = Field(default=None, ge=1)
    """Rank of the cross layers; none is full rank."""
    cross_experts: int = Field(default=1, ge=1, le=16)
    """Low-rank cross layers to mix by a gate in place of each one; needs `projection_dim`."""
    hidden_units: tuple[int, ...] = (64, 32)
    """Widths of the deep network."""
    head: Head = "mmoe"
    """What several tasks share: the embeddings, or a trunk and experts on it, mixed per task."""
    gate_features: tuple[str, ...] = ()
    """Features that the gates of experts see directly, such as the offer's format."""
    experts: int = Field(default=4, ge=1, le=64)
    """Experts, where there are two tasks or more; one is a bottom that all share."""
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
    members: int = Field(default=1, ge=1, le=64)
    """How many predict beside one another; the mean of their probabilities is served."""
    ensemble: Literal["separate", "shared"] = "separate"
    """Members are networks that differ by their seed, or share one network but for the scale of its inputs and its outputs."""
    bias: BiasSpec | None = None
    """Removes position bias; without it clicks are taken as they come."""
    seed: int = 1
    """Of the initial weights, the shuffling and the split."""

    @property
    def networks(self) -> int:
        """Networks to fit one after the other."""
        return self.members if self.ensemble == "separate" else 1

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.cross_experts > 1 and self.projection_dim is None:
            raise Misfit("mixes low-rank layers: give their rank, `projection_dim`", "cross_experts")
        return self
