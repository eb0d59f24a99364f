"""What a run tells of itself is kept, and nothing about keeping it can end the run."""

import sqlite3
from pathlib import Path

import pytest

from domain.errors import ContractError, LabelsDoubted, NotBlessed, NothingToLearn, Unjudged
from pipelines.progress import listening
from pipelines.recording import Recorder, recorded, step
from store.runs import recent_runs, runs_path


def steps_of(record: Recorder) -> list[tuple[str, bool, int | None, int | None]]:
    return [(s.name, s.failed, s.rows_in, s.rows_out) for s in record.run.steps]


def test_each_step_is_written_as_it_ends_with_rows_and_memory(tmp_path: Path) -> None:
    with recorded(tmp_path, "training", "shop", Path("/rows.csv")) as record, listening(record):
        record.rows = {"read": (None, 900), "Trainer": (800, None)}.__getitem__
        seconds: dict[str, float] = {}
        with step("read", 1, 2, seconds):
            (run,) = recent_runs(tmp_path)
            assert (run.outcome, run.steps) == (None, ())
        with step("Trainer", 2, 2, seconds):
            assert [s.name for s in recent_runs(tmp_path)[0].steps] == ["read"]
        record.know(release=5)
    (run,) = recent_runs(tmp_path)
    assert (run.outcome, run.release, run.data, seconds.keys()) == ("released", 5, "/rows.csv", {"read", "Trainer"})
    assert steps_of(record) == [("read", False, None, 900), ("Trainer", False, 800, None)]
    assert all(s.peak_bytes and s.peak_bytes > 10_000_000 for s in run.steps)


@pytest.mark.parametrize(
    ("error", "outcome", "why"),
    [
        (NotBlessed(("AUC of ctr is 0.5",), Path("/r.html")), "refused", "AUC of ctr is 0.5"),
        (LabelsDoubted(("ctr: 0 positives in 400 rows",)), "refused", "ctr: 0 positives in 400 rows"),
        (Unjudged(("ctr cannot be judged",), Path("/r.html")), "waiting", "ctr cannot be judged"),
        (NothingToLearn("/log", "rows", "none"), "waiting", "/log"),
        (ContractError("training failed: Trainer"), "failed", "training failed: Trainer"),
        (OSError("No space left on device"), "failed", "No space left"),
        (KeyboardInterrupt(), "stopped", ""),
        (SystemExit(143), "stopped", ""),
    ],
)
def test_whatever_ends_a_run_is_its_outcome_and_the_open_step_has_failed(
    tmp_path: Path, error: BaseException, outcome: str, why: str
) -> None:
    with (
        pytest.raises(type(error)),
        recorded(tmp_path, "full", "shop", Path("/log")) as record,
        listening(record),
        step("Trainer", 1, 1, {}),
    ):
        raise error
    (run,) = recent_runs(tmp_path)
    assert (run.outcome, [(s.name, s.failed) for s in run.steps]) == (outcome, [("Trainer", True)])
    assert why in run.why
    assert run.ended_ms is not None


def test_a_run_that_cannot_be_recorded_goes_on_and_says_so_in_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runs_path(tmp_path).write_bytes(b"no database" * 1000)
    with recorded(tmp_path, "full", "shop", Path("/log")) as record, listening(record), step("join", 1, 1, {}):
        pass
    assert record.run.outcome == "released"
    assert [r.getMessage() for r in caplog.records] == [f"the run is not recorded: {record_error(tmp_path)}"]


def record_error(folder: Path) -> str:
    return f"runs: {runs_path(folder)}: it is no database (file is not a database)"


def test_what_could_not_be_written_in_between_is_written_later(tmp_path: Path) -> None:
    other = None
    with recorded(tmp_path, "full", "shop", Path("/log")) as record, listening(record):
        other = sqlite3.connect(runs_path(tmp_path), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with step("join", 1, 2, {}):
            pass
        other.execute("ROLLBACK")
        other.close()
        with step("read", 2, 2, {}):
            pass
    assert [s.name for s in recent_runs(tmp_path)[0].steps] == ["join", "read"]


def test_no_folder_of_releases_is_made_for_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full"), recorded(tmp_path / "releases", "full", "shop", Path("/log")):
        raise OSError("the disk is full")
    assert list(tmp_path.iterdir()) == []


def test_rows_that_cannot_be_counted_end_nothing(tmp_path: Path) -> None:
    with recorded(tmp_path, "full", "shop", Path("/log")) as record, listening(record):
        record.rows = {}.__getitem__
        with step("read", 1, 1, {}):
            pass
    assert steps_of(record) == [("read", False, None, None)]


def test_the_report_of_a_refused_model_is_kept_by_its_run_and_of_many_the_newest(tmp_path: Path) -> None:
    (report := tmp_path / "report.html").write_text("<p>why</p>")
    releases = tmp_path / "releases"
    (kept := releases / "refused").mkdir(parents=True)
    for number in range(60):
        (kept / f"16000000000{number:02}-1.html").touch()
    with pytest.raises(NotBlessed), recorded(releases, "full", "shop", Path("/log")) as record:
        raise NotBlessed(("AUC of ctr is 0.5",), report)
    assert (kept / f"{record.run.id}.html").read_text() == "<p>why</p>"
    assert len([*kept.iterdir()]) == 50


def test_a_report_that_cannot_be_kept_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "refused").touch()  # where the folder should be
    with pytest.raises(NotBlessed), recorded(tmp_path, "full", "shop", Path("/log")):
        raise NotBlessed(("AUC of ctr is 0.5",), tmp_path / "gone.html")
    assert recent_runs(tmp_path)[0].outcome == "refused"
