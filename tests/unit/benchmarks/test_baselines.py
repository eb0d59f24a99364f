"""Each baseline finds what there is to find, and popularity is what its formula says."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from benchmarks.models.__main__ import Prediction, scored, table
from benchmarks.models.baselines import BAG, BASELINES, hist_gradient_boosting_bag, hist_gradient_boosting_tuned, popularity
from benchmarks.models.datasets import DATA_SETS, Fold, Labelled, SealedLabels
from features.market import load_market

QUICK = {name: baseline.fit for name, baseline in BASELINES.items()} | {
    "hist_gradient_boosting_tuned": partial(hist_gradient_boosting_tuned, searches=2),
    "hist_gradient_boosting_bag": partial(hist_gradient_boosting_bag, searches=2, members=2),
}


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "popularity"])
def test_a_baseline_learns_what_age_says(name: str, bank_fold: tuple[Fold, SealedLabels]) -> None:
    fold, sealed = bank_fold
    p = QUICK[name](fold, "subscribed")
    found = sealed.score("subscribed", p)
    assert p.shape == (len(fold.test),)
    # The labels are age < 45 with noise: 5 years around it nobody can tell. The base rate has a log loss of 0.66.
    assert found["auc"] is not None
    assert found["auc"] > 0.95
    assert found["log_loss"] is not None
    assert found["log_loss"] < 0.35


def test_popularity_shrinks_each_rate_to_the_coarser_one(bank_fold: tuple[Fold, SealedLabels]) -> None:
    fold = replace(
        bank_fold[0],
        name="journey",
        train=Labelled(
            pd.DataFrame({"category": ["beef"] * 100 + ["milk"] * 100, "offer_id": ["1"] * 200}),
            {"redeemed": np.repeat([1, 0], 100)},
        ),
        valid=Labelled(pd.DataFrame({"category": [], "offer_id": []}, dtype=str), {"redeemed": np.zeros(0, np.int64)}),
        test=pd.DataFrame({"category": ["beef", "beef", "fish"], "offer_id": ["1", "2", "1"]}),
    )
    # beef: (100 + 100 x 0.5) / 200; its coupon 1: (100 + 100 x 0.75) / 200; of fish nothing is known but the base rate.
    assert popularity(fold, "redeemed") == pytest.approx([0.875, 0.75, 0.5])


def test_a_bag_of_trees_is_none_of_them(bank_fold: tuple[Fold, SealedLabels]) -> None:
    fold, _ = bank_fold
    one, two = (hist_gradient_boosting_bag(fold, "subscribed", searches=2, members=members) for members in (1, 2))
    second = 2 * two - one  # of a mean of two the other one
    assert np.abs(second - one).max() > 0.01
    assert second.min() > 0
    assert second.max() < 1


def row(model: str, seed: int, auc: float, members: int = 1, **more: float) -> dict[str, object]:
    scores = {"auc": auc, "auc_low": auc - 0.02, "auc_high": auc + 0.02, "pr_auc": 0.5, "log_loss": 0.6, "pcoc": 1.0}
    made = {"data": "bank", "model": model, "task": "buy", "members": members, "settings": 16 if "tuned" in model else 0}
    return made | scores | {"seed": seed, "fit_seconds": 2.0} | more


def test_differences_are_to_the_same_seed_and_stand_beside_what_one_test_set_leaves_open() -> None:
    found = [row("hist_gradient_boosting_tuned", s, auc) for s, auc in ((1, 0.70), (2, 0.80))]
    ahead = [{"ahead": x, "ahead_low": x - 0.03, "ahead_high": x + 0.03} for x in (0.01, 0.03)]
    ours = [row("dcn_v2", s, auc, **of) for (s, auc), of in zip(((1, 0.71), (2, 0.83)), ahead, strict=True)]
    trees, line = table([*found, *ours]).splitlines()[-2:]
    assert trees.startswith("| bank | buy | one | hist_gradient_boosting_tuned | 16 | 0.7500 ± 0.0707 | ± 0.0200 | - | - |")
    # Differences 0.01 and 0.03: mean 0.02, standard deviation 0.01 sqrt(2).
    assert line.startswith("| bank | buy | one | dcn_v2 | by hand | 0.7700 ± 0.0849 | ± 0.0200 | +0.0200 ± 0.0141 | ± 0.0300 |")


def test_ensembles_come_after_single_models() -> None:
    found = [row("dcn_v2_ensemble", 1, 0.8, 5), row("dcn_v2", 1, 0.7), row("hist_gradient_boosting_bag", 1, 0.8, 8)]
    assert [line.split(" | ")[2:4] for line in table(found).splitlines()[2:]] == [
        ["one", "dcn_v2"],
        ["5", "dcn_v2_ensemble"],
        ["8", "hist_gradient_boosting_bag"],
    ]


def test_a_model_is_held_against_the_trees_of_its_kind_on_the_same_rows() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 400)
    scores = {name: 1 / (1 + np.exp(-rng.normal(y, 1))) for name in ("single", "bag", "ours")}
    market = load_market(DATA_SETS["bank"].market_file)
    nothing = Labelled(pd.DataFrame(), {})
    fold = Fold("bank", market, nothing, nothing, pd.DataFrame())
    (task,) = (t.name for t in market.tasks)
    predicted = {
        ("hist_gradient_boosting_tuned", task): Prediction(scores["single"], 1.0, settings=16, members=1),
        ("hist_gradient_boosting_bag", task): Prediction(scores["bag"], 1.0, settings=16, members=8),
        ("dcn_v2", task): Prediction(scores["ours"], 1.0, settings=0, members=1),
        ("dcn_v2_ensemble", task): Prediction(scores["ours"], 1.0, settings=0, members=5),
    }
    single, bag, ours, ensemble = scored(fold, SealedLabels({"subscribed": y}), 1, predicted)
    assert "ahead" not in single | bag
    assert ours["ahead"] == pytest.approx(ours["auc"] - single["auc"])
    assert ensemble["ahead"] == pytest.approx(ensemble["auc"] - bag["auc"])
    assert ours["ahead_low"] < ours["ahead"] < ours["ahead_high"]
    assert ours["auc_low"] < ours["auc"] < ours["auc_high"]


def test_what_ensembles_are_held_against_is_one() -> None:
    assert {name: baseline.members for name, baseline in BASELINES.items() if baseline.members > 1} == {
        "hist_gradient_boosting_bag": BAG
    }
    # A search is a search, whoever makes it.
    assert BASELINES["hist_gradient_boosting_bag"].settings == BASELINES["hist_gradient_boosting_tuned"].settings
