"""Reports of refused models stay beside the releases."""

import logging
from pathlib import Path

import pytest

from pipelines.refused_reports import FOLDER, KEPT, keep_report


def test_the_newest_are_kept(tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    for run in range(KEPT + 2):
        (tmp_path / "report.html").write_text(f"run {run}")
        keep_report(tmp_path / "releases", f"{run:03}", tmp_path / "report.html")
    kept = sorted((tmp_path / "releases" / FOLDER).iterdir())
    assert [path.name for path in kept] == [f"{run:03}.html" for run in range(2, KEPT + 2)]
    assert kept[-1].read_text() == f"run {KEPT + 1}"


def test_before_the_first_release_no_folder_is_made_for_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "report.html").write_text("refused")
    with caplog.at_level(logging.WARNING):
        keep_report(tmp_path / "releases", "1", tmp_path / "report.html")
    assert not (tmp_path / "releases").exists()
    assert caplog.records == []
