"""What is laid out for a pipeline before it runs."""

from pathlib import Path
from typing import Any

import pytest

from models.release import FinalLabels, Manifest, Origin, Release
from pipelines.workplace import Workplace
from tests.unit.pipelines.conftest import MARKET_TOML, write_csv


@pytest.fixture
def inputs(tmp_path: Path, columns: dict[str, list[Any]]) -> tuple[Path, Path]:
    (tmp_path / "market.toml").write_text(MARKET_TOML)
    return tmp_path / "market.toml", write_csv(tmp_path / "log.csv", columns)


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    place = Workplace(tmp_path / "work")
    place.clear()
    return place


def former(**origin: Any) -> Release:
    made: dict[str, Any] = {"version": 7, "market": "small", "created_ms": 5_000, "rows": {}, "packages": {}}
    manifest = Manifest(**made, inputs=(), tasks=(), embedding_dim=2, **origin)
    return Release(version=7, path=Path("7"), manifest=manifest, calibrator=None, specs=None, offer_ids=())  # type: ignore[arg-type]


def test_rows_lie_by_split_beside_the_market_as_it_is_now(inputs: tuple[Path, Path], place: Workplace) -> None:
    rows = place.lay_out(*inputs)
    assert {p.name for p in place.rows.iterdir()} == {"train", "valid", "eval", "places.parquet"}
    assert place.market.read_text() == MARKET_TOML
    assert Origin.model_validate_json(place.origin.read_bytes()) == Origin(rows=rows.rows)


def test_rows_without_a_key_are_not_always_held_out(inputs: tuple[Path, Path], place: Workplace) -> None:
    market, data = inputs
    market.write_text(MARKET_TOML.replace("min_rows = 20", 'min_rows = 20, split = { kind = "hash", by = "shopper" }'))
    data.write_text(data.read_text().replace(",s7,", ",,"))
    assert place.lay_out(market, data).keyless == 10
    assert Origin.model_validate_json(place.origin.read_bytes()).held_out is None


def test_the_origin_says_which_rows_a_split_by_hash_has_always_held_out(inputs: tuple[Path, Path], place: Workplace) -> None:
    market, data = inputs
    market.write_text(MARKET_TOML.replace("min_rows = 20", 'min_rows = 20, split = { kind = "hash", by = "shopper" }'))
    expected = "hash of shopper, seed 1, valid 0.1, eval 0.2"
    for previous, found in ((None, expected), (former(held_out=expected), expected), (former(held_out="other"), None)):
        place.clear()
        place.lay_out(market, data, previous=previous)
        assert Origin.model_validate_json(place.origin.read_bytes()).held_out == found


def test_the_origin_of_a_full_training_on_the_log_is_when_it_ended(inputs: tuple[Path, Path], place: Workplace) -> None:
    final = FinalLabels(as_of_ms=200_000, click_window_s=1, conversion_window_s=2)
    place.lay_out(*inputs, through_ms=199_000, labels=final)
    origin = Origin.model_validate_json(place.origin.read_bytes())
    assert (origin.trained_through_ms, origin.labels, origin.warm_from, origin.full_ms) == (199_000, final, None, None)


def test_a_chain_of_warm_starts_goes_back_to_its_full_training(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    for number, (previous, full_ms) in enumerate([(former(), 5_000), (former(warm_from=6, full_ms=4_000), 4_000)]):
        place = Workplace(tmp_path / f"work-{number}")
        place.clear()
        place.lay_out(*inputs, through_ms=199_000, previous=previous)
        origin = Origin.model_validate_json(place.origin.read_bytes())
        assert (origin.warm_from, origin.full_ms, origin.trained_through_ms) == (7, full_ms, 199_000)


def test_older_rows_whose_labels_are_final_now_do_not_turn_time_back(inputs: tuple[Path, Path], place: Workplace) -> None:
    place.lay_out(*inputs, through_ms=100_000, previous=former(trained_through_ms=199_000))
    assert Origin.model_validate_json(place.origin.read_bytes()).trained_through_ms == 199_000


def test_a_folder_can_be_laid_out_again_and_keeps_what_tfx_left_there(inputs: tuple[Path, Path], place: Workplace) -> None:
    first = place.lay_out(*inputs)
    (place.path / "metadata.sqlite").write_bytes(b"kept")
    place.clear()
    assert [p.name for p in place.path.iterdir()] == ["metadata.sqlite"]
    assert place.lay_out(*inputs).rows == first.rows
