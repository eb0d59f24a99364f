"""Positions and placements of rows: carried through ingest where they are a slice, and asked of a file then."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_market import RAW

from domain.errors import InvalidTrainingData
from features.market import Market, parse_market
from features.slices import slice_values
from pipelines.ingest import ingest
from pipelines.splits import SPLITS

N = 400


def market(*slices: str) -> Market:
    places = [{"name": "main", "count": 2}, {"name": "side", "count": 1}]
    return parse_market(RAW | {"placements": places, "training": {"slices": slices}})


def rows(**places: list[Any]) -> pa.Table:
    plain = {"city": ["Ulm"] * N, "brand": ["tea", "jam"] * (N // 2), "click": [i % 2 for i in range(N)]}
    return pa.table(plain | {name: (values * N)[:N] for name, values in places.items()})


def checked(market: Market, table: pa.Table, folder: Path) -> pa.Table:
    pq.write_table(table, folder / "log.parquet")
    ingest(market, folder / "log.parquet", folder / "rows")
    return pa.concat_tables(pq.read_table(folder / "rows" / split) for split in SPLITS)


def test_a_placement_is_counted_by_its_name_and_one_that_is_gone_by_none(tmp_path: Path) -> None:
    by_brand = market("brand x placement")
    got = checked(by_brand, rows(placement=["side", "main", "side", "attic", "main", None]), tmp_path)
    columns = {name: got[name].to_numpy() for name in ("brand", "placement")}
    (values,) = slice_values(by_brand, by_brand.training.slices, columns).values()
    # Of six rows tea has side, side, main, and jam main, attic, none.
    expected = {"tea x side": 2, "tea x main": 1, "jam x main": 1, "jam x ": 2}
    assert set(values) == set(expected)
    for value, share in expected.items():
        assert values.count(value) == pytest.approx(N * share / 6, abs=1)


def test_a_position_is_a_slice_without_a_bias_tower(tmp_path: Path) -> None:
    got = checked(market("position"), rows(position=[0, 1, None, 2]), tmp_path)
    assert sorted(set(got["position"].to_pylist())) == [-1, 0, 1, 2]


@pytest.mark.parametrize("place", ["position", "placement"])
def test_a_file_without_the_place_that_it_is_sliced_by_is_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(InvalidTrainingData, match=f"'{place}'"):
        checked(market(place), rows(), tmp_path)
    (other := tmp_path / "other").mkdir()
    assert place not in checked(market("brand"), rows(), other).column_names
