"""`offerrank catalogue`, as typed."""

import json
from pathlib import Path

import pytest
from known_catalogue import GOLDEN
from typer.testing import CliRunner

from features.market import load_market
from offerrank.cli import app


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OFFERRANK_MARKET", str(GOLDEN))
    monkeypatch.setenv("OFFERRANK_CATALOGUE", f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    return tmp_path


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["catalogue", *arguments])
    assert done.exit_code == code, done.output
    return done.output


def test_what_was_imported_is_exported_changed_taken_out_and_had_back(folder: Path) -> None:
    assert run("import", str(GOLDEN), "--by", "ann", "--why", "the beginning") == "catalogue 1: 14 changed\n"
    assert run("import", str(GOLDEN)) == "catalogue 1: 0 changed\n"
    (folder / "c.csv").write_text("id,advertiser,bid_kind,bid_micros\nhouse,house,cpm,7000000\n")
    assert run("import", str(folder / "c.csv"), "--by", "bob", "--expect", "1") == "catalogue 2: 1 changed\n"
    assert run("log", "--version", "2") == "campaign house: bid_micros 6000000 -> 7000000\n"
    assert run("remove", "--campaign", "old-sale", "--by", "bob") == "catalogue 3: 2 changed\n"
    assert "offer omega-coat: taken out" in run("log", "--version", "3")
    assert [(c["version"], c["by"], c["why"]) for c in map(json.loads, run("log", "--json").splitlines())] == [
        *((3, "bob", ""), (2, "bob", "import of c.csv"), (1, "ann", "the beginning"))
    ]
    assert "1  " in run("log").splitlines()[-1]
    assert "the beginning" in run("log").splitlines()[-1]
    assert len(run("at", "1").splitlines()) == 14
    assert len(run("at", "3").splitlines()) == 12
    run("export", str(folder / "first.toml"), "--at", "1")
    assert run("import", str(folder / "first.toml"), "--replace") == "catalogue 4: 3 changed\n"
    assert run("at", "4") == run("at", "1")
    (folder / "few.jsonl").write_text("".join(line + "\n" for line in run("at", "1").splitlines() if "house" in line))
    assert run("import", str(folder / "few.jsonl"), "--replace") == "catalogue 5: 12 changed\n"


def test_a_training_is_given_a_market_file_that_lists_what_is_sold(folder: Path) -> None:
    run("import", str(GOLDEN))
    run("remove", "--campaign", "old-sale")
    run("export", str(folder / "now.toml"), "--whole")
    now, file = load_market(folder / "now.toml"), load_market(GOLDEN)
    assert {o.id for o in file.offers} - {o.id for o in now.offers} == {"omega-coat"}
    assert now.selling((), ()) == file.selling((), ())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["log", "--catalogue", "mysql://me:secret@host/x"],
            "--catalogue: expected sqlite:///PATH or postgresql://USER@HOST/DATABASE",
        ),
        (["at", "9"], "there is no catalogue yet; `offerrank catalogue import` makes one"),
        (["remove", "--offer", "nothing"], "offer: there is no 'nothing' in the catalogue"),
        (["import", "nowhere.csv"], "nowhere.csv: cannot be read: No such file or directory"),
        (["import", str(GOLDEN), "--expect", "4"], "catalogue: expected version 4, it is 0 by now"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(folder: Path, arguments: list[str], said: str) -> None:
    output = run(*arguments, code=2)
    assert said in output
    assert output.count("\n") == 1
    assert "secret" not in output
    assert not list(folder.glob("catalogue.sqlite")) or "--expect" in arguments
