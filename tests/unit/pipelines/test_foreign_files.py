"""The same log from several systems, in one folder: exact, in one unit, and split alike."""

import datetime
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from domain.errors import InvalidTrainingData
from features.market import parse_market
from pipelines.ingest import Ingested, ingest
from pipelines.splits import SPLITS
from tests.unit.pipelines.conftest import MARKET, MakeMarket, write_csv
from tests.unit.pipelines.test_bags import write_tfrecord

Columns = dict[str, list[Any]]
HASH = {"kind": "hash", "by": "shopper", "valid_fraction": 0.2, "eval_fraction": 0.3}
TIME = {"kind": "time", "by": "at", "valid_fraction": 0.1, "eval_fraction": 0.2}
IDS = [9_007_199_254_740_993_000 + i for i in range(200)]


def ages(done: Ingested, split: str | None = None) -> list[int]:
    return sorted(age for one in SPLITS if split in (None, one) for age in pq.read_table(done.directory / one)["age"].to_pylist())


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64(), pa.decimal128(38, 0), pa.string()], ids=str)
def test_ids_of_19_digits_stay_apart(make_market: MakeMarket, columns: Columns, tmp_path: Path, kind: pa.DataType) -> None:
    as_kind: dict[str, Callable[[int], Any]] = {"decimal128(38, 0)": Decimal, "string": str}
    columns["Age"] = pa.array([as_kind.get(str(kind), int)(i) for i in IDS], kind)  # type: ignore[assignment]
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    assert ages(ingest(make_market(), tmp_path / "log.parquet", tmp_path / "rows")) == IDS


def test_a_float_among_ids_leaves_the_others_as_they_are(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    columns["Age"] = ["5.0", *IDS[1:]]
    assert ages(ingest(make_market(), write_csv(tmp_path / "log.csv", columns), tmp_path / "rows")) == [5, *IDS[1:]]


def test_ids_that_a_writer_has_made_floats_of_are_refused(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    pq.write_table(pa.table(columns | {"Age": [5.0, *map(float, IDS[1:])]}), tmp_path / "log.parquet")
    with pytest.raises(InvalidTrainingData, match=r"log.parquet: column 'Age', row 2: expected a whole number up to 2\^53"):
        ingest(make_market(), tmp_path / "log.parquet", tmp_path / "rows")


def test_the_latest_report_whatever_units_files_have(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    """Four files with every fourth hour each: nanoseconds, a zone, seconds, and a CSV file."""
    began = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    at = [began + datetime.timedelta(hours=i) for i in range(200)]
    columns["Age"] = list(range(200))
    (tmp_path / "log").mkdir()
    for i, kind in enumerate((pa.timestamp("ns"), pa.timestamp("us", "+02:00"), pa.timestamp("s"), None)):
        every_fourth = {name: column[i::4] for name, column in columns.items()}
        if kind is None:
            write_csv(tmp_path / "log" / f"{i}.csv", every_fourth | {"at": [f"{t:%Y-%m-%dT%H:%M:%S}Z" for t in at[i::4]]})
        else:
            times = pa.array(at[i::4], pa.timestamp("us")).cast(kind)
            pq.write_table(
                pa.table(every_fourth | {"at": times}), tmp_path / "log" / f"{i}.parquet", coerce_timestamps=None, version="2.6"
            )
    done = ingest(make_market(split=TIME), tmp_path / "log", tmp_path / "rows")
    assert ages(done, "train") == list(range(140))
    assert ages(done, "eval") == list(range(160, 200))
    assert done.times["train"][0] == "2026-01-01 00:00:00"


def test_numbers_of_several_units_of_unix_time_are_one_course_of_time(
    make_market: MakeMarket, columns: Columns, tmp_path: Path
) -> None:
    columns["Age"] = list(range(200))
    (tmp_path / "log").mkdir()
    for i, unit in enumerate((1, 1000, 10**6, 10**9)):
        every_fourth = {name: column[i::4] for name, column in columns.items()}
        write_csv(tmp_path / "log" / f"{i}.csv", every_fourth | {"at": [(1_767_312_000 + t) * unit for t in range(i, 200, 4)]})
    done = ingest(make_market(split=TIME), tmp_path / "log", tmp_path / "rows")
    assert ages(done, "train") == list(range(140))
    assert ages(done, "eval") == list(range(160, 200))


def test_numbers_that_are_no_times_are_refused_beside_times(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    write_csv(tmp_path / "log" / "a.csv", columns | {"at": ["2026-01-01"] * 200})
    write_csv(tmp_path / "log" / "b.csv", columns | {"at": list(range(200))})
    with pytest.raises(InvalidTrainingData, match=r"b.csv: column 'at', row 1: expected a time like '2026-01-01' of"):
        ingest(make_market(split=TIME), tmp_path / "log", tmp_path / "rows")


def test_a_shopper_is_on_one_side_whatever_type_files_have_the_key_in(
    make_market: MakeMarket, columns: Columns, tmp_path: Path
) -> None:
    keys = [i // 10 for i in range(200)]
    columns["Age"] = keys
    (tmp_path / "log").mkdir()
    types = {"int": keys, "float": list(map(float, keys)), "text": list(map(str, keys)), "decimal": list(map(Decimal, keys))}
    types["category"] = pa.array(map(str, keys)).dictionary_encode()
    for name, shopper in types.items():
        pq.write_table(pa.table(columns | {"shopper": shopper}), tmp_path / "log" / f"{name}.parquet")
    write_csv(tmp_path / "log" / "log.csv", columns | {"shopper": list(map(float, keys))})
    done = ingest(make_market(split=HASH), tmp_path / "log", tmp_path / "rows")
    groups = [set(ages(done, split)) for split in SPLITS]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 20
    assert sum(done.rows.values()) == 1200


def test_rows_without_a_key_do_not_go_together(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    columns["shopper"] = [None] * 190 + ["s"] * 10
    done = ingest(make_market(split=HASH), write_csv(tmp_path / "log.csv", columns), tmp_path / "rows")
    assert [done.rows[split] / 200 for split in SPLITS] == pytest.approx([0.5, 0.2, 0.3], abs=0.15)


def test_rows_without_a_key_go_by_their_page_where_it_is_known(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    columns |= {
        "shopper": [None] * 190 + ["s"] * 10,
        "decision_id": [f"d{i // 5}" for i in range(200)],
        "Age": [i // 5 for i in range(200)],
    }
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    done = ingest(make_market(split=HASH), tmp_path / "log.parquet", tmp_path / "rows")
    groups = [set(ages(done, split)) for split in SPLITS]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 40
    assert done.keyless == 0


@pytest.mark.parametrize("name", ["log.csv", "log.parquet", "log.tfrecord"])
def test_text_that_is_not_utf_8_is_named_in_every_format(
    make_market: MakeMarket, columns: Columns, tmp_path: Path, name: str
) -> None:
    columns["city"] = ["Ulm", "K|ln", *columns["city"][2:]]
    {".csv": write_csv, ".parquet": write_parquet, ".tfrecord": write_tfrecord}[Path(name).suffix](tmp_path / name, columns)
    if name.endswith(".tfrecord"):
        rewrite_tfrecord(tmp_path / name)
    else:
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes().replace(b"K|ln", b"K\xf6ln"))
    with pytest.raises(InvalidTrainingData, match=rf"{name}: column 'city', row 2: expected UTF-8 text.*, got b'K\\xf6ln'"):
        ingest(make_market(), tmp_path / name, tmp_path / "rows")


def write_parquet(path: Path, columns: Columns) -> None:
    pq.write_table(pa.table(columns), path)


def rewrite_tfrecord(path: Path) -> None:
    """With other bytes in place of those of `K|ln`, and their checksum."""
    from models.legacy_keras import tf

    records = [record.numpy().replace(b"K|ln", b"K\xf6ln") for record in tf.data.TFRecordDataset(str(path))]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def test_labels_are_true_and_false_in_a_csv_file_as_in_a_parquet_file(
    make_market: MakeMarket, columns: Columns, tmp_path: Path
) -> None:
    columns["Y"] = [bool(y) for y in columns["Y"]]
    write_parquet(tmp_path / "log.parquet", columns)
    write_csv(tmp_path / "log.csv", columns)
    assert "True" in (tmp_path / "log.csv").read_text()
    a, b = (ingest(make_market(), tmp_path / name, tmp_path / f"rows of {name}") for name in ("log.csv", "log.parquet"))
    assert a.tasks == b.tasks


def test_lists_may_be_written_out_in_a_csv_file(columns: Columns, tmp_path: Path) -> None:
    tags = [["a", "b, c", "d"][: i % 4] for i in range(200)]
    market = parse_market(
        MARKET | {"features": [*MARKET["features"], {"name": "tags", "source": "context", "multiple": True, "max_values": 3}]}
    )
    quoted = ['"' + str(tag).replace('"', '""') + '"' for tag in tags]
    done = ingest(market, write_csv(tmp_path / "log.csv", columns | {"tags": quoted}), tmp_path / "rows")
    found = {tuple(row) for split in SPLITS for row in pq.read_table(done.directory / split)["tags"].to_pylist()}
    assert found == {("", "", ""), ("a", "", ""), ("a", "b, c", ""), ("a", "b, c", "d")}


def test_one_value_that_leaves_nothing_of_a_feature_is_named(columns: Columns, tmp_path: Path) -> None:
    amount = {"name": "amount", "source": "context", "dtype": "float", "default": 0, "column": "Sum"}
    market = parse_market(MARKET | {"features": [*MARKET["features"], amount | {"normalize": True}]})
    ranked = parse_market(MARKET | {"features": [*MARKET["features"], amount]})  # by default, and a rank has no tail
    columns["Sum"] = [float(i % 9) for i in range(199)] + [1e20]
    done = ingest(market, write_csv(tmp_path / "log.csv", columns), tmp_path / "rows")
    (warning,) = done.used().warnings
    assert warning == "column 'Sum': 1e+20 is 100% of the variance: normalised, the column tells of nothing else"
    assert ingest(ranked, tmp_path / "log.csv", tmp_path / "ranked rows").used().warnings == ()
    columns["Sum"][-1] = 8.0
    assert ingest(market, write_csv(tmp_path / "log.csv", columns), tmp_path / "other rows").used().warnings == ()
