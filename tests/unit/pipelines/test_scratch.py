"""What stays in TMPDIR of runs that ended well, badly, or not at all."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.scratch import EXPLAINED, HELD, scratch_folder, temporary_files_in


@pytest.fixture
def tmp(tmp_path: Path) -> Iterator[Path]:
    """An empty TMPDIR."""
    with temporary_files_in(tmp_path / "tmp"):
        yield tmp_path / "tmp"


def test_only_files_of_the_kept_names_outlive_a_run(tmp: Path) -> None:
    with scratch_folder("train", {"train.log"}) as folder:
        (folder / "artifacts").mkdir()
        (folder / "artifacts" / "train.log").write_text("not this one")
        for name in ("train.log", "rows.parquet"):
            (folder / name).write_text(name)
    assert [p.name for p in folder.iterdir()] == ["train.log"]
    with scratch_folder("rows") as other:
        (other / "rows.parquet").write_text("")
    assert list(tmp.iterdir()) == [folder]


def test_a_run_that_is_told_to_stop_leaves_nothing(tmp: Path) -> None:
    def run() -> None:
        with scratch_folder("rows") as folder:
            (folder / "rows.parquet").write_text("")
            raise SystemExit(143)

    with pytest.raises(SystemExit):
        run()
    assert list(tmp.iterdir()) == []


def test_what_a_killed_run_left_is_removed_and_what_a_living_one_has_is_not(tmp: Path) -> None:
    with scratch_folder("rows") as living:
        (killed := tmp / "offerrank-train-x").mkdir()
        (killed / HELD).touch()
        (strange := tmp / "offerrank-of-someone-else").mkdir()
        with scratch_folder("train"):
            assert not killed.exists()
            assert living.is_dir()
    assert list(tmp.iterdir()) == [strange]


def test_the_newest_failures_stay_explained_and_the_oldest_make_room(tmp: Path) -> None:
    for age_s in range(EXPLAINED + 3):
        (folder := tmp / f"offerrank-train-{age_s:02}").mkdir()
        (folder / "train.log").write_text("why")
        os.utime(folder, (1_000_000 - age_s,) * 2)
    with scratch_folder("train"):
        pass
    assert sorted(p.name for p in tmp.iterdir()) == [f"offerrank-train-{age_s:02}" for age_s in range(EXPLAINED)]


def test_libraries_and_children_make_their_temporary_files_where_they_are_removed(tmp: Path) -> None:
    def run() -> None:
        with temporary_files_in(tmp / "of a run"):
            tempfile.mkdtemp()
            child = "import tempfile; tempfile.mkdtemp()"
            subprocess.run([sys.executable, "-c", child], check=True)
            assert len(list((tmp / "of a run").iterdir())) == 2
            raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        run()
    assert list(tmp.iterdir()) == []
    assert (tempfile.gettempdir(), os.environ["TMPDIR"]) == (str(tmp), str(tmp))
