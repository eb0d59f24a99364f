"""`offerrank train` on what it cannot use, and ended early: the releases folder stays as it was."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from features.market import load_market
from pipelines.ingest import ingest
from pipelines.scratch import scratch_folder
from tests.integration.conftest import COUPON_MARKET, COUPONS

GOOD_HEADER = (
    "destination,passanger,weather,temperature,time,coupon,expiration,gender,age,maritalStatus,has_children,education,"
    "occupation,income,car,Bar,CoffeeHouse,CarryAway,RestaurantLessThan20,Restaurant20To50,toCoupon_GEQ15min,"
    "toCoupon_GEQ25min,direction_same,Y"
)
GOOD_ROW = (
    "Home,Alone,Sunny,80,6PM,Bar,1d,Male,21,Single,0,Bachelors degree,Student,$12500 - $24999,,never,never,1~3,1~3,less1,1,0,1"
)
CASES = {
    "missing columns": ("destination,weather\nHome,Sunny\n", "'passanger', 'temperature'"),
    "bad label": (f"{GOOD_HEADER}\n" + f"{GOOD_ROW},1\n" * 300 + f"{GOOD_ROW},maybe\n", "column 'Y', row 301: expected 0 or 1"),
    "no positives": (f"{GOOD_HEADER}\n" + f"{GOOD_ROW},0\n" * 300, "column 'Y': expected positives"),
    "too few rows": (f"{GOOD_HEADER}\n{GOOD_ROW},0\n{GOOD_ROW},1\n", "at least 200 rows"),
    "empty": ("", "Empty CSV file"),
}


def command(data: Path, out: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "offerrank", "train", "--json"),
        *("--market", str(COUPON_MARKET), "--data", str(data), "--out", str(out)),
    ]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """With temporary files where the test sees them, and messages on one line."""
    (tmp_path / "tmp").mkdir()
    return os.environ | {"TMPDIR": str(tmp_path / "tmp"), "COLUMNS": "2000"}


@pytest.mark.parametrize("case", CASES)
def test_bad_data_gets_one_clear_message_and_exit_code_2(case: str, tmp_path: Path, environment: dict[str, str]) -> None:
    content, message = CASES[case]
    (tmp_path / "log.csv").write_text(content)
    run = subprocess.run(command(tmp_path / "log.csv", tmp_path / "out"), capture_output=True, text=True, env=environment)
    assert run.returncode == 2, run.stderr
    assert message in run.stderr
    assert "Traceback" not in run.stderr
    assert run.stdout == ""
    assert not (tmp_path / "out").exists()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_releases_folder_that_cannot_be_is_refused_at_once(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "file").write_text("in the way")
    run = subprocess.run(command(COUPONS, tmp_path / "file" / "out"), capture_output=True, text=True, env=environment)
    assert run.returncode != 0
    assert "expected a folder that can be written to" in run.stderr
    assert "import TFX" not in run.stderr


def ended_at(step: str, number: signal.Signals, tmp_path: Path, environment: dict[str, str]) -> tuple[int, bytes, str]:
    """A training that gets a signal as soon as it has begun a step: its exit code and what it said."""
    log = tmp_path / "stderr"
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would hand down that it ignores it
    try:
        with log.open("wb") as err:
            run = subprocess.Popen(command(COUPONS, tmp_path / "out"), stdout=subprocess.PIPE, stderr=err, env=environment)
    finally:
        signal.signal(signal.SIGINT, ours)
    try:
        deadline = time.monotonic() + 60
        while f"] {step}" not in log.read_text() and time.monotonic() < deadline and run.poll() is None:
            time.sleep(0.05)
        run.send_signal(number)
        stdout, _ = run.communicate(timeout=60)
    finally:
        run.kill()
        run.wait()
    return run.returncode, stdout, log.read_text()


@pytest.mark.parametrize(("number", "step"), [(signal.SIGTERM, "StatisticsGen"), (signal.SIGINT, "import TFX")])
def test_a_run_ended_early_leaves_nothing(number: signal.Signals, step: str, tmp_path: Path, environment: dict[str, str]) -> None:
    code, stdout, said = ended_at(step, number, tmp_path, environment)
    assert code != 0
    assert stdout == b""
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_a_killed_run_leaves_the_next_one_removes_and_nothing_of_one_that_lives(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    ended_at("import TFX", signal.SIGKILL, tmp_path, environment)
    (left,) = (tmp_path / "tmp").iterdir()
    assert (left / "rows" / "train").is_dir()
    (tmp_path / "log.csv").write_text("")
    before, tempfile.tempdir = tempfile.tempdir, environment["TMPDIR"]
    try:
        with scratch_folder("train") as ours:
            assert not left.exists()
            subprocess.run(command(tmp_path / "log.csv", tmp_path / "out"), capture_output=True, env=environment)
            assert ours.is_dir()
    finally:
        tempfile.tempdir = before
    assert list((tmp_path / "tmp").iterdir()) == []


def test_tfrecord_gives_the_same_rows_as_csv(tmp_path: Path) -> None:
    import pyarrow.csv as pacsv
    import pyarrow.parquet as pq

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own imports
        from models.legacy_keras import tf
    market = load_market(COUPON_MARKET)
    rows = pacsv.read_csv(str(COUPONS)).slice(0, 500)
    columns = [f.log_column for f in market.features] + ["Y"]
    with tf.io.TFRecordWriter(str(tmp_path / "log.tfrecord.gz"), "GZIP") as writer:
        for row in rows.select(columns).to_pylist():
            writer.write(tf.train.Example(features=tf.train.Features(feature=_features(tf, row))).SerializeToString())
    pacsv.write_csv(rows, str(tmp_path / "log.csv"))
    got = ingest(market, tmp_path / "log.tfrecord.gz", tmp_path / "a")
    expected = ingest(market, tmp_path / "log.csv", tmp_path / "b")
    assert got.rows == expected.rows
    for split in got.rows:
        assert pq.read_table(tmp_path / "a" / split).equals(pq.read_table(tmp_path / "b" / split))


def _features(tf: Any, row: dict[str, Any]) -> dict[str, Any]:
    features = {}
    for name, value in row.items():
        features[name] = tf.train.Feature()  # known, and without a value
        if isinstance(value, str) and value:
            features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
        elif isinstance(value, int):
            features[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return features
