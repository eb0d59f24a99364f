"""What files need not say: derived features, columns of one only value, words for nothing."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from domain.errors import InvalidMarket, InvalidTrainingData
from features.market import Market, parse_market
from pipelines.data_check import check_data
from pipelines.ingest import ingest
from pipelines.splits import SPLITS
from tests.unit.pipelines.conftest import MARKET, write_csv

Columns = dict[str, list[Any]]
DERIVED = [
    {"name": "spent", "source": "context", "dtype": "float", "missing": "own"},
    {"name": "items", "source": "context", "dtype": "int", "missing": "own"},
    {"name": "hour", "source": "context", "derived": "hour(time_ms, Europe/Berlin)"},
    {"name": "weekday", "source": "context", "derived": "weekday(time_ms)"},
    {"name": "spent_log", "source": "context", "derived": "log(spent)"},
    {"name": "each", "source": "context", "derived": "ratio(spent, items)"},
]
START_MS = 1_774_738_800_000
"""2026-03-28 23:00 UTC, a Saturday, 24:00 in Berlin, where clocks go forward two hours later."""


def market_with(features: list[dict[str, Any]], **more: Any) -> Market:
    return parse_market(MARKET | more | {"features": [*MARKET["features"], *features]})


def rows_of(market: Market, file: Path, to: Path) -> list[dict[str, Any]]:
    done = ingest(market, file, to)
    rows = [row for split in SPLITS for row in pq.read_table(done.directory / split).to_pylist()]
    return sorted(rows, key=lambda row: int(row["log_row"]))


@pytest.fixture
def spent(columns: Columns) -> Columns:
    n = 200
    columns["spent"] = [0.1 * i for i in range(n)]
    columns["items"] = [i % 5 for i in range(n)]
    columns["spent"][7] = columns["items"][8] = None
    columns["time_ms"] = [START_MS + 1_800_000 * i for i in range(n)]
    return columns


def test_training_derives_exactly_what_the_gateway_does(spent: Columns, tmp_path: Path) -> None:
    market = market_with(DERIVED)
    pq.write_table(pa.table(spent), tmp_path / "log.parquet")
    rows = rows_of(market, tmp_path / "log.parquet", tmp_path / "rows")
    assert str(rows) == str(rows_of(market, write_csv(tmp_path / "log.csv", spent), tmp_path / "from-csv"))  # NaN is not NaN
    for i, row in enumerate(rows):
        asked = {f.name: f.absent for f in market.request_features} | {
            "spent": spent["spent"][i],
            "items": spent["items"][i],
        }
        served = market.derive(asked, spent["time_ms"][i])
        for name, value in served.items():
            fill = market.feature_by_name[name].fill
            same = np.array([fill if value is None else value]).astype(np.float32 if isinstance(row[name], float) else np.int64)
            assert np.array_equal(same, np.array([row[name]], same.dtype), equal_nan=isinstance(row[name], float)), (i, name)


def test_hours_and_weekdays_follow_the_clocks_of_the_zone(spent: Columns, tmp_path: Path) -> None:
    rows = rows_of(market_with(DERIVED), write_csv(tmp_path / "log.csv", spent), tmp_path / "rows")
    assert [row["hour"] for row in rows[:8:2]] == [0, 1, 3, 4]  # nobody in Berlin has seen two o'clock that night
    assert [rows[i]["weekday"] for i in (0, 1, 2, 49, 50)] == [5, 5, 6, 6, 0]


def test_what_cannot_be_derived_is_missing(spent: Columns, tmp_path: Path) -> None:
    rows = rows_of(market_with(DERIVED), write_csv(tmp_path / "log.csv", spent), tmp_path / "rows")
    missing = {name: [i for i, row in enumerate(rows) if np.isnan(row[name])] for name in ("spent_log", "each")}
    assert missing == {"spent_log": [7], "each": sorted({7, 8, *range(0, 200, 5)})}
    assert rows[11]["each"] == pytest.approx(1.1)  # 1.1 spent on one item


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ISO 8601 text", [datetime.fromtimestamp(START_MS / 1000 + 1800 * i, UTC).isoformat() for i in range(200)]),
        ("seconds", [START_MS // 1000 + 1800 * i for i in range(200)]),
    ],
)
def test_a_file_may_name_its_column_of_times(spent: Columns, tmp_path: Path, name: str, said: list[Any]) -> None:
    expected = rows_of(market_with(DERIVED), write_csv(tmp_path / "log.csv", spent), tmp_path / "rows")
    elsewhere = [f | ({"column": "placed_at"} if "time_ms" in f.get("derived", "") else {}) for f in DERIVED]
    del spent["time_ms"]
    spent["placed_at"] = said
    found = rows_of(market_with(elsewhere), write_csv(tmp_path / "other.csv", spent), tmp_path / "other")
    assert [row["hour"] for row in found] == [row["hour"] for row in expected]
    assert [row["weekday"] for row in found] == [row["weekday"] for row in expected]


def test_a_file_that_tells_no_time_is_refused(spent: Columns, tmp_path: Path) -> None:
    del spent["time_ms"]
    with pytest.raises(InvalidTrainingData, match="a column 'time_ms'"):
        ingest(market_with(DERIVED), write_csv(tmp_path / "log.csv", spent), tmp_path / "rows")


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ({"derived": "hour(placed_at)"}, r"derived: expected one of hour\(time_ms\)"),
        ({"derived": "hour(time_ms, Europe/Bonn)"}, "expected a time zone such as Europe/Berlin, got 'Europe/Bonn'"),
        ({"derived": "log(city)"}, "'city' is not an int or float feature"),
        ({"derived": "log(nothing)"}, "'nothing' is not an int or float feature"),
        ({"derived": "ratio(age)"}, "expected one of"),
        ({"derived": "log(age)", "source": "offer"}, "'age' is of source 'shopper', this of 'offer'"),
        ({"derived": "hour(time_ms)", "source": "shopper"}, "expected 'context'"),
        ({"derived": "log(age)", "column": "logged_age"}, "cannot be given for a feature that is derived of others"),
        ({"derived": "log(age)", "dtype": "string"}, "expected 'float'"),
        ({"derived": 5}, "derived: expected a string, got 5"),
    ],
)
def test_a_derived_feature_that_cannot_be_is_refused(feature: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidMarket, match=message):
        market_with([{"name": "made", "source": "context", **feature}])


def test_an_offer_has_derived_features_of_its_own_numbers() -> None:
    features = [
        {"name": "price", "source": "offer", "dtype": "float", "missing": "own"},
        {"name": "price_log", "source": "offer", "derived": "log(price)"},
    ]
    offers = [{**MARKET["offers"][0], "features": {"price": 3.5}}]
    market = market_with(features, offers=offers)
    value = market.offer_value(market.offers[0], market.feature_by_name["price_log"])
    assert value == float(np.float32(np.log1p(3.5)))
    with pytest.raises(InvalidMarket, match="'price_log' is derived: it cannot be given"):
        market_with(features, offers=[{**MARKET["offers"][0], "features": {"price_log": 1.0}}])


def test_a_column_of_one_only_value_need_not_be_there(columns: Columns, tmp_path: Path) -> None:
    only = [{"name": "shop", "source": "offer", "default": "corner", "vocabulary": ["corner"]}]
    rows = rows_of(market_with(only), write_csv(tmp_path / "log.csv", columns), tmp_path / "rows")
    assert {row["shop"] for row in rows} == {"corner"}
    columns["shop"] = ["corner", "other"] * 100
    rows = rows_of(market_with(only), write_csv(tmp_path / "with.csv", columns), tmp_path / "with")
    assert {row["shop"] for row in rows} == {"corner", "other"}


def test_listed_words_are_missing_values_in_files_as_in_requests(columns: Columns, tmp_path: Path) -> None:
    columns["Age"][3], columns["city"][3], columns["city"][4], columns["brand"][5] = "NA", "NA", "?", "NA"
    features = [*MARKET["features"][:2], {**MARKET["features"][2], "missing_values": []}]
    market = parse_market(MARKET | {"features": features, "missing_values": ["NA", "?"]})
    rows = rows_of(market, write_csv(tmp_path / "log.csv", columns), tmp_path / "rows")
    assert (rows[3]["age"], rows[3]["city"], rows[4]["city"]) == (0, "unknown", "unknown")
    assert rows[5]["brand"] == "NA"  # such as Namibia: this feature has a list of its own
    city, brand = market.feature_by_name["city"], market.feature_by_name["brand"]
    assert [city.coerce("NA"), city.coerce("Bonn"), brand.coerce("NA")] == ["unknown", "Bonn", "NA"]
    (seen,) = (c for c in check_data(market, tmp_path / "log.csv").columns if c.column == "city")
    assert seen.missing == 2
