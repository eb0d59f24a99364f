"""`training.keep_negatives`: fitted on a share of the rows without a click, the networks predict what all rows hold."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_market import market_of

from features.market import Market
from pipelines.examples_io import files_of, write_split
from pipelines.ingest import arrow_schema

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own imports
    from models.fit import Rows, fit_ranker
    from models.preprocessing import Encoding, Group
    from pipelines.training import load_rows

ENCODING = Encoding(Group((("city:id", 2),), ()), Group((("brand:id", 1),), ()))
KEEP = 0.2
PCTR, PCVR = np.array([0.05, 0.3]), np.array([0.5, 0.2])  # by city
ROWS = 40_000
FEATURES = [
    {"name": "city", "source": "shopper", "dtype": "int", "default": 0, "vocabulary": [0, 1]},
    {"name": "brand", "source": "offer", "dtype": "int", "default": 0, "vocabulary": [0]},
]


def market(space: str) -> Market:
    tasks = [{"name": "ctr", "label": "click"}, {"name": "cvr", "label": "conversion", "given": "click", "space": space}]
    network = {"hidden_units": [8], "embedding_dim": 4, "expert_units": 4, "epochs": 4, "learning_rate": 0.01, "batch_size": 256}
    return market_of(FEATURES, tasks, 2, network)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder, rng = tmp_path_factory.mktemp("examples"), np.random.default_rng(3)
    city = rng.integers(0, 2, ROWS)
    click = rng.random(ROWS) < PCTR[city]
    columns: dict[str, Any] = {"city": city, "brand": np.zeros(ROWS), "click": click}
    columns |= {"conversion": click & (rng.random(ROWS) < PCVR[city]), "time_ms": np.arange(ROWS)}
    columns |= {"click_usable": np.ones(ROWS), "conversion_usable": np.ones(ROWS), "cvr_counts": click}
    schema, unsaid = arrow_schema(market("entire")), np.full(ROWS, -1)
    table = pa.table({name: np.asarray(columns.get(name, unsaid)).astype(np.int64) for name in schema.names}, schema=schema)
    (folder / "rows").mkdir()
    pq.write_table(table, folder / "rows" / "rows.parquet")
    write_split(folder / "rows", folder, "train")
    return files_of(str(folder), "train")


def loaded(files: list[str], space: str = "conditional", keep: float = KEEP) -> Rows:
    def transform(features: dict[str, Any]) -> dict[str, Any]:
        return {"city:id": features["city"], "brand:id": features["brand"]}

    return load_rows(market(space), ENCODING, transform, files, keep)[0]


def rates(rows: Rows) -> dict[str, list[float]]:
    """Clicks of rows and conversions of clicks, by city."""
    cities = [rows.inputs["request_ids"][:, 0] == city for city in (0, 1)]
    click, conversion = rows.labels["click"], rows.labels["conversion"]
    return {
        "click": [float(click[c].mean()) for c in cities],
        "conversion": [float(conversion[c & (click == 1)].mean()) for c in cities],
    }


def test_all_positives_stay_and_a_share_of_the_negatives_that_stands_for_all(files: list[str]) -> None:
    everything, kept = loaded(files, keep=1.0), loaded(files)
    assert everything.stands_for is None
    assert kept.stands_for is not None
    clicks, negatives = everything.labels["click"].sum(), (everything.labels["click"] == 0).sum()
    assert kept.labels["click"].sum() == clicks
    assert (kept.labels["click"] == 0).sum() == pytest.approx(KEEP * negatives, rel=0.03)
    assert kept.stands_for.mean() == pytest.approx(1, rel=0.03)
    for city, expected in enumerate(rates(everything)["click"]):
        mine = kept.inputs["request_ids"][:, 0] == city
        assert np.average(kept.labels["click"][mine], weights=kept.stands_for[mine]) == pytest.approx(expected, rel=0.05)


def test_the_same_rows_are_drawn_again(files: list[str]) -> None:
    one, other = loaded(files), loaded(files)
    np.testing.assert_array_equal(one.inputs["request_ids"], other.inputs["request_ids"])
    np.testing.assert_array_equal(one.labels["click"], other.labels["click"])


@pytest.mark.parametrize("space", ["conditional", "entire"])
def test_probabilities_are_those_of_all_rows(files: list[str], space: str) -> None:
    everything = loaded(files, space, 1.0)
    ensemble, _ = fit_ranker(market(space), ENCODING, loaded(files, space), everything, lambda progress: None)
    asked = {"request_ids": np.array([[0], [1]], np.int32), "offer_ids": np.zeros((2, 1), np.int32)}
    asked |= {f"{side}_numbers": np.zeros((2, 0), np.float32) for side in ("request", "offer")}
    pctr, pcvr = np.asarray(ensemble.probabilities(asked)).T
    assert pctr == pytest.approx(rates(everything)["click"], rel=0.15)  # taken as they are, the rows have .21 and .68
    assert pcvr == pytest.approx(rates(everything)["conversion"], rel=0.15)


def test_a_row_whose_first_label_may_yet_change_is_no_negative(files: list[str], tmp_path: Path) -> None:
    table = pq.read_table(files[0])
    unknown = pa.array([[0]] * len(table), table.schema.field("click_usable").type)
    pq.write_table(table.set_column(table.schema.names.index("click_usable"), "click_usable", unknown), tmp_path / "rows.parquet")
    assert len(loaded([str(tmp_path / "rows.parquet")])) == ROWS
