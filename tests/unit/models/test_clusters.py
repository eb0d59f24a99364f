from collections.abc import Callable

import numpy as np
import pytest

from models import metrics
from models.clusters import Clusters, codes, design_effect
from models.evaluation import Change, Measured, compare, evaluate_task, log_loss_change
from models.explored import compare_choices
from models.metrics import Interval

SHOPPERS, SLOTS = 250, 4
Of = Callable[[np.ndarray, np.ndarray, Clusters], Interval | None]


def change(labels: np.ndarray, p: np.ndarray, clusters: Clusters) -> Interval | None:
    """Of this model over one that always says the average."""
    found = log_loss_change(labels, p, np.full(len(p), 0.2), clusters=clusters)
    return None if found is None else found.interval


def choice(labels: np.ndarray, p: np.ndarray, clusters: Clusters) -> Interval | None:
    """Of what it would choose, over what a model would that knows nothing."""
    found = compare_choices(labels, p, np.cos(np.arange(len(p)) % len(np.unique(p))), np.full(len(p), 0.5), clusters)
    return None if found is None else found.gain


INTERVALS: dict[str, Of] = {
    "AUC": metrics.auc_interval,
    "PCOC": metrics.pcoc_interval,
    "log loss": metrics.log_loss_interval,
    "log loss over another model": change,
}

ALL = INTERVALS | {"choice": choice}


def pages(rng: np.random.Generator, shoppers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, predictions and shoppers: a model that does not know who likes to click, nor when all four slots go unseen."""
    shopper = np.repeat(np.arange(shoppers), SLOTS)
    known, liking = rng.normal(0, 1, (2, shoppers))
    p = 1 / (1 + np.exp(-(known[shopper] + 0.5 * rng.normal(0, 1, len(shopper)) - 1.5)))
    true = 1 / (1 + np.exp(-(np.log(p / (1 - p)) + 2 * liking[shopper])))
    return (rng.random(len(shopper)) < true).astype(np.int64), p, shopper


def test_intervals_of_correlated_slots_cover_the_truth_by_shopper_and_not_by_row() -> None:
    # Of 800 intervals that each hold with 0.95, between 0.93 and 0.97 do, less than three standard errors either way.
    rng = np.random.default_rng(11)
    labels, p, _ = pages(rng, 500_000)
    pcoc = float(p.sum() / labels.sum())
    losses = metrics.row_log_loss(labels, p)
    truth = {
        "AUC": metrics.auc(labels, p),
        "PCOC": pcoc,
        "log loss": float(losses.mean()),
        "log loss over another model": float(losses.sum() / metrics.row_log_loss(labels, np.full(len(p), 0.2)).sum()) - 1,
    }
    covered: dict[str, list[tuple[bool, bool]]] = {name: [] for name in INTERVALS}
    for _ in range(800):
        labels, p, shopper = pages(rng, SHOPPERS)
        for name, interval in INTERVALS.items():
            found = [interval(labels, p, clusters) for clusters in (shopper, None)]
            covered[name].append(tuple(i is not None and i.low <= truth[name] <= i.high for i in found))  # type: ignore[arg-type]
    for name, held in covered.items():
        by_shopper, by_row = np.mean(held, axis=0)
        assert 0.93 <= by_shopper <= 0.97, name
        assert by_row < 0.90, name


@pytest.mark.parametrize("name", ALL)
def test_a_row_that_is_told_twice_tells_nothing_new(name: str) -> None:
    labels, p, _ = pages(np.random.default_rng(3), 100)
    row = np.arange(len(labels))
    once = ALL[name](labels, p, None)
    assert ALL[name](np.tile(labels, 2), np.tile(p, 2), np.tile(row, 2)) == pytest.approx(once)
    assert ALL[name](labels, p, row) == pytest.approx(once)


def test_nothing_can_be_told_from_one_shopper() -> None:
    labels, p = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.4])
    alone = np.zeros(4, np.int64)
    assert [interval(labels, p, alone) for interval in ALL.values()] == [None] * 5


def test_clusters_are_any_numbers_and_become_codes() -> None:
    found = codes(np.array([70, -2, 70, 9]))
    assert found is not None
    assert found.tolist() == [2, 0, 2, 1]
    assert codes(None) is None


def test_rows_that_always_agree_are_worth_one() -> None:
    # Two clusters of two like rows: the variance of their mean is twice that of four rows.
    assert design_effect(np.array([0.5, 0.5, -0.5, -0.5]), np.array([0, 0, 1, 1])) == 2
    assert design_effect(np.array([0.5, -0.5, 0.5, -0.5]), np.array([0, 0, 1, 1])) == 1


def test_an_evaluation_knows_its_clusters_whole_by_slice_and_against_another_release() -> None:
    labels, p, shopper = pages(np.random.default_rng(4), SHOPPERS)
    slices = {"city": np.array(["Ulm", "Bonn"], object)[shopper % 2]}
    by_row, by_shopper = (evaluate_task(labels, p, p, slices, clusters) for clusters in (None, shopper * 1000))
    assert (by_row.clusters, by_shopper.clusters, by_shopper.slices["city"]["Ulm"].clusters) == (None, SHOPPERS, SHOPPERS // 2)
    wider = [
        (by_row.calibrated.pcoc_interval, by_shopper.calibrated.pcoc_interval),
        (by_row.slices["city"]["Ulm"].calibrated.auc_interval, by_shopper.slices["city"]["Ulm"].calibrated.auc_interval),
        (by_row.reliability["raw"][-1].rate_interval, by_shopper.reliability["raw"][-1].rate_interval),
    ]
    rivals = [compare(labels, p, np.full(len(p), 0.2), slices, clusters=clusters) for clusters in (None, shopper * 1000)]
    changes = [(rival.change, rival.slices["city"]["Bonn"]) for rival in rivals]
    assert all(isinstance(one, Change) for pair in changes for one in pair)
    wider += [(narrow.interval, wide.interval) for narrow, wide in zip(*changes, strict=True) if narrow and wide]
    assert len(wider) == 5
    for narrow, wide in wider:
        assert narrow is not None
        assert wide is not None
        assert wide.low < narrow.low < narrow.high < wide.high
    assert isinstance(Measured.of(labels[:0], p[:0], p[:0], shopper[:0]).calibrated.auc, type(None))
