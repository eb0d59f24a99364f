"""No row is on two sides, and nobody sees a test label but the one that scores."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.models.datasets import DATA_SETS, Fold, SealedLabels, divide, with_model
from features.market import load_market


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


@pytest.fixture
def campaigns(tmp_path: Path) -> Path:
    """100 days with ten rows each; `spent_before` tells the day."""
    market = load_market(DATA_SETS["journey"].market_file)
    days = np.arange(1000) // 10
    rows = pd.DataFrame({f.log_column: [f.default] * 1000 for f in market.features}).assign(
        start_date=[datetime(2017, 1, 1) + timedelta(days=int(d)) for d in days],  # noqa: DTZ001
        spent_before=days.astype(float),
        redeemed=np.arange(1000) % 2,
    )
    rows.sample(frac=1, random_state=1).to_parquet(tmp_path / "rows.parquet", index=False)
    return tmp_path / "rows.parquet"


def _days(fold: Fold) -> list[set[float]]:
    return [set(rows["spent_before"]) for rows in (fold.train.features, fold.valid.features, fold.test)]


def test_later_campaigns_are_held_out(campaigns: Path) -> None:
    fold, _ = divide("journey", campaigns, seed=1)
    train, valid, test = _days(fold)
    assert train | valid == set(range(min(map(int, test))))
    assert min(valid) < 10 < 50 < max(valid)
    assert len(test) == pytest.approx(31, abs=1)
    assert len(fold.fitting().features) + len(fold.test) == 1000


def test_campaigns_to_come_are_rehearsed_by_later_ones_of_the_past(campaigns: Path) -> None:
    _, _, sealed = _days(divide("journey", campaigns, seed=1)[0])
    train, valid, held_out = _days(divide("journey", campaigns, seed=1, rehearse=True)[0])
    assert train | valid | held_out == set(range(min(map(int, sealed))))
    assert max(train | valid) < min(held_out)


def test_the_test_rows_are_features_only(bank_fold: tuple[Fold, SealedLabels]) -> None:
    fold, _ = bank_fold
    assert list(fold.test) == [f.name for f in fold.market.features] == list(fold.train.features)
    assert "subscribed" not in fold.test


def test_a_perfect_prediction_scores_perfectly(bank_fold: tuple[Fold, SealedLabels]) -> None:
    fold, _ = bank_fold
    labels = SealedLabels(fold.valid.labels)
    scores = labels.score("subscribed", fold.valid.labels["subscribed"].astype(float))
    # Of a perfect order there is nothing to tell how far another sample would be off.
    nothing = {"auc_low": None, "auc_high": None}
    assert scores == nothing | {"auc": 1.0, "pr_auc": 1.0, "log_loss": pytest.approx(0, abs=1e-6), "pcoc": 1.0}


def test_all_numbers_may_be_encoded_alike(bank_rows: Path, bank_fold: tuple[Fold, SealedLabels]) -> None:
    fold, _ = divide("bank", bank_rows, seed=1, numbers={"ranks": 8})
    assert (fold.numbers, fold.categories) == (bank_fold[0].numbers, bank_fold[0].categories)
    encoded = {(f.ranks, f.quantiles, f.normalize) for f in fold.market.features if f.name in fold.numbers}
    assert encoded == {(8, None, False)}
    assert _ids(fold) == _ids(bank_fold[0])


def test_a_rehearsal_leaves_the_test_rows_alone(bank_rows: Path, bank_fold: tuple[Fold, SealedLabels]) -> None:
    (train, valid, held_out), (whole_train, whole_valid, _) = (
        _ids(fold) for fold in (divide("bank", bank_rows, seed=1, rehearse=True)[0], bank_fold[0])
    )
    assert valid == whole_valid
    assert train | held_out == whole_train
    assert not train & held_out
    assert len(held_out) == pytest.approx(len(whole_train) / 5, abs=25)


def test_a_network_may_differ_from_the_market_s(bank_fold: tuple[Fold, SealedLabels]) -> None:
    market = load_market(DATA_SETS["census"].market_file)
    alone = with_model(market, {"dropout": 0.25}, ["marital"])
    assert [t.name for t in alone.tasks] == ["marital"]
    assert (alone.model.dropout, alone.model.epochs) == (0.25, market.model.epochs)
