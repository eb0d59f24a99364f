"""CSV files as other programs write them."""

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from domain.errors import InvalidTrainingData
from pipelines.ingest import ingest
from pipelines.splits import SPLITS
from tests.unit.pipelines.conftest import MakeMarket, write_csv

Columns = dict[str, list[Any]]


def text_of(columns: Columns, separator: str = ",", header: bool = True) -> str:
    out = io.StringIO()
    rows = csv.writer(out, delimiter=separator)
    rows.writerows([list(columns)] if header else [])
    rows.writerows(zip(*columns.values(), strict=True))
    return out.getvalue()


def rows_of(make_market: MakeMarket, log: Path, **training: Any) -> list[list[dict[str, Any]]]:
    done = ingest(make_market(**training), log, log.parent / f"rows of {log.name}")
    return [pq.read_table(done.directory / split).to_pylist() for split in SPLITS]


@pytest.fixture
def expected(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> list[list[dict[str, Any]]]:
    columns["city"] = ["Köln", "a,b;c|d\te"] * 100
    (tmp_path / "log.csv").write_text(text_of(columns), encoding="utf-8")
    return rows_of(make_market, tmp_path / "log.csv")


@pytest.mark.parametrize("name", ["log.csv", "log.tsv", "log.csv.gz", "log.tsv.gz"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"], ids=["comma", "semicolon", "tab", "bar"])
def test_the_separator_is_seen_in_the_header_line(
    make_market: MakeMarket, columns: Columns, tmp_path: Path, expected: list[Any], separator: str, name: str
) -> None:
    content = text_of(columns, separator).encode()
    (tmp_path / f"other {name}").write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert rows_of(make_market, tmp_path / f"other {name}") == expected


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(
    make_market: MakeMarket, columns: Columns, tmp_path: Path, expected: list[Any], encoding: str
) -> None:
    (tmp_path / "other.csv").write_text(text_of(columns, ";"), encoding=encoding, newline="")
    assert rows_of(make_market, tmp_path / "other.csv") == expected


def test_the_market_says_what_cannot_be_seen(
    make_market: MakeMarket, columns: Columns, tmp_path: Path, expected: list[Any]
) -> None:
    (tmp_path / "other.csv").write_text(text_of(columns, "~", header=False), encoding="cp1252", newline="")
    written = {"separator": "~", "encoding": "cp1252", "columns": list(columns)}
    assert rows_of(make_market, tmp_path / "other.csv", csv=written) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"click~ts\n1~2\n",
            r"expected columns 'city', .* \(or training.csv.separator, or training.csv.columns where there is no",
        ),
        ("city,Age,brand,Y,conversion\nKöln,1,b,1,0\n".encode("utf-16-le"), r"expected UTF-8 text \(or training.csv.encoding\)"),
        (b'city,Age,brand,Y,conversion\nBonn,1,b,1,0\n\n"a\nb",1,b,1,0\nBonn,1,b,1,0,7\n', r"row 3: expected 5 fields, .*'7'\]"),
        (b"city,Age,brand,Y,conversion\nBonn,1,b,1,0\nK\xf6ln,1,b,1,0\n", r"column 'city', row 2: expected UTF-8 .*encoding\)"),
    ],
    ids=["separator", "UTF-16 without a mark", "ragged", "Latin-1"],
)
def test_a_refusal_names_the_key_that_helps(make_market: MakeMarket, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "log.csv").write_bytes(content)
    with pytest.raises(InvalidTrainingData, match=message):
        ingest(make_market(), tmp_path / "log.csv", tmp_path / "rows")


@pytest.mark.parametrize("key", [{"separator": '"'}, {"separator": ";;"}, {"encoding": "klingon"}, {"encoding": "hex"}])
def test_what_no_file_can_be_written_in_is_refused(make_market: MakeMarket, key: dict[str, str]) -> None:
    with pytest.raises(Exception, match=f"training.csv.{next(iter(key))}: expected"):
        make_market(csv=key)


def test_a_file_cut_short_is_named(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    content = gzip.compress(write_csv(tmp_path / "log.csv", columns).read_bytes())
    for at, name in ((len(content) // 2, "half.csv.gz"), (30, "head.csv.gz")):
        (tmp_path / name).write_bytes(content[:at])
        with pytest.raises(InvalidTrainingData, match=f"{name}: expected a readable file"):
            ingest(make_market(), tmp_path / name, tmp_path / f"rows of {name}")
