"""One record per feature. Schema, preprocessing, request validation, assembly and log columns follow from it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.campaign import FeatureValue, Value
from domain.errors import shown
from domain.refusals import Misfit
from features.derived import VALUES, Derivation, derivation

MAX_STRING = 256
MAX_WEIGHT = 1e9
INT64 = 2**63 - 1
# Names every training row has beside its features; no feature may take them.
CLUSTER = "cluster_id"
"""Column of checked rows, equal for those of one shopper, or else of one page; -1 where neither is known."""
EXPLORED, PROPENSITY = "explored", "propensity_ppb"
"""Columns of checked rows: whether the page was drawn at random, and how likely the offer was in its slot, in billionths;
-1 where that is not known."""
VALUE_MICROS = "conversion_value_micros"
"""Column of training rows: what the row's conversions were worth; null where there is none, or nobody said."""
LOG_ROW = "log_row"
"""Column of checked rows: which row of the whole log, from 0, files in the order they are read."""
RESERVED = frozenset(
    {
        *("decision_id", "impression_id", "time_ms", "position", "propensity", "elapsed_ms", "offer", "campaign"),
        *(CLUSTER, EXPLORED, PROPENSITY, VALUE_MICROS, LOG_ROW),
    }
)
HISTORY_COUNTERS = ("impression", "click", "conversion")
MISSING: dict[str, Value] = {"string": "", "int": -INT64 - 1, "float": math.nan}
"""What a missing value is in tensors and training rows where missing is a state of its own; in JSON and logs it is null.

No caller can send the numbers, and an empty string says the same thing as none.
"""

OFFER_ID = "offer_id"
"""Feature that holds the offer's id."""
CAMPAIGN = "campaign"
"""Slice of calibration that is no feature: the campaign of the row's offer."""
OFFER_ID_DROPOUT = 0.05
ENCODINGS = ("vocabulary", "hash_buckets", "ranks", "quantiles", "normalize")
"""Keys that choose one."""
DEFAULT_RANKS = 64

Source = Literal["shopper", "context", "history", "offer"]
DType = Literal["string", "int", "float"]
Missing = Literal["default", "own"]


class Record(BaseModel):
    """Immutable, and strict about unknown keys; the docstrings of fields describe them, as in docs/market.md."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True, slots=True)
class RawTensor:
    """A tensor that the model takes, and the column of training rows of the same name: [N], or [N, width]."""

    name: str
    dtype: DType
    width: int | None
    fill: Value
    """Stands where nothing is."""


class FeatureSpec(Record):
    """A feature: what it holds, where it comes from, how the model encodes it.

    A string feature is looked up in a `vocabulary` (given, or the N most frequent learned in training) or hashed into
    `hash_buckets`. A number is any of: looked up, ranked, cut at `quantiles`, normalised. Without a choice, strings learn a
    vocabulary of 1000 and numbers have `ranks = 64`, whatever their zeros and their tail.

    With `multiple`, a string or int feature holds a bag of values: its embedding is the mean of theirs, 0 for an empty bag.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    """Name in requests, logs and the model's input; an offer feature named `offer_id` holds the offer's id."""
    source: Source
    """shopper and context come with the request, history from Redis, offer from the catalogue."""
    dtype: DType = "string"
    """What a value is; a whole float passes as an int."""
    default: Value | None = None
    """Stands in for a missing value, in training and in serving alike; required unless `missing` is "own" or `multiple`."""
    missing: Missing = "default"
    """A missing value is the default, or a state of its own: an id, a bucket, and beside a normalised 0 an indicator."""
    multiple: bool = False
    """A list of values: JSON, TOML, Parquet and TFRecord lists; in CSV `a|b`."""
    max_values: int = Field(default=16, ge=1, le=1000)
    """Most values of a `multiple` feature; more are refused."""
    weighted: bool = False
    """The values of a `multiple` string feature have weights of 0 to 1e9: `{ a = 0.5, b = 2 }`; in training files `a:0.5`, or
    (value, weight) structs."""
    column: str | None = None
    """Name in an external training file, where it differs."""
    vocabulary: int | tuple[str | int, ...] | None = None
    """How many of the most frequent values to learn, or the values themselves."""
    oov_buckets: int = Field(default=1, ge=1, le=100_000)
    """Values outside of the vocabulary are hashed into this many buckets."""
    hash_buckets: int | None = Field(default=None, ge=2, le=10_000_000)
    """Hash values into this many buckets, without a vocabulary."""
    id_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of training rows whose value is taken for one never seen before, so that new values have a sane embedding; for
    `offer_id` 0.05 unless given."""
    quantiles: int | None = Field(default=None, ge=2, le=1000)
    """Cut a number at this many quantiles and embed the bucket."""
    ranks: int | None = Field(default=None, ge=3, le=1000)
    """Cut a number at this many quantiles of the values that are not its default, embed the range, that of the default apart, and
    feed the rank, interpolated between the cuts."""
    normalize: bool = False
    """Feed a number to the network with mean 0 and standard deviation 1, held within the range seen in training."""
    counter: Literal["impression", "click", "conversion"] | None = None
    """For source history: which of the shopper's counters."""
    derived: str | None = None
    """Computed, in training and serving alike, of the moment of the decision or of other features: `hour(time_ms)`,
    `weekday(time_ms, Europe/Berlin)` (0 is Monday), `log(basket)` (sign(x) ln(1 + |x|)), `ratio(basket, items)`. No request,
    offer or file has it; a file may call the moment, else `time_ms`, by another name: `column`."""
    missing_values: tuple[str, ...] = ()
    """Texts that say nothing, such as "NA": in files, requests and offers they are taken for a missing value; the market's
    `missing_values` unless given."""
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
            if raw.get("missing") != "own":
                raw.setdefault("default", 0)
        _choose_derived(raw)
        if not any(raw.get(k) for k in ENCODINGS):
            if raw.get("dtype", "string") == "string" or raw.get("multiple"):
                raw["vocabulary"] = 1000
            else:
                raw["ranks"] = DEFAULT_RANKS
        if raw.get("name") == OFFER_ID and (raw.get("vocabulary") or raw.get("hash_buckets")):
            raw.setdefault("id_dropout", OFFER_ID_DROPOUT)
        return raw

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name in RESERVED:
            raise Misfit(f"{self.name!r} is reserved: training rows have a column of that name", "name")
        if self.default is None and self.missing != "own" and not self.multiple:
            raise Misfit('is missing, and needed unless `missing` is "own" or `multiple` is true', "default")
        if self.default is not None and (self.missing == "own" or self.multiple):
            raise Misfit('cannot be given where `missing` is "own" or `multiple` is true', "default")
        if self.default is not None:
            try:
                object.__setattr__(self, "default", self.coerce_one(self.default))
            except ValueError as e:
                raise Misfit(str(e), "default") from None
        string = self.dtype == "string"
        sized = self.ranks or self.quantiles or self.normalize
        if self.multiple and (self.source == "history" or self.dtype == "float" or sized):
            raise ValueError("a multiple feature is a string or int one with vocabulary or hash_buckets, and no history")
        sized = self.ranks or self.quantiles or self.normalize
        if self.multiple and (self.missing == "own" or self.id_dropout):
            raise ValueError("a multiple feature takes neither missing nor id_dropout: an empty list is a state of its own")
        if string and sized:
            raise ValueError("a string feature takes vocabulary or hash_buckets, not ranks, quantiles or normalize")
        if self.vocabulary is not None and self.hash_buckets is not None:
            raise ValueError("vocabulary and hash_buckets exclude each other")
        if self.dtype == "float" and (self.vocabulary is not None or self.hash_buckets is not None):
            raise ValueError("a float feature takes ranks, quantiles or normalize, not vocabulary or hash_buckets")
        if self.weighted and not (self.multiple and string):
            raise ValueError("weighted belongs to a multiple string feature")
        if self.id_dropout and self.vocabulary is None and self.hash_buckets is None:
            raise ValueError("id_dropout needs a vocabulary or hash_buckets")
        if self.vocabulary == 0 or self.vocabulary == () or (isinstance(self.vocabulary, int) and self.vocabulary < 0):
            raise Misfit("expected how many values to learn, or a list of at least one", "vocabulary")
        if isinstance(self.vocabulary, tuple) and (twice := first_repeated(self.vocabulary)) is not None:
            raise Misfit(f"lists {twice!r} twice", "vocabulary")
        if isinstance(self.vocabulary, tuple) and self.default is None and "" in self.vocabulary:
            raise Misfit('must not list "": it stands for no value', "vocabulary")
        if self.derivation is not None:
            self._check_derived(self.derivation)
        if (self.source == "history") != (self.counter is not None):
            raise Misfit("belongs to source history, and is needed there: impression, click or conversion", "counter")
        return self

    def _check_derived(self, what: Derivation) -> None:
        if self.dtype != what.dtype or self.multiple:
            raise Misfit(f"expected {what.dtype!r}, which {what.function} gives, and a single value", "dtype")
        if what.of_time and self.source != "context":
            raise Misfit(f"expected 'context', to which the time belongs, got {self.source!r}", "source")
        if self.column is not None and not what.of_time:
            raise Misfit("cannot be given for a feature that is derived of others: no file has it", "column")

    @property
    def derivation(self) -> Derivation | None:
        """How it is derived, if it is."""
        return None if self.derived is None else derivation(self.derived)

    @property
    def log_column(self) -> str:
        """Column of an external training file."""
        return self.name if self.derived is not None else self.column or self.name

    @property
    def only_value(self) -> Value | None:
        """The one value that it can have: a file without its column has it in every row."""
        known = self.vocabulary if isinstance(self.vocabulary, tuple) and not self.multiple and self.derived is None else ()
        return known[0] if len(known) == 1 else None

    @property
    def absent(self) -> FeatureValue:
        """What stands in decisions and logs for a value that a request or an offer does not have."""
        if self.multiple:
            return {} if self.weighted else []
        return self.default

    @property
    def fill(self) -> Value:
        """What a missing value is in tensors and training rows; it also fills a list up to `max_values`."""
        return MISSING[self.dtype] if self.default is None else self.default

    @property
    def tensors(self) -> tuple[RawTensor, ...]:
        """As what the feature travels to the model: itself, and its weights."""
        width = self.max_values if self.multiple else None
        weights = (RawTensor(f"{self.name}_weights", "float", width, 0.0),) if self.weighted else ()
        return (RawTensor(self.name, self.dtype, width, self.fill), *weights)

    def coerce(self, value: object) -> FeatureValue:
        """A value, a list of values, or a table of weights by value, as this feature's dtype.

        Raises:
          ValueError: of another type, not finite, out of int64, a string of more than 256 characters, more than `max_values`.
        """
        if isinstance(value, str) and value in self.missing_values:
            return self.absent
        if not self.multiple:
            return self.coerce_one(value)
        if not isinstance(value, Mapping if self.weighted else list | tuple):
            raise ValueError(f"must be a {'table of weights by value' if self.weighted else 'list'}, got {shown(value)}")
        if len(value) > self.max_values:
            raise ValueError(f"must have at most {self.max_values} values, got {len(value)}")
        values = [self.coerce_one(v) for v in value]
        if "" in values:
            raise ValueError('must not hold "": it stands for no value')
        return dict(zip(map(str, values), map(_weight, value.values()), strict=True)) if isinstance(value, Mapping) else values

    def coerce_one(self, value: object) -> Value:
        """As `coerce`, for one of the values of a `multiple` feature."""
        if self.dtype == "string":
            if not isinstance(value, str):
                raise ValueError(f"must be a string, got {shown(value)}")
            if len(value) > MAX_STRING:
                raise ValueError(f"must have at most {MAX_STRING} characters, got {len(value)}")
            return value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"must be a number, got {shown(value)}")
        if self.dtype == "int":
            if isinstance(value, float) and not value.is_integer():
                raise ValueError(f"must be a whole number, got {value!r}")
            if not -INT64 <= value <= INT64:
                raise ValueError(f"must fit in 64 bits, got {value!r}")
            return int(value)
        if not math.isfinite(value) or abs(value) > 3e38:
            raise ValueError(f"must be a finite 32-bit number, got {value!r}")
        return float(value)


def _choose_derived(raw: dict[str, Any]) -> None:
    """What a derived feature need not say: its type, a state of its own for a missing one, hours and days as values."""
    try:
        what = derivation(raw["derived"])
    except KeyError:
        return
    except TypeError:
        return  # not a text, which is refused as such
    except ValueError as e:
        raise Misfit(str(e), "derived") from None
    raw.setdefault("dtype", what.dtype)
    if "default" not in raw:
        raw.setdefault("missing", "own")
    if what.of_time and not any(raw.get(k) for k in ENCODINGS):
        raw["vocabulary"] = VALUES[what.function]


def first_repeated(values: Iterable[Value]) -> Value | None:
    """The first value that comes a second time."""
    seen: set[Value] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def _weight(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_WEIGHT:
        raise ValueError(f"must have weights from 0 to {MAX_WEIGHT:g}, got {shown(value)}")
    return float(value)


class CrossSpec(Record):
    """One more id, hashed from the values of several features: for what they mean only together."""

    features: tuple[str, ...] = Field(min_length=2, max_length=3)
    """Two or three string or int features, of the request, the offer, or both."""
    hash_buckets: int = Field(ge=2, le=10_000_000)
    """Hash the combined values into this many buckets."""
