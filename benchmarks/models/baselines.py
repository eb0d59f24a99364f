"""What a network has to beat, each as its library's users would start: one model per task, probabilities of the test rows.

A feature that the market looks up or hashes is a category here, one that it normalises or cuts at quantiles is a number.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ParameterSampler
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from benchmarks.models.datasets import DATA_SETS, Fold
from models.metrics import log_loss

Floats = NDArray[np.float64]

PRIOR_ROWS = 100
"""Rows' worth of the coarser rate that a rate of popularity starts from."""
MOST_CATEGORIES = 254
"""Bins of HistGradientBoosting less the one for missing; rarer values share the last."""
SEARCHES = 16
"""Settings that a random search tries, of trees as of a network."""
BAG = 8
MOST_ITERATIONS = 400
STAGES = 40
SEARCHED = {
    "learning_rate": [0.03, 0.06, 0.1],
    "max_leaf_nodes": [7, 15, 31, 63],
    "min_samples_leaf": [5, 20, 60],
    "l2_regularization": [0.0, 1.0, 10.0],
    "max_features": [0.2, 0.5, 1.0],
}


def popularity(fold: Fold, label: str) -> Floats:
    """Share of positives by offer, shrunk to that of its category, and so on to the share of all rows.

    rate = (positives + 100 rate of the coarser group) / (rows + 100)
    """
    fitting = fold.fitting()
    y = pd.Series(fitting.labels[label])
    rate = np.full(len(fold.test), y.mean())
    prior = np.full(len(y), y.mean())
    keys = DATA_SETS[fold.name].popularity
    for depth in range(1, len(keys) + 1):
        names = list(keys[:depth])
        groups = fitting.features[names].assign(y=y, prior=prior).groupby(names)
        counted = groups.agg(rows=("y", "size"), positives=("y", "sum"), coarser=("prior", "first"))
        rates = ((counted["positives"] + PRIOR_ROWS * counted["coarser"]) / (counted["rows"] + PRIOR_ROWS)).rename("rate")
        prior = fitting.features[names].join(rates, on=names)["rate"].to_numpy()
        known = fold.test[names].join(rates, on=names)["rate"].to_numpy()
        rate = np.where(np.isnan(known), rate, known)
    return rate


def logistic_regression(fold: Fold, label: str) -> Floats:
    """sklearn's, L2 with C = 1, on one-hot categories and standardised numbers."""
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), fold.categories), (StandardScaler(), fold.numbers))
    fitting = fold.fitting()
    model = make_pipeline(encode, LogisticRegression(max_iter=300))
    return _positive(model.fit(fitting.features, fitting.labels[label]), fold.test)


def hist_gradient_boosting(fold: Fold, label: str) -> Floats:
    """sklearn's defaults, with native categories; above 10,000 rows it holds out a tenth to stop by."""
    fitting = fold.fitting()
    return _positive(_boosting(fold).fit(fitting.features, fitting.labels[label]), fold.test)


def hist_gradient_boosting_tuned(fold: Fold, label: str, searches: int = SEARCHES) -> Floats:
    """The best of a random search and, of it, the best number of trees by log loss on valid; refitted on train and valid."""
    fitting = fold.fitting()
    model = _boosting(fold, early_stopping=False, **_searched(fold, label, searches))
    return _positive(model.fit(fitting.features, fitting.labels[label]), fold.test)


def hist_gradient_boosting_bag(fold: Fold, label: str, searches: int = SEARCHES, members: int = BAG) -> Floats:
    """The mean of so many of the tuned ones, which differ by their seed and their rows: each is fitted on a bootstrap sample."""
    fitting, options = fold.fitting(), _searched(fold, label, searches)
    rng = np.random.default_rng(fold.market.model.seed)
    found = []
    for number in range(members):
        rows = rng.integers(0, len(fitting.features), len(fitting.features))
        model = _boosting(fold, early_stopping=False, **options, random_state=fold.market.model.seed + 1000 * number)
        found.append(_positive(model.fit(fitting.features.iloc[rows], fitting.labels[label][rows]), fold.test))
    return np.asarray(np.mean(found, axis=0), np.float64)


@functools.lru_cache(maxsize=2)
def _searched(fold: Fold, label: str, searches: int) -> dict[str, Any]:
    """The setting with the least log loss on valid, and its number of trees; sought once for single trees and their bag."""
    tried = ParameterSampler(SEARCHED, searches, random_state=fold.market.model.seed)
    found = [(*_best_stage(fold, label, options), options) for options in tried]
    _, trees, options = min(found, key=lambda one: one[0])
    return {**options, "max_iter": trees}


def _best_stage(fold: Fold, label: str, options: dict[str, Any]) -> tuple[float, int]:
    """The least log loss on valid, and the number of trees that has it; grows trees until that was `STAGES` trees ago."""
    y = fold.valid.labels[label]
    model = _boosting(fold, early_stopping=False, warm_start=True, **options)
    boosting, valid = model[-1], None
    losses: list[float] = []
    while len(losses) < MOST_ITERATIONS and int(np.argmin(losses or [0])) >= len(losses) - STAGES:
        model.set_params(histgradientboostingclassifier__max_iter=len(losses) + STAGES)
        model.fit(fold.train.features, fold.train.labels[label])
        valid = model[0].transform(fold.valid.features) if valid is None else valid
        losses = [log_loss(y, p[:, 1]) or np.inf for p in boosting.staged_predict_proba(valid)]
    best = int(np.argmin(losses))
    return losses[best], best + 1


def ydf(fold: Fold, label: str) -> Floats:
    """Yggdrasil's gradient boosted trees by their defaults, which hold out a tenth to stop by."""
    import ydf as yggdrasil

    fitting = fold.fitting()
    learner = yggdrasil.GradientBoostedTreesLearner(
        label="label",
        task=yggdrasil.Task.CLASSIFICATION,
        features=[(name, yggdrasil.Semantic.CATEGORICAL) for name in fold.categories],
        include_all_columns=True,
        random_seed=fold.market.model.seed,
    )
    rows = {name: fitting.features[name].to_numpy() for name in fitting.features}
    model = learner.train({**rows, "label": fitting.labels[label]}, verbose=0)
    return np.asarray(model.predict({name: fold.test[name].to_numpy() for name in fold.test}), np.float64)


@dataclass(frozen=True, slots=True)
class Baseline:
    """A model, and what it is compared as."""

    fit: Callable[[Fold, str], Floats]
    settings: int = 1
    """How many were tried on valid."""
    members: int = 1
    """Models whose mean it is."""


BASELINES = {
    "popularity": Baseline(popularity),
    "logistic_regression": Baseline(logistic_regression),
    "hist_gradient_boosting": Baseline(hist_gradient_boosting),
    "hist_gradient_boosting_tuned": Baseline(hist_gradient_boosting_tuned, settings=SEARCHES),
    "hist_gradient_boosting_bag": Baseline(hist_gradient_boosting_bag, settings=SEARCHES, members=BAG),
    "ydf": Baseline(ydf),
}


def _boosting(fold: Fold, **options: Any) -> Any:
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=MOST_CATEGORIES)
    encode = make_column_transformer((codes, fold.categories), ("passthrough", fold.numbers))
    categorical = list(range(len(fold.categories)))
    options = {"random_state": fold.market.model.seed} | options
    return make_pipeline(encode, HistGradientBoostingClassifier(categorical_features=categorical, **options))


def _positive(model: Any, rows: pd.DataFrame) -> Floats:
    return np.asarray(model.predict_proba(rows)[:, 1], np.float64)
