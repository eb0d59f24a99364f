"""The data sets, and their rows divided as `offerrank train` divides them: by the same code, from the same market.toml."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from benchmarks.models.prepare import PREPARE, REPOSITORY
from features.market import Market, load_market
from features.model_spec import ModelSpec
from features.spec import ENCODINGS, FeatureSpec
from models import metrics
from models.importance import auc_lost
from pipelines.ingest import ingest
from pipelines.splits import SPLITS

EXAMPLES = REPOSITORY / "examples"
REHEARSED = 0.2
"""Share of train that a rehearsal scores."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """A market and where its rows come from."""

    market_file: Path
    published: str | None = None
    """File below the source folder that needs no preparation."""
    popularity: tuple[str, ...] = ()
    """Offer features whose past share of positives is a baseline, the coarsest first."""


DATA_SETS = {
    "coupon_vehicle": DataSet(
        EXAMPLES / "coupons" / "market.toml", "coupon_vehicle/coupons.csv.gz", popularity=("coupon", "expiration")
    ),
    "bank": DataSet(EXAMPLES / "bank" / "market.toml"),
    "census": DataSet(EXAMPLES / "census" / "market.toml"),
    "journey": DataSet(EXAMPLES / "journey" / "market.toml", popularity=("category", "offer_id")),
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """Rows to fit on or to choose by."""

    features: pd.DataFrame
    """Raw values by feature, missing ones as the market's default."""
    labels: dict[str, NDArray[np.int64]]
    """Label -> [N]."""


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Everything a model may see: of the test rows it is the features only. One is equal to itself alone."""

    name: str
    market: Market
    train: Labelled
    valid: Labelled
    test: pd.DataFrame

    @property
    def categories(self) -> list[str]:
        """Features that are looked up."""
        return [f.name for f in self.market.features if not is_number(f)]

    @property
    def numbers(self) -> list[str]:
        """Features whose size means something."""
        return [f.name for f in self.market.features if is_number(f)]

    def fitting(self) -> Labelled:
        """train and valid, for a baseline that needs no rows to choose by, or holds out its own."""
        labels = {name: np.concatenate([y, self.valid.labels[name]]) for name, y in self.train.labels.items()}
        return Labelled(pd.concat([self.train.features, self.valid.features], ignore_index=True), labels)


class SealedLabels:
    """Labels of the test rows: `score` and `ahead` are the only ways to them."""

    def __init__(self, labels: dict[str, NDArray[np.int64]]) -> None:
        self._labels = labels

    def score(self, label: str, p: NDArray[np.float64]) -> dict[str, float | None]:
        """Metrics of probabilities [N] of one label; the interval is of these test rows."""
        y = self._labels[label]
        low, high = metrics.auc_interval(y, p) or (None, None)
        return {
            "auc": metrics.auc(y, p),
            "auc_low": low,
            "auc_high": high,
            "pr_auc": float(average_precision_score(y, p)),
            "log_loss": metrics.log_loss(y, p),
            "pcoc": metrics.pcoc(y, p),
        }

    def ahead(self, label: str, p: NDArray[np.float64], other: NDArray[np.float64]) -> dict[str, float | None]:
        """The AUC of probabilities [N] less that of others, and its interval by what these test rows have in common."""
        y = self._labels[label]
        ahead, interval = auc_lost(y, p, other, np.ones(len(y))) or (None, None)
        low, high = interval or (None, None)
        return {"ahead": ahead, "ahead_low": low, "ahead_high": high}


def rows_of(name: str, source: Path, folder: Path) -> Path:
    """The file that `offerrank train --data` would be given; written into `folder` where it has to be prepared."""
    published = DATA_SETS[name].published
    if published is not None:
        return source / published
    prepared = folder / f"{name}.parquet"
    PREPARE[name](source).to_parquet(prepared, index=False)
    return prepared


def divide(
    name: str, rows: Path, seed: int, *, rehearse: bool = False, numbers: Mapping[str, object] | None = None
) -> tuple[Fold, SealedLabels]:
    """Splits as the market says with `model.seed` = seed: at random, or by time, when all seeds have the same test rows.

    Args:
      rehearse: to choose a model by, leaves the test rows alone. Of a split by time they are cut off, and the past that remains
        is split in the same way; of others a fifth of train stands in their place.
      numbers: how all numbers are encoded, in the place of what the market says.
    """
    market = with_model(load_market(DATA_SETS[name].market_file), {"seed": seed})
    if numbers:
        market = with_numbers(market, numbers)
    by_time = market.training.split.kind == "time"
    with tempfile.TemporaryDirectory() as folder:
        ingested = ingest(market, rows, Path(folder) / "rows")
        if rehearse and by_time:
            past = _before(ingested.times["eval"][0], str(market.training.split.by), rows, Path(folder) / "past.parquet")
            ingested = ingest(market, past, Path(folder) / "past")
        train, valid, test = (_read(market, ingested.directory / split / "rows.parquet") for split in SPLITS)
    if rehearse and not by_time:
        out = np.random.default_rng(seed).random(len(train.features)) < REHEARSED
        train, test = _rows(train, ~out), _rows(train, out)
    return Fold(name, market, train, valid, test.features), SealedLabels(test.labels)


def with_model(market: Market, changes: dict[str, object], tasks: Sequence[str] = ()) -> Market:
    """The market with keys of `[model]` changed and, if named, only some of its tasks."""
    model = ModelSpec.model_validate(market.model.model_dump() | changes)
    chosen = tuple(t for t in market.tasks if not tasks or t.name in tasks)
    return market.model_copy(update={"model": model, "tasks": chosen})


def with_numbers(market: Market, encoding: Mapping[str, object]) -> Market:
    """The market with all numbers encoded alike, by keys of a feature."""

    def encoded(feature: FeatureSpec) -> FeatureSpec:
        others = {key: value for key, value in feature.model_dump().items() if key not in ENCODINGS}
        return FeatureSpec.model_validate(others | dict(encoding))

    return market.model_copy(update={"features": tuple(encoded(f) if is_number(f) else f for f in market.features)})


def is_number(feature: FeatureSpec) -> bool:
    """Whether the network reads a feature by its size."""
    return bool(feature.ranks or feature.quantiles or feature.normalize)


def _read(market: Market, file: Path) -> Labelled:
    table = pd.read_parquet(file)
    labels = {t.label: table[t.label].to_numpy() for t in market.tasks}
    return Labelled(table[[t.name for f in market.features for t in f.tensors]], labels)


def _before(end: str, column: str, rows: Path, to: Path) -> Path:
    table = pd.read_parquet(rows)
    table[table[column] < pd.Timestamp(end)].to_parquet(to, index=False)
    return to


def _rows(labelled: Labelled, chosen: NDArray[np.bool_]) -> Labelled:
    return Labelled(labelled.features[chosen].reset_index(drop=True), {name: y[chosen] for name, y in labelled.labels.items()})
