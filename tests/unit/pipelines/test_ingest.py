import gzip
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from domain.errors import InvalidTrainingData
from features.model_spec import ValueSpec
from pipelines.ingest import Ingested, ingest
from pipelines.requirements import TaskRows
from pipelines.splits import SPLITS
from tests.unit.pipelines.conftest import MakeMarket, write_csv

Columns = dict[str, list[Any]]


def all_rows(done: Ingested) -> list[dict[str, Any]]:
    rows = [row for split in SPLITS for row in pq.read_table(done.directory / split).to_pylist()]
    return sorted(rows, key=lambda row: tuple(map(str, row.values())))


def test_rows_come_out_under_the_markets_names(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    done = ingest(make_market(), write_csv(tmp_path / "log.csv", columns), tmp_path / "rows")
    (row, *_), schema = all_rows(done), pq.read_schema(tmp_path / "rows" / "train" / "rows.parquet")
    unknown = {"cluster_id": -1, "explored": -1, "propensity_ppb": -1}
    counts = {"time_ms": 0, "log_row": 0, **unknown, "click_usable": 1, "conversion_usable": 1, "cvr_counts": 1}
    assert schema.names == ["city", "age", "brand", "click", "conversion", *counts]
    assert [str(t) for t in schema.types] == ["string", "int64", "string"] + ["int64"] * 10
    assert row == {"city": "Bonn", "age": 0, "brand": "b0", "click": 1, "conversion": 1} | counts
    assert sum(done.rows.values()) == 200


def test_the_value_of_conversions_comes_with_them_where_it_is_asked_for(
    make_market: MakeMarket, columns: Columns, tmp_path: Path
) -> None:
    market = make_market().model_copy(update={"value": ValueSpec(column="basket")})
    columns["basket"] = [1_000_000 * i if sold and i else None for i, sold in enumerate(columns["conversion"])]
    columns["basket"][1] = 5  # of a row that is no conversion
    done = ingest(market, write_csv(tmp_path / "log.csv", columns), tmp_path / "rows")
    found = sorted(row["conversion_value_micros"] for row in all_rows(done) if row["conversion"])
    assert found == [-1, *(1_000_000 * i for i in range(8, 200, 8))]
    assert {row["conversion_value_micros"] for row in all_rows(done) if not row["conversion"]} == {-1}


def test_values_of_which_none_is_known_cannot_be_learned(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    market = make_market().model_copy(update={"value": ValueSpec()})
    with pytest.raises(InvalidTrainingData, match="conversion_value_micros"):
        ingest(market, write_csv(tmp_path / "none.csv", columns), tmp_path / "rows-none")
    columns["conversion_value_micros"] = [0] * 200
    with pytest.raises(InvalidTrainingData, match="whose conversion_value_micros is known, and above 0"):
        ingest(market, write_csv(tmp_path / "zero.csv", columns), tmp_path / "rows-zero")


def test_every_format_gives_the_same_rows(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    plain = write_csv(tmp_path / "log.csv", columns)
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    results = [
        ingest(make_market(), tmp_path / name, tmp_path / f"rows-{name}") for name in ("log.csv", "log.csv.gz", "log.parquet")
    ]
    assert results[0].rows == results[1].rows == results[2].rows
    assert all_rows(results[0]) == all_rows(results[1]) == all_rows(results[2])


@pytest.mark.parametrize(
    ("said", "decided_ms"),
    [
        (None, -1),
        (["12"] * 200, 12),
        ([1_763_700_000_000, *[None] * 199], -1),
        ([12.0] * 200, 12),
        (["2025-11-21 04:40"] * 200, -1),
        ([12.5] * 200, -1),
    ],
    ids=["nothing", "text", "null", "whole numbers as floats", "a date", "no whole number"],
)
def test_when_a_row_was_decided_is_known_or_minus_1(
    make_market: MakeMarket, columns: Columns, tmp_path: Path, said: list[Any] | None, decided_ms: int
) -> None:
    del columns["time_ms"]
    pq.write_table(pa.table(columns | ({"time_ms": said} if said else {})), tmp_path / "log.parquet")
    rows = all_rows(ingest(make_market(), tmp_path / "log.parquet", tmp_path / "rows"))
    assert sorted(row["time_ms"] for row in rows)[:199] == [decided_ms] * 199


def test_a_directory_is_read_whole_and_hidden_files_are_not(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    (logs / "hour=1").mkdir(parents=True)
    write_csv(logs / "b.csv", {k: v[:100] for k, v in columns.items()})
    pq.write_table(pa.table({k: v[100:] for k, v in columns.items()}), logs / "hour=1" / "part-0.parquet")
    (logs / "_SUCCESS.csv").write_text("not a log")
    (logs / "README.md").write_text("not a log")
    assert sum(ingest(make_market(), logs, tmp_path / "rows").rows.values()) == 200


def test_positives_are_counted_where_a_task_counts(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    done = ingest(make_market(), write_csv(tmp_path / "log.csv", columns), tmp_path / "rows")
    total = {
        t: TaskRows(*(sum(getattr(done.tasks[s][t], k) for s in SPLITS) for k in ("rows", "positives"))) for t in ("ctr", "cvr")
    }
    assert total == {"ctr": TaskRows(200, 50), "cvr": TaskRows(50, 25)}


def with_young_rows(columns: Columns) -> Columns:
    """The last 40 rows are too young for their conversions, the last 20 of them for their clicks, too."""
    n = np.arange(200)
    return columns | {"click_usable": (n < 180).astype(int).tolist(), "conversion_usable": (n < 160).astype(int).tolist()}


def write_tfrecord(path: Path, columns: Columns) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own imports
        from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

        from models.legacy_keras import tf

    lists = {name: pa.array([[v.encode() if isinstance(v, str) else v] for v in column]) for name, column in columns.items()}
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in RecordBatchToExamplesEncoder().encode(pa.RecordBatch.from_pydict(lists)):
            writer.write(example)
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet", "tfrecord"])
def test_rows_count_for_the_tasks_whose_label_is_usable(
    make_market: MakeMarket, columns: Columns, tmp_path: Path, kind: str
) -> None:
    columns, log = with_young_rows(columns), tmp_path / f"log.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table(columns), log)
    else:
        {"csv": write_csv, "tfrecord": write_tfrecord}[kind](log, columns)
    done = ingest(make_market(), log, tmp_path / "rows")
    total = {
        t: TaskRows(*(sum(getattr(done.tasks[s][t], k) for s in SPLITS) for k in ("rows", "positives"))) for t in ("ctr", "cvr")
    }
    # Every fourth of 180 is a click; of the 40 clicks among the first 160 every second converts.
    assert total == {"ctr": TaskRows(180, 45), "cvr": TaskRows(40, 20)}
    rows = all_rows(done)
    assert len(rows) == 200
    assert [sum(row[name] for row in rows) for name in ("click_usable", "conversion_usable", "cvr_counts")] == [180, 160, 40]


def test_clicks_that_enter_before_their_conversions_are_final_keep_their_labels_and_are_not_counted(
    make_market: MakeMarket, columns: Columns, tmp_path: Path
) -> None:
    # Of the rows whose conversions are not final the last twenty enter; those whose conversions are do not enter again.
    columns = with_young_rows(columns) | {"conversion_entry_ms": [-1] * 180 + [5_000] * 20, "click_usable": [1] * 200}
    market = make_market(delayed_labels="importance")
    done = ingest(market, write_csv(tmp_path / "log.csv", columns), tmp_path / "rows")
    assert sum(done.tasks[split]["cvr"].rows for split in SPLITS) == 40
    entered = [row for row in all_rows(done) if row["conversion_entry_ms"] == 5_000]
    assert (len(entered), sum(row["conversion"] for row in entered)) == (20, 2)
    # A file that does not say lets the final ones train.
    log = write_csv(tmp_path / "plain.csv", {name: x for name, x in columns.items() if name != "conversion_entry_ms"})
    entries = [row["conversion_entry_ms"] for row in all_rows(ingest(market, log, tmp_path / "plain"))]
    assert (entries.count(0), entries.count(-1)) == (160, 40)
    columns["conversion"][199] = None
    columns["Y"][199] = 1
    with pytest.raises(InvalidTrainingData, match=r"column 'conversion', row 200: expected 0 or 1 .*, got ''"):
        ingest(market, write_csv(tmp_path / "log.csv", columns), tmp_path / "bad")


def test_a_label_that_is_not_usable_may_be_missing(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    columns = with_young_rows(columns)
    columns["Y"][180:] = [None] * 20
    columns["conversion"][160:] = [None] * 40
    assert sum(ingest(make_market(), write_csv(tmp_path / "log.csv", columns), tmp_path / "rows").rows.values()) == 200


def test_where_nothing_is_said_a_label_is_usable(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    columns["click_usable"] = [None] * 100 + [0] * 100
    done = ingest(make_market(), write_csv(tmp_path / "log.csv", columns), tmp_path / "rows")
    assert sum(row["click_usable"] for row in all_rows(done)) == 100


def test_a_task_without_a_usable_label_is_refused_unless_training_goes_on(
    make_market: MakeMarket, columns: Columns, tmp_path: Path
) -> None:
    log = write_csv(tmp_path / "log.csv", columns | {"conversion_usable": [0] * 200})
    with pytest.raises(InvalidTrainingData, match="expected positives, got \"none in 0 rows that count for task 'cvr'\""):
        ingest(make_market(), log, tmp_path / "a")
    gate = {"cvr": {"min_label_rate": 0.1}}
    done = ingest(make_market(gates=gate), log, tmp_path / "b", continuing=True)
    assert [done.tasks[s]["cvr"] for s in SPLITS] == [TaskRows()] * 3


def test_a_split_by_time_keeps_the_latest_rows_of_each_task_for_eval(
    make_market: MakeMarket, columns: Columns, tmp_path: Path
) -> None:
    columns = with_young_rows(columns) | {"Age": list(range(200))}
    split = {"kind": "time", "by": "time_ms", "valid_fraction": 0.1, "eval_fraction": 0.2}
    done = ingest(make_market(split=split), write_csv(tmp_path / "log.csv", columns), tmp_path / "rows")
    # Of 160 rows that count for both tasks, and of 20 that count for clicks alone: 70 % train, the latest 20 % report.
    ages = set(pq.read_table(done.directory / "eval")["age"].to_pylist())
    assert set(range(128, 160)) | set(range(176, 180)) <= ages
    assert not ages & {*range(128), *range(160, 176)}
    assert (done.tasks["eval"]["ctr"].rows, done.tasks["eval"]["cvr"].rows) == (36, 8)


def test_a_conversion_may_be_missing_where_nothing_was_clicked(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    columns["conversion"] = [c if y else None for c, y in zip(columns["conversion"], columns["Y"], strict=True)]
    done = ingest(make_market(), write_csv(tmp_path / "log.csv", columns), tmp_path / "rows")
    assert sum(row["conversion"] for row in all_rows(done)) == 25


def test_a_split_by_time_keeps_the_latest_for_eval(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    columns["Age"] = list(range(200))
    split = {"kind": "time", "by": "time_ms", "valid_fraction": 0.1, "eval_fraction": 0.2}
    done = ingest(make_market(split=split), write_csv(tmp_path / "log.csv", columns), tmp_path / "rows")
    ages = [pq.read_table(done.directory / s)["age"].to_numpy() for s in SPLITS]
    assert ages[0].max() < ages[1].min()
    assert ages[1].max() < ages[2].min()
    assert done.rows == {"train": 140, "valid": 20, "eval": 40}
    # As logged, and by time: as text, 99000 would come after 139000.
    assert done.times == {"train": ("0", "139000"), "valid": ("140000", "159000"), "eval": ("160000", "199000")}
    assert (done.used().splits["eval"].first, done.used().splits["eval"].tasks["ctr"].rows) == ("160000", 40)


def test_a_split_by_time_may_calibrate_on_random_rows_of_the_past(
    make_market: MakeMarket, columns: Columns, tmp_path: Path
) -> None:
    columns["Age"] = list(range(200))
    split = {"kind": "time", "by": "time_ms", "valid": "random", "valid_fraction": 0.2, "eval_fraction": 0.2}
    done = ingest(make_market(split=split), write_csv(tmp_path / "log.csv", columns), tmp_path / "rows")
    train, valid, late = (set(pq.read_table(done.directory / s)["age"].to_pylist()) for s in SPLITS)
    assert late == set(range(160, 200))
    assert train | valid == set(range(160))
    assert len(valid) == pytest.approx(40, abs=15)
    assert max(train) > 150 > 10 > min(valid)


def test_a_split_by_hash_keeps_a_shopper_together(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    columns["Age"] = np.repeat(np.arange(20), 10).tolist()
    split = {"kind": "hash", "by": "shopper", "valid_fraction": 0.2, "eval_fraction": 0.3}
    done = ingest(make_market(split=split), write_csv(tmp_path / "log.csv", columns), tmp_path / "rows")
    groups = [set(pq.read_table(done.directory / s)["age"].to_pylist()) for s in SPLITS]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 20


BAD = {
    "missing columns": (lambda c: (c.pop("Y"), c.pop("brand")), "columns 'brand', 'Y'"),
    "bad label": (lambda c: c["Y"].__setitem__(3, 2), r"log.csv: column 'Y', row 4: expected 0 or 1 .*, got '2'"),
    "word for a label": (lambda c: c["Y"].__setitem__(0, "maybe"), "row 1: expected 0 or 1 .*, got 'maybe'"),
    "empty label": (lambda c: c["Y"].__setitem__(7, None), "row 8: expected 0 or 1 .*, got ''"),
    "no positives": (lambda c: c.update(Y=[0] * 200), "column 'Y': expected positives, got \"none in 200 rows"),
    "no negatives": (lambda c: c.update(Y=[1] * 200), "column 'Y': expected negatives"),
    "no conversions": (lambda c: c.update(conversion=[0] * 200), "column 'conversion': expected positives"),
    "bad number": (lambda c: c["Age"].__setitem__(199, "old"), "column 'Age', row 200: expected a number, got 'old'"),
    "half a year": (lambda c: c["Age"].__setitem__(1, 1.5), "row 2: expected a whole number, got '1.5'"),
    "usable or not": (lambda c: c.update(click_usable=[2] * 200), "column 'click_usable', row 1: expected 0 or 1 .*, got '2'"),
    "too few rows": (lambda c: [c.update({k: v[:12]}) for k, v in list(c.items())], "at least 20 rows .*got '12 rows'"),
    "no rows": (lambda c: [c.update({k: []}) for k in list(c)], "at least 20 rows .*got '0 rows'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_learned_from_is_refused(make_market: MakeMarket, columns: Columns, tmp_path: Path, case: str) -> None:
    spoil, message = BAD[case]
    spoil(columns)
    with pytest.raises(InvalidTrainingData, match=message):
        ingest(make_market(), write_csv(tmp_path / "log.csv", columns), tmp_path / "rows")


def test_a_feature_that_may_not_be_missing_often_is_refused_where_it_is(
    make_market: MakeMarket, columns: Columns, tmp_path: Path
) -> None:
    columns["Age"][:30] = [None] * 30
    log = write_csv(tmp_path / "log.csv", columns)
    assert ingest(make_market(max_missing={"age": 0.15}), log, tmp_path / "a").rows
    with pytest.raises(InvalidTrainingData, match=r"column 'Age'.*training\.max_missing\.age = 0\.1\b.*none in 30 of 200 rows"):
        ingest(make_market(max_missing={"age": 0.1}), log, tmp_path / "b")


def test_missing_is_null_nan_or_empty_in_every_format(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    ages = pa.array([float("nan")] * 20 + [None] * 20 + [30.0] * 160)
    cities = pa.array([""] * 20 + [None] * 20 + ["Bonn"] * 160).dictionary_encode()
    pq.write_table(pa.table(columns | {"Age": ages, "city": cities}), tmp_path / "log.parquet")
    for name, column in (("age", "Age"), ("city", "city")):
        with pytest.raises(InvalidTrainingData, match=f"column '{column}'.*none in 40 of 200 rows"):
            ingest(make_market(max_missing={name: 0.19}), tmp_path / "log.parquet", tmp_path / name)


@pytest.mark.parametrize("gate", [{"min_label_rate": 0.4}, {"max_label_rate": 0.1}])
def test_a_label_rate_out_of_range_is_refused_before_training(
    make_market: MakeMarket, columns: Columns, tmp_path: Path, gate: dict[str, float]
) -> None:
    ((key, bound),) = gate.items()
    message = rf"column 'Y': expected a label rate that keeps training\.gates\.ctr\.{key} = {bound}, got '\d+ positives in \d+ "
    with pytest.raises(InvalidTrainingData, match=message):
        ingest(make_market(gates={"ctr": gate}), write_csv(tmp_path / "log.csv", columns), tmp_path / "rows")


FILES = {
    "absent.csv": (None, "expected a training log, got 'no such file'"),
    "empty.csv": (b"", "expected a readable file, got 'Empty CSV file'"),
    "ragged.csv": (
        b"city,Age,brand,Y,conversion\nBonn,1,b,1,0\nBonn,1\n",
        r"ragged.csv: row 2: expected 5 fields, .*got \['Bonn', '1'\]",
    ),
    "latin.csv": (b"city,Age,brand,Y,conversion\nK\xf6ln,1,b,1,0\n", r"column 'city', row 1: expected UTF-8 text .*b'K\\xf6ln'"),
    "cut.csv.gz": (gzip.compress(b"city,Age,brand,Y,conversion\n" + b"Bonn,1,b,1,0\n" * 5000)[:60], "expected a readable file"),
    "not.csv.gz": (b"city,Age\n", "expected a readable file"),
    "not.parquet": (b"PAR2", "expected a readable file"),
    "log.xlsx": (b"", "expected a name ending in .csv"),
    "twice.csv": (b"city,Age,brand,Y,Y,conversion\nBonn,1,b,1,1,0\n", "expected column 'Y' once, got '2 of them'"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_cannot_be_read_is_refused(make_market: MakeMarket, tmp_path: Path, name: str) -> None:
    content, message = FILES[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidTrainingData, match=message):
        ingest(make_market(), tmp_path / name, tmp_path / "rows")


def test_an_empty_directory_is_refused(make_market: MakeMarket, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    with pytest.raises(InvalidTrainingData, match=r"a directory with .csv.* files, got '0 other files'"):
        ingest(make_market(), tmp_path / "logs", tmp_path / "rows")


def test_the_column_to_split_by_must_be_there(make_market: MakeMarket, columns: Columns, tmp_path: Path) -> None:
    split = {"kind": "time", "by": "moment", "valid_fraction": 0.1, "eval_fraction": 0.2}
    with pytest.raises(InvalidTrainingData, match="columns 'moment'"):
        ingest(make_market(split=split), write_csv(tmp_path / "log.csv", columns), tmp_path / "rows")


@pytest.mark.parametrize(
    "split", [{"kind": "random"}, {"kind": "hash", "by": "Age", "valid_fraction": 0.3}, {"kind": "time", "by": "time_ms"}]
)
def test_new_rows_are_judged_first_and_none_of_the_others_are(
    make_market: MakeMarket, columns: Columns, tmp_path: Path, split: dict[str, Any]
) -> None:
    """All new rows are `eval`; of those that the release in service has learned, `train` is fitted until `valid` stops it."""
    old, new = ({name: column[part] for name, column in columns.items()} for part in (slice(150), slice(150, 200)))
    write_csv(tmp_path / "old.csv", old)
    write_csv(tmp_path / "new.csv", new)
    market = make_market(split=split)
    done = ingest(market, tmp_path / "old.csv", tmp_path / "rows", new=tmp_path / "new.csv")
    assert done.used().progressive
    assert done.rows["eval"] == 50
    assert done.rows["train"] + done.rows["valid"] == 150
    assert min(done.rows.values()) > 0
    judged = pq.read_table(tmp_path / "rows" / "eval")
    # Numbers go on from file to file.
    assert judged["log_row"].to_pylist() == list(range(150, 200))
    assert judged["time_ms"].to_pylist() == new["time_ms"]


def test_a_model_that_goes_on_needs_no_other_rows_and_learns_from_rows_that_are_alike(
    make_market: MakeMarket, columns: Columns, tmp_path: Path
) -> None:
    none_clicked = columns | {"Y": [0] * 200, "conversion": [0] * 200}
    new = write_csv(tmp_path / "new.csv", none_clicked)
    done = ingest(make_market(), None, tmp_path / "rows", continuing=True, new=new)
    assert done.rows == {"train": 0, "valid": 0, "eval": 200}
