"""No row is on two sides, and nobody sees a test label but the one that scores."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.models.datasets import DATA_SETS, Fold, SealedLabels, divide, rehearsal, with_model
from features.market import load_market
from features.training_spec import SplitSpec


def _ids(fold: Fold) -> list[set[float]]:
    return [set(rows["euribor_3m"].round(3)) for rows in (fold.train.features, fold.valid.features, fold.test)]


def test_a_random_split_is_disjoint_and_complete(bank_fold: tuple[Fold, SealedLabels]) -> None:
    train, valid, test = _ids(bank_fold[0])
    assert not train & valid | train & test | valid & test
    assert len(train | valid | test) == 600
    assert len(test) == pytest.approx(180, abs=35)  # 30 %, within three standard deviations


def test_the_seed_makes_the_split(bank_rows: Path, bank_fold: tuple[Fold, SealedLabels]) -> None:
    assert _ids(divide("bank", bank_rows, seed=1)[0]) == _ids(bank_fold[0])
    assert _ids(divide("bank", bank_rows, seed=2)[0]) != _ids(bank_fold[0])


def test_later_campaigns_are_held_out(tmp_path: Path) -> None:
    market = load_market(DATA_SETS["journey"].market_file)
    days = np.arange(1000) // 10
    rows = pd.DataFrame({f.log_column: [f.default] * 1000 for f in market.features}).assign(
        start_date=[datetime(2017, 1, 1) + timedelta(days=int(d)) for d in days],  # noqa: DTZ001
        spent_before=days.astype(float),
        redeemed=np.arange(1000) % 2,
    )
    rows.sample(frac=1, random_state=1).to_parquet(tmp_path / "rows.parquet", index=False)
    fold, _ = divide("journey", tmp_path / "rows.parquet", seed=1)
    train, valid, test = (r["spent_before"] for r in (fold.train.features, fold.valid.features, fold.test))
    assert max(train.max(), valid.max()) < test.min()
    assert set(range(40)) <= set(train) | set(valid)
    assert valid.min() < 10 < 50 < valid.max()
    assert len(train) + len(valid) + len(test) == 1000


def test_the_test_rows_are_features_only(bank_fold: tuple[Fold, SealedLabels]) -> None:
    fold, _ = bank_fold
    assert list(fold.test) == [f.name for f in fold.market.features] == list(fold.train.features)
    assert "subscribed" not in fold.test


def test_a_perfect_prediction_scores_perfectly(bank_fold: tuple[Fold, SealedLabels]) -> None:
    fold, _ = bank_fold
    labels = SealedLabels(fold.valid.labels)
    scores = labels.score("subscribed", fold.valid.labels["subscribed"].astype(float))
    assert scores == {"auc": 1.0, "pr_auc": 1.0, "log_loss": pytest.approx(0, abs=1e-6), "pcoc": 1.0}


def test_a_rehearsal_leaves_the_test_rows_alone(bank_fold: tuple[Fold, SealedLabels]) -> None:
    whole = bank_fold[0]
    fold, _ = rehearsal(whole)
    assert fold.valid is whole.valid
    (train, _, held_out), (whole_train, _, _) = _ids(fold), _ids(whole)
    assert train | held_out == whole_train
    assert not train & held_out
    assert len(held_out) == pytest.approx(len(whole_train) / 5, abs=25)


def test_campaigns_to_come_are_rehearsed_by_half_of_those_that_calibrate(bank_fold: tuple[Fold, SealedLabels]) -> None:
    whole = bank_fold[0]
    spec = whole.market.training.model_copy(update={"split": SplitSpec(kind="time", by="euribor_3m")})
    fold, _ = rehearsal(replace(whole, market=whole.market.model_copy(update={"training": spec})))
    assert fold.train is whole.train
    assert len(fold.valid.features) + len(fold.test) == len(whole.valid.features)


def test_a_network_may_differ_from_the_market_s(bank_fold: tuple[Fold, SealedLabels]) -> None:
    market = load_market(DATA_SETS["census"].market_file)
    alone = with_model(market, {"dropout": 0.25}, ["marital"])
    assert [t.name for t in alone.tasks] == ["marital"]
    assert (alone.model.dropout, alone.model.epochs) == (0.25, market.model.epochs)
