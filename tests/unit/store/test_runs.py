"""What is kept of every training, and read without TensorFlow."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from store.runs import KEPT_MS, SILENT_MS, Run, Step, recent_runs, run_of, runs_path, write_run
from store.sqlite import FileDamaged, FileUnavailable

BEGAN = 1_790_000_000_000
RUN = Run("a", "full", "shop", "/log", BEGAN, heard_ms=BEGAN)
STEPS = (Step("join", BEGAN, 1.5, rows_out=900, peak_bytes=10), Step("Trainer", BEGAN + 2000, 40.0, True, 900))


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = replace(RUN, outcome="refused", why="AUC", release=7, details={"rows": {"train": 9}}, steps=STEPS, ended_ms=BEGAN + 9)
    write_run(tmp_path, run)
    assert recent_runs(tmp_path) == [run]
    assert run_of(tmp_path, 7) == run
    assert run_of(tmp_path, 8) is None


def test_a_run_is_there_while_it_goes_on_and_each_writing_replaces_the_last(tmp_path: Path) -> None:
    write_run(tmp_path, RUN)
    assert [run.outcome for run in recent_runs(tmp_path)] == [None]
    write_run(tmp_path, replace(RUN, steps=STEPS[:1]))
    write_run(tmp_path, replace(RUN, steps=STEPS))
    assert [step.name for step in recent_runs(tmp_path)[0].steps] == ["join", "Trainer"]


def test_one_that_nothing_was_heard_of_for_six_hours_was_killed() -> None:
    assert RUN.state(BEGAN + SILENT_MS - 1) == "running"
    assert RUN.state(BEGAN + SILENT_MS) == "killed"
    assert replace(RUN, outcome="stopped").state(BEGAN + SILENT_MS) == "stopped"


def test_the_newest_come_first_and_older_ones_page_by_page(tmp_path: Path) -> None:
    for n in range(5):
        write_run(tmp_path, replace(RUN, id=str(n), began_ms=BEGAN + n, heard_ms=BEGAN + n))
    assert [run.id for run in recent_runs(tmp_path, limit=2)] == ["4", "3"]
    assert [run.id for run in recent_runs(tmp_path, limit=2, before_ms=BEGAN + 3)] == ["2", "1"]


def test_runs_are_kept_for_400_days(tmp_path: Path) -> None:
    write_run(tmp_path, replace(RUN, steps=STEPS))
    later = BEGAN + KEPT_MS
    write_run(tmp_path, replace(RUN, id="b", began_ms=later, heard_ms=later))
    assert len(recent_runs(tmp_path)) == 2
    write_run(tmp_path, replace(RUN, id="b", began_ms=later, heard_ms=later + 1))
    assert [run.id for run in recent_runs(tmp_path)] == ["b"]
    with sqlite3.connect(runs_path(tmp_path)) as db:
        assert db.execute("SELECT count(*) FROM step").fetchone() == (0,)
    db.close()


def test_two_write_beside_each_other(tmp_path: Path) -> None:
    for run in (RUN, replace(RUN, id="b"), replace(RUN, steps=STEPS), replace(RUN, id="b", steps=STEPS[:1])):
        write_run(tmp_path, run)
    assert {run.id: len(run.steps) for run in recent_runs(tmp_path)} == {"a": 2, "b": 1}


def test_no_file_a_locked_one_and_one_that_is_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileUnavailable, match=r"there is none; `offerrank train`"):
        recent_runs(tmp_path)
    write_run(tmp_path, RUN)
    db = sqlite3.connect(runs_path(tmp_path), isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    with pytest.raises(FileUnavailable, match="another process keeps it locked"):
        write_run(tmp_path, RUN)
    assert len(recent_runs(tmp_path)) == 1
    db.execute("ROLLBACK")
    db.close()
    runs_path(tmp_path).write_bytes(b"no database" * 1000)
    with pytest.raises(FileDamaged, match="it is no database"):
        recent_runs(tmp_path)
