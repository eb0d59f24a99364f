"""Weights go on from the release before: by path, and by vocabulary entry where they are rows of an embedding table."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_market import RAW

from features.market import Market, parse_market

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own imports
    from models.fit import Rows, fit_ranker, fit_towers, new_ranker, resume_ranker
    from models.optimizer import LazyAdam
    from models.preprocessing import Encoding, Group
    from models.progress import FitProgress
    from models.progressive import ProgressivePass
    from models.warm_start import OPTIMIZER, carry_over, load_weights, row_sources, save_weights

NETWORK = {"epochs": 6, "tower_epochs": 1, "batch_size": 64, "hidden_units": [8], "learning_rate": 0.02}
CITIES, BRANDS = 3, 5
BEFORE = Encoding(Group((("city:id", CITIES + 1),), ()), Group((("brand:id", BRANDS + 1), ("price:bucket", 4)), ()))
AFTER = replace(BEFORE, offer=Group((("brand:id", BRANDS + 3), ("price:bucket", 4)), ()))  # two brands are new
IDENTITY, GROWN = np.arange(CITIES + 1), np.array([0, 1, 2, 3, 4, 5, 5, 5, 6, 7, 8, 9])
NEW = [5, 6]  # rows of the grown table


@pytest.fixture(scope="module")
def market() -> Market:
    return parse_market(RAW | {"model": NETWORK})


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Whether a row is clicked depends on nothing but its brand and price."""
    rng = np.random.default_rng(5)
    n = 1000
    city, brand, price = (rng.integers(0, size, n) for size in (CITIES, BRANDS, 4))
    click = rng.random(n) < np.array([0.05, 0.9, 0.1, 0.8, 0.5])[brand] * (1 - price / 5)
    inputs = {
        "request_ids": city[:, None].astype(np.int32),
        "request_numbers": np.zeros((n, 0), np.float32),
        "offer_ids": np.stack([brand, price], axis=1).astype(np.int32),
        "offer_numbers": np.zeros((n, 0), np.float32),
    }
    return Rows(inputs, {"click": click.astype(np.float32)})


@pytest.fixture(scope="module")
def former(market: Market, rows: Rows) -> tuple[Any, Any]:
    """The networks of the release before."""
    ensemble, _ = fit_ranker(market, BEFORE, rows, rows, print)
    return (*ensemble.members, fit_towers(market, BEFORE, rows, print))


@pytest.fixture(scope="module")
def weights(former: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("release") / "weights.npz"
    save_weights(path, former)
    return load_weights(path)


def test_known_entries_keep_their_row_and_new_ones_start_out_of_vocabulary() -> None:
    # brand had entries 0 to 4 and 5 beyond them; now it has 0 to 6, and 7 beyond. The buckets of price stood behind it.
    np.testing.assert_array_equal(row_sources(BEFORE.offer, AFTER.offer, {"brand:id": BRANDS}), GROWN)
    np.testing.assert_array_equal(row_sources(BEFORE.request, AFTER.request, {"city:id": CITIES}), IDENTITY)


def test_what_is_missing_and_bags_keep_their_rows_too() -> None:
    # city: missing, 2 entries and 2 beyond them; now 3 entries. tags, a bag behind: 2 entries and 1 beyond; now 4 entries.
    before = Group((("city:id", 5),), (), (("tags", 3, 4),))
    after = Group((("city:id", 6),), (), (("tags", 5, 4),))
    sources = row_sources(before, after, {"city:id": 3, "tags:ids": 2})
    assert sources.tolist() == [0, 1, 2, 3, 3, 4, 5, 6, 7, 7, 7]


def test_a_group_without_ids_has_no_rows() -> None:
    assert row_sources(Group((), ("z",)), Group((), ("z",)), {}).tolist() == []


def test_weights_are_named_by_path_and_leave_metrics_out(weights: dict[str, Any]) -> None:
    assert weights["ranker_0/_towers._trunks.0._deep.0.kernel"].shape[1] == 8
    assert weights["two_tower/offer._hidden.bias"].shape == (64,)
    assert not [name for name in weights if "loss" in name]


def test_of_each_weight_that_is_fitted_the_moments_are_saved_and_of_each_network_its_steps(weights: dict[str, Any]) -> None:
    table = "ranker_0/_embeddings.offer._table.embeddings"
    for slot in ("m", "v"):
        assert weights[f"optimizer/{table}:{slot}"].shape == weights[table].shape
        assert np.abs(weights[f"optimizer/{table}:{slot}"]).max() > 0
    # 1,000 rows are 16 batches of 64, six times over; the towers take the clicked ones once.
    assert weights["optimizer/:ranker_0"] == 96
    assert 0 < weights["optimizer/:two_tower"] <= 16


def test_both_networks_start_as_they_ended_with_rows_for_new_entries_and_no_moments_of_theirs(
    market: Market, rows: Rows, weights: dict[str, Any], tmp_path: Path
) -> None:
    fresh: list[str] = []
    started: dict[str, Any] = {}

    def start(model: Any) -> None:
        fresh.extend(carry_over(model, weights, [(AFTER.request, IDENTITY), (AFTER.offer, GROWN)])[1])
        started.update(
            {f"{model.name}/{path}": w.numpy() for path, w in model.get_weight_paths().items() if "optimizer" not in path}
        )
        save_weights(tmp_path / model.name, [model])
        started.update(load_weights(tmp_path / f"{model.name}.npz"))

    fit_ranker(market, AFTER, rows, rows, print, start)
    fit_towers(market, AFTER, rows, print, start)
    assert fresh == []
    for name, value in weights.items():
        grown = "offer" in name and "embeddings" in name
        expected = value[GROWN] if grown else value
        if grown and name.startswith(OPTIMIZER):
            expected[NEW] = 0
        np.testing.assert_array_equal(started[name], expected, err_msg=name)


def test_what_no_longer_fits_starts_fresh_and_is_named(market: Market, rows: Rows, weights: dict[str, Any]) -> None:
    wider = market.model_copy(update={"model": market.model.model_copy(update={"hidden_units": (16,), "epochs": 1})})
    outcome: list[tuple[list[str], list[str]]] = []

    def start(model: Any) -> None:
        outcome.append(carry_over(model, weights, [(AFTER.request, IDENTITY), (AFTER.offer, GROWN)]))

    fit_ranker(wider, AFTER, rows, rows, print, start)
    ((taken, fresh),) = outcome
    deep = "ranker_0/_towers._trunks.0._deep.0"
    assert sorted(fresh) == sorted([f"{deep}.bias", f"{deep}.kernel", "ranker_0/_outputs.0.kernel"])
    assert "ranker_0/_embeddings.offer._table.embeddings" in taken
    assert {*taken, *fresh} == {name for name in weights if name.startswith("ranker_0/")}


def test_a_warm_start_is_ahead_of_a_cold_one_from_its_first_batch(market: Market, rows: Rows, weights: dict[str, Any]) -> None:
    warm: list[FitProgress] = []
    cold: list[FitProgress] = []
    tables = [(AFTER.request, IDENTITY), (AFTER.offer, GROWN)]
    fit_ranker(market, AFTER, rows, rows, warm.append, lambda model: carry_over(model, weights, tables))
    fit_ranker(market, AFTER, rows, rows, cold.append)
    # Cold, the loss is the entropy of the base rate, 0.63; the shares that made the clicks have one of 0.44.
    assert (warm[0].rows, cold[0].rows) == (64, 64)
    assert warm[0].loss < 0.5 < cold[0].loss


@pytest.mark.parametrize("ensemble", [{}, {"ensemble": "shared", "members": 3}])
def test_a_network_that_was_saved_goes_on_as_one_that_was_not(
    market: Market, rows: Rows, tmp_path: Path, ensemble: dict[str, Any]
) -> None:
    changes = {"epochs": 1, "dropout": 0.0} | ensemble
    once = market.model_copy(update={"model": market.model.model_copy(update=changes)})
    fitted, _ = fit_ranker(once, BEFORE, rows, rows, print)
    save_weights(tmp_path / "weights.npz", fitted.members)
    saved = load_weights(tmp_path / "weights.npz")
    tables = [(BEFORE.request, IDENTITY), (BEFORE.offer, np.arange(BRANDS + 1 + 4))]
    resumed = resume_ranker(once, BEFORE, rows, lambda model: carry_over(model, saved, tables))
    for name, went_on in (("ours", resumed), ("theirs", fitted)):
        ProgressivePass(once, went_on)(rows, np.arange(len(rows)), print)
        save_weights(tmp_path / name, went_on.members)
    ours, theirs = (load_weights(tmp_path / f"{name}.npz") for name in ("ours", "theirs"))
    assert ours["optimizer/:ranker_0"] == 32
    for path, value in theirs.items():
        np.testing.assert_array_equal(ours[path], value, err_msg=path)


def test_of_a_large_table_the_touches_of_rows_go_along_and_new_ones_have_none(market: Market, rows: Rows, tmp_path: Path) -> None:
    name = "optimizer/ranker_0/_embeddings.offer._table.embeddings:n"
    before, after = new_ranker(market, BEFORE, rows), new_ranker(market, AFTER, rows)
    for ranker in (before, after):
        ranker.compile(optimizer=LazyAdam(few_rows=0))
    save_weights(tmp_path / "before.npz", [before])
    saved = load_weights(tmp_path / "before.npz")
    touched = saved[name] = np.arange(1.0, 1 + BRANDS + 1 + 4, dtype=np.float32)[:, None]
    carry_over(after, saved, [(AFTER.request, IDENTITY), (AFTER.offer, GROWN)])
    save_weights(tmp_path / "after.npz", [after])
    expected = touched[GROWN]
    expected[NEW] = 0
    np.testing.assert_array_equal(load_weights(tmp_path / "after.npz")[name], expected)


def test_weights_of_before_moments_were_saved_start_without(market: Market, rows: Rows, weights: dict[str, Any]) -> None:
    alone = {name: value for name, value in weights.items() if not name.startswith(OPTIMIZER)}
    ranker = new_ranker(market, AFTER, rows)
    ranker.compile(optimizer=LazyAdam())
    assert carry_over(ranker, alone, [(AFTER.request, IDENTITY), (AFTER.offer, GROWN)])[1] == []
    assert int(ranker.optimizer.iterations) == 0


def test_a_file_of_weights_is_read_without_pickles(tmp_path: Path) -> None:
    np.savez(tmp_path / "weights.npz", a=np.array([object()]))
    with pytest.raises(ValueError, match="allow_pickle"):
        load_weights(tmp_path / "weights.npz")
