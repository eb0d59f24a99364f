"""What a dry run says of a log."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from features.market import parse_market
from offerrank.cli import app
from pipelines.column_check import BAD_ROWS, ColumnCheck
from pipelines.data_check import check_data
from tests.unit.pipelines.conftest import MARKET, MARKET_TOML, MakeMarket, write_csv

Columns = dict[str, list[Any]]


def by_name(columns: list[ColumnCheck]) -> dict[str, ColumnCheck]:
    return {column.column: column for column in columns}


def test_a_good_log_is_described_column_by_column(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    columns["Age"][:4] = [None] * 4
    found = check_data(make_market(), write_csv(tmp_path / "log.csv", columns))
    assert found.wrong == []
    assert found.ingested is not None
    assert sum(found.ingested.rows.values()) == 200
    said = {c.column: (c.became, c.rows, c.missing, c.distinct, c.spread.least, c.spread.greatest) for c in found.columns}
    assert said == {
        "city": ("string feature city", 200, 0, 2, None, None),
        "Age": ("int feature age", 200, 4, 50, 0, 49),
        "brand": ("string feature brand", 200, 0, 7, None, None),
        "Y": ("label of ctr", 200, 0, 2, 0, 1),
        "conversion": ("label of cvr", 200, 0, 2, 0, 1),
    }


def test_values_out_of_a_vocabulary_are_counted(columns: Columns, tmp_path: Path) -> None:
    city, age, brand = MARKET["features"]
    listed = [city | {"vocabulary": ["Bonn", "Rom"]}, age, brand | {"vocabulary": 2}]
    columns["brand"] = ["a"] * 100 + ["b"] * 60 + ["c"] * 30 + ["d"] * 9 + [""]
    found = by_name(check_data(parse_market(MARKET | {"features": listed}), write_csv(tmp_path / "log.csv", columns)).columns)
    # Every other city is Ulm; of the brands the two most frequent are learned.
    assert (found["city"].out_of_vocabulary, found["brand"].out_of_vocabulary, found["Age"].out_of_vocabulary) == (100, 39, None)
    assert found["brand"].missing == 1


def test_bad_rows_are_named_across_columns_and_files_and_the_rest_is_counted(
    make_market: MakeMarket, columns: Columns, tmp_path: Path
) -> None:
    (tmp_path / "log").mkdir()
    columns["Age"][3], columns["Age"][7], columns["Y"][4] = "old", 1.5, 7
    write_csv(tmp_path / "log" / "a.csv", columns)
    write_csv(tmp_path / "log" / "b.csv", columns)
    (tmp_path / "log" / "c.parquet").write_bytes(b"PAR2")
    found = check_data(make_market(), tmp_path / "log")
    assert found.ingested is None
    age = by_name(found.columns)["Age"]
    assert [bad.removeprefix(f"{tmp_path}/log/") for bad in age.bad] == [
        "a.csv: column 'Age', row 4: expected a number, got 'old'",
        "a.csv: column 'Age', row 8: expected a whole number, got '1.5'",
        "b.csv: column 'Age', row 4: expected a number, got 'old'",
        "b.csv: column 'Age', row 8: expected a whole number, got '1.5'",
    ]
    assert (age.rows, age.distinct) == (400, 50)
    assert len(by_name(found.columns)["Y"].bad) == 2
    (refused,) = found.refused
    assert "c.parquet: expected a readable file" in refused
    assert len(found.wrong) == 7


def test_keys_may_be_any_bytes(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    columns["shopper"] = [bytes([255, i // 10]) for i in range(200)]
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    found = check_data(make_market(split={"kind": "hash", "by": "shopper"}), tmp_path / "log.parquet")
    assert found.wrong == []
    assert by_name(found.columns)["shopper"].distinct == 20


def test_of_many_bad_rows_the_first_are_named(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    columns["Age"] = ["old"] * 200
    age = by_name(check_data(make_market(), write_csv(tmp_path / "log.csv", columns)).columns)["Age"]
    assert len(age.bad) == BAD_ROWS
    assert age.bad[-1].endswith("row 5: expected a number, got 'old'")


def test_what_a_training_would_refuse_of_the_whole_is_said(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    found = check_data(make_market(min_rows=1000), write_csv(tmp_path / "log.csv", columns))
    assert found.wrong == [f"{tmp_path}/log.csv: expected at least 1000 rows (training.min_rows), got '200 rows'"]


def test_a_value_that_leaves_nothing_of_a_feature_is_found(columns: Columns, tmp_path: Path) -> None:
    amount = {"name": "amount", "source": "context", "dtype": "float", "default": 0}
    market = parse_market(MARKET | {"features": [*MARKET["features"], amount]})
    pq.write_table(pa.table(columns | {"amount": [float(i % 9) for i in range(199)] + [1e20]}), tmp_path / "log.parquet")
    outlier = by_name(check_data(market, tmp_path / "log.parquet").columns)["amount"].outlier
    assert outlier is not None
    assert outlier.value == pytest.approx(1e20)


def write_market(path: Path, mark: str = "") -> str:
    path.write_text(mark + MARKET_TOML, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte order mark"])
def test_the_command_prints_it(columns: Columns, tmp_path: Path, mark: str) -> None:
    market, log = write_market(tmp_path / "market.toml", mark), str(write_csv(tmp_path / "log.csv", columns))
    done = CliRunner().invoke(app, ["data", "check", "--market", market, "--data", log])
    assert done.exit_code == 0, done.output
    assert "int feature age" in done.output
    as_json = CliRunner().invoke(app, ["data", "check", "--market", market, "--data", log, "--json"])
    found = json.loads(as_json.stdout)
    assert [column["column"] for column in found["columns"]] == ["city", "Age", "brand", "Y"]
    assert sum(found["rows"].values()) == 200


def test_the_command_ends_with_2_and_one_line_where_rows_are_bad(columns: Columns, tmp_path: Path) -> None:
    columns["Age"][3], columns["Y"][9] = "old", 5
    market, log = write_market(tmp_path / "market.toml"), str(write_csv(tmp_path / "log.csv", columns))
    done = CliRunner().invoke(app, ["data", "check", "--market", market, "--data", log, "--json"])
    assert done.exit_code == 2
    line = f"offerrank: {log}: column 'Age', row 4: expected a number, got 'old'; 1 more were printed\n"
    assert done.stderr == line
    assert [len(column["bad"]) for column in json.loads(done.stdout)["columns"]] == [0, 1, 0, 1]
