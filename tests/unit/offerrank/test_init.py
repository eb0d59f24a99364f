"""`offerrank init`: what it writes can be trained, with the reasons; what cannot be guessed is said, and nothing is written."""

import gzip
import os
import pty
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli
from typer.testing import CliRunner

from features.market import Market, load_market
from offerrank.cli import app
from pipelines.data_check import check_data

ROWS = 400
Columns = dict[str, list[Any]]


@pytest.fixture
def columns() -> Columns:
    """A log of two offers, with a number that most rows have none of, a few missing values, and an outcome."""
    rng = np.random.default_rng(5)
    n = np.arange(ROWS)
    return {
        "Customer ID": [f"c{i // 2:05d}" for i in n],
        "offer_id": [("tea", "wine 12 %")[i % 2] for i in n],
        "brand": [("Grün", "Rot")[i % 2] for i in n],
        "Age": [None if i % 9 == 0 else int(v) for i, v in enumerate(rng.integers(18, 90, ROWS))],
        "city": [("Köln", "Ulm", "Bonn")[i % 3] for i in n],
        "basket value": [round(float(v), 2) for v in rng.lognormal(3, 1, ROWS)],
        "gains": [0 if v < 0.9 else int(1000 * v) for v in rng.random(ROWS)],
        "member": [bool(v) for v in rng.integers(0, 2, ROWS)],
        "constant": ["x"] * ROWS,
        "clicked": [int(v) for v in rng.random(ROWS) < 0.4],
    }


def written(columns: Columns, separator: str = ",", header: bool = True) -> str:
    lines = [[("" if v is None else str(v)) for v in row] for row in zip(*columns.values(), strict=True)]
    return "\n".join(separator.join(row) for row in [*([list(columns)] if header else []), *lines]) + "\n"


def made(file: Path, *options: str) -> tuple[Market, str]:
    """The market of a file, checked to be one that can be trained with it."""
    out = file.parent / "market.toml"
    done = CliRunner().invoke(app, ["init", str(file), "--out", str(out), *options])
    assert done.exit_code == 0, done.output
    assert f"offerrank train --market {out} --data {file}" in done.output
    market = load_market(out)
    found = check_data(market, file)
    assert found.wrong == []
    assert found.ingested is not None
    return market, out.read_text(encoding="utf-8")


def described(market: Market) -> dict[str, dict[str, Any]]:
    usual = {"oov_buckets", "id_dropout", "max_values", "missing_values"}
    return {f.name: f.model_dump(exclude_defaults=True, exclude=usual) for f in market.features}


def test_each_column_becomes_what_it_holds(columns: Columns, tmp_path: Path) -> None:
    (tmp_path / "Shop Log.csv").write_text(written(columns), encoding="utf-8")
    market, text = made(tmp_path / "Shop Log.csv")
    features = described(market)
    assert market.name == "shop-log"
    assert list(features) == ["offer_id", "brand", "age", "city", "basket_value", "gains", "member"]
    assert features["age"]["missing"] == "own"
    assert (features["age"]["dtype"], features["age"]["source"]) == ("int", "shopper")
    assert features["city"]["vocabulary"] == ("Köln", "Ulm", "Bonn")
    assert features["basket_value"]["column"] == "basket value"
    assert features["basket_value"]["dtype"] == "float"
    assert features["gains"]["quantiles"] > 300  # nine of ten have none: it takes many to tell the others apart
    assert features["member"]["vocabulary"] == (0, 1)
    assert features["brand"]["source"] == features["offer_id"]["source"] == "offer"
    assert {o.features["brand"] for o in market.offers} == {"Grün", "Rot"}
    assert [t.model_dump(include={"name", "label", "column"}) for t in market.tasks] == [
        {"name": "ctr", "label": "click", "column": "clicked"}
    ]
    assert market.policy.priors["ctr"] == pytest.approx(np.mean(columns["clicked"]), rel=1e-3)
    assert market.training.split.model_dump(include={"kind", "by"}) == {"kind": "hash", "by": "Customer ID"}
    for why in ("names who was asked", "left out: 'constant', every row has the same value", "each has one value"):
        assert why in text.replace("\n#", "")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("semicolons", lambda c: written(c, ";").encode()),
        ("tabs", lambda c: written(c, "\t").encode()),
        ("carets", lambda c: written(c, "^").encode()),
        ("cp1252", lambda c: written(c).encode("cp1252")),
        ("utf-16", lambda c: written(c).encode("utf-16")),
        ("byte order mark", lambda c: written(c).encode("utf-8-sig")),
        ("gzip", lambda c: gzip.compress(written(c).encode())),
    ],
)
def test_however_a_file_is_written_the_market_is_the_same(columns: Columns, tmp_path: Path, name: str, content: Any) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "log.csv").write_text(written(columns), encoding="utf-8")
    file = tmp_path / ("log.csv.gz" if name == "gzip" else "log.csv")
    file.write_bytes(content(columns))
    plain, _ = made(tmp_path / "plain" / "log.csv")
    market, _ = made(file)
    assert market.features == plain.features
    assert market.offers == plain.offers


def test_parquet_brings_its_own_types(columns: Columns, tmp_path: Path) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    columns["code"] = [f"{i % 20:03d}" for i in range(ROWS)]
    columns["basket"] = [["a", "b"][: i % 3] for i in range(ROWS)]
    columns["shown_at"] = [start + timedelta(hours=7 * i) for i in range(ROWS)]
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    market, text = made(tmp_path / "log.parquet")
    features = described(market)
    assert features["code"].get("dtype", "string") == "string"
    assert features["basket"]["multiple"]
    assert market.training.split.model_dump(include={"kind", "by"}) == {"kind": "time", "by": "shown_at"}
    assert (features["hour"]["derived"], features["hour"]["column"]) == ("hour(time_ms)", "shown_at")
    assert features["weekday"]["derived"] == "weekday(time_ms)"
    assert "has times in every row" in text


def test_words_for_nothing_are_listed_and_namibia_stays(columns: Columns, tmp_path: Path) -> None:
    columns["Age"] = ["NA" if v is None else v for v in columns["Age"]]
    columns["score"] = ["?" if i % 7 == 0 else i for i in range(ROWS)]
    columns["land"] = [("NA", "DE", "NL")[i % 3] for i in range(ROWS)]
    (tmp_path / "log.csv").write_text(written(columns), encoding="utf-8")
    market, _ = made(tmp_path / "log.csv")
    by_name = market.feature_by_name
    assert "NA" in by_name["age"].missing_values
    assert "?" in by_name["score"].missing_values
    assert by_name["land"].missing_values == ()
    assert by_name["land"].vocabulary == ("NA", "DE", "NL")
    assert by_name["score"].dtype == "int"


@pytest.mark.parametrize("words", [("Y", "N"), ("yes", "no"), ("True", "False"), ("1", "0"), ("1.0", "0.0")])
def test_labels_may_be_words(columns: Columns, tmp_path: Path, words: tuple[str, str]) -> None:
    columns["clicked"] = [words[0] if v else words[1] for v in columns["clicked"]]
    (tmp_path / "log.csv").write_text(written(columns), encoding="utf-8")
    market, _ = made(tmp_path / "log.csv")
    assert market.tasks[0].positive is None


def test_of_other_words_the_rarer_one_is_taken_for_yes_unless_told(columns: Columns, tmp_path: Path) -> None:
    columns["clicked"] = ["a sale" if v else "none so far" for v in columns["clicked"]]
    (tmp_path / "log.csv").write_text(written(columns), encoding="utf-8")
    market, text = made(tmp_path / "log.csv")
    assert market.tasks[0].positive == "a sale"
    assert "a guess" in text
    market, _ = made(tmp_path / "log.csv", "--positive", "none so far", "--force")
    assert market.tasks[0].positive == "none so far"
    assert market.policy.priors["ctr"] > 0.5


def test_a_sale_that_no_row_has_without_a_click_counts_where_there_is_one(columns: Columns, tmp_path: Path) -> None:
    columns["bought"] = [int(v and i % 3 == 0) for i, v in enumerate(columns["clicked"])]
    (tmp_path / "log.csv").write_text(written(columns), encoding="utf-8")
    market, _ = made(tmp_path / "log.csv", "--label", "clicked", "--label", "bought")
    assert market.conversion_task is not None
    assert market.conversion_task.log_column == "bought"


def test_without_offers_there_is_one_and_no_column_is_needed(columns: Columns, tmp_path: Path) -> None:
    del columns["offer_id"], columns["brand"]
    (tmp_path / "log.csv").write_text(written(columns), encoding="utf-8")
    market, text = made(tmp_path / "log.csv")
    assert [o.id for o in market.offers] == ["the-offer"]
    assert "no column is needed for it" in text


def test_files_without_a_header_line_are_noticed(columns: Columns, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(written(columns, header=False), encoding="utf-8")
    market, text = made(tmp_path / "log.csv", "--label", "column_10")
    assert market.training.csv.columns[-1] == "column_10"
    assert "the first line looks like a row" in text
    market, _ = made(tmp_path / "log.csv", "--columns", ",".join(columns), "--force")
    assert market.tasks[0].log_column == "clicked"


def test_the_last_column_is_the_label_where_nothing_is_named(columns: Columns, tmp_path: Path) -> None:
    columns["clicked"] = [" over 50" if v else " up to 50" for v in columns["clicked"]]
    (tmp_path / "log.csv").write_text(written(columns, header=False), encoding="utf-8")
    market, _ = made(tmp_path / "log.csv")
    assert (market.tasks[0].log_column, market.tasks[0].positive) == ("column_10", " over 50")


def test_what_tells_the_outcome_by_itself_is_left_out(columns: Columns, tmp_path: Path) -> None:
    columns["status"] = ["won" if v else "lost" for v in columns["clicked"]]
    columns["clicked"] = columns.pop("clicked")
    (tmp_path / "log.csv").write_text(written(columns), encoding="utf-8")
    market, text = made(tmp_path / "log.csv")
    assert "status" not in described(market)
    assert "left out: 'status', it tells the outcome" in text


def test_hostile_names_and_values_make_a_file_that_can_be_read(columns: Columns, tmp_path: Path) -> None:
    columns['x" \\ ]\n[[offers]]'] = [f'a"{i % 3}\n[policy]' for i in range(ROWS)]
    columns["click"] = [i % 4 for i in range(ROWS)]
    columns["time_ms"] = ["late"] * 200 + ["early"] * 200
    columns["日本"] = [i % 5 for i in range(ROWS)]
    columns["clicked"] = columns.pop("clicked")
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    market, _ = made(tmp_path / "log.parquet", "--time", "none")
    assert {f.log_column for f in market.features} >= {'x" \\ ]\n[[offers]]', "click", "time_ms", "日本"}


def failed(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["init", *arguments])
    assert done.exit_code == 2, done.output
    assert len(done.output.strip().splitlines()) == 1, done.output
    return str(done.output)


def test_a_file_that_is_there_stays_as_it_is(columns: Columns, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(written(columns), encoding="utf-8")
    (tmp_path / "market.toml").write_text("mine")
    out = ["--out", str(tmp_path / "market.toml")]
    assert "exists" in failed(str(tmp_path / "log.csv"), *out)
    assert "exists" in failed(*out)
    assert (tmp_path / "market.toml").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.csv", "market.toml"]


def test_what_cannot_be_guessed_is_said_and_nothing_is_written(columns: Columns, tmp_path: Path) -> None:
    file, out = tmp_path / "log.csv", ["--out", str(tmp_path / "market.toml")]
    columns["Feeling"] = columns.pop("clicked")
    columns["last"] = list(range(ROWS))
    file.write_text(written(columns), encoding="utf-8")
    assert "--label" in failed(str(file), *out)
    assert "'nothing'" in failed(str(file), *out, "--label", "nothing")
    file.write_text("")
    assert "nothing" in failed(str(file), *out)
    file.write_text("a,b\n")
    assert "rows" in failed(str(file), *out)
    assert "no such file" in failed(str(tmp_path / "other.csv"), *out)
    assert [p.name for p in tmp_path.iterdir()] == ["log.csv"]


def test_without_data_there_is_a_market_to_begin_with(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["init", "--out", str(tmp_path / "market.toml"), "--name", "corner", "--currency", "EUR"])
    assert done.exit_code == 0, done.output
    market = load_market(tmp_path / "market.toml")
    assert (market.name, market.currency, len(market.offers)) == ("corner", "EUR", 2)
    assert market.conversion_task is not None


def test_without_a_terminal_nothing_is_asked(columns: Columns, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(written(columns), encoding="utf-8")
    command = [sys.executable, "-m", "offerrank", "init", "log.csv"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as asked:
        said, _ = asked.communicate(timeout=120)  # its standard input stays open, and says nothing
    assert asked.returncode == 0
    assert "next:" in said
    assert tomli.loads((tmp_path / "market.toml").read_text())["name"] == "log"


def test_with_a_terminal_enter_takes_a_guess_and_an_answer_its_place(columns: Columns, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(written(columns), encoding="utf-8")
    ours, theirs = pty.openpty()
    os.write(ours, b"\n\n\ncity, gains\n")  # label, time, offer, and what is known only afterwards
    command = [sys.executable, "-m", "offerrank", "init", "log.csv"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs) as asked:
        os.close(theirs)
        said = b""
        with suppress(OSError):  # which is how a terminal whose other side is closed ends
            while more := os.read(ours, 65_536):
                said += more
        assert asked.wait(120) == 0, said.decode()
    os.close(ours)
    assert b"Which column tells offers apart" in said
    names = {f.name for f in load_market(tmp_path / "market.toml").features}
    assert {"age", "offer_id"} <= names
    assert not names & {"city", "gains"}
