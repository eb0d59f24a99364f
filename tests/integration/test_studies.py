"""A study at a tenth of its size: what it finds is far larger than the noise, or it is not asserted here."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
Metrics = dict[str, dict[str, float]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str, int], Metrics]:
    """Runs one study with one seed through its command line; model -> metrics."""

    def study(name: str, pages: int) -> Metrics:
        out = tmp_path / "scores.json"
        options = ["--only", name, "--seeds", "1", "--pages", str(pages), "--json", str(out)]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.studies", *options],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert done.returncode == 0, done.stderr
        rows: list[dict[str, Any]] = json.loads(out.read_text(encoding="utf-8"))
        assert all(row["model"] in done.stdout for row in rows)
        return {row["model"]: row["metrics"] for row in rows}

    return study


def test_taking_not_yet_for_no_loses_conversions_that_the_weights_keep(run: Callable[[str, int], Metrics]) -> None:
    found = run("delay", 100)
    # Of conversions with a median mean delay of two hours, an hour's end has seen about one in five.
    assert found["not yet = no"]["PCOC, next hour"] < 0.6
    assert found["ES-DFM"]["PCOC, next hour"] > 0.7
    assert found["ES-DFM"]["log loss, next hour"] < found["not yet = no"]["log loss, next hour"]
