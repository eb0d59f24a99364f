"""A study at a tenth of its size: what it finds is far larger than the noise, or it is not asserted here."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
Metrics = dict[str, dict[str, float]]


Told = tuple[list[dict[str, Any]], str]


@pytest.fixture
def tell(tmp_path: Path) -> Callable[..., Told]:
    """Runs one study with one seed through its command line; the rows of its JSON, and what it prints."""

    def study(name: str, *options: str) -> Told:
        out = tmp_path / "scores.json"
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.studies", "--only", name, "--seeds", "1", "--json", str(out), *options],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(out.read_text(encoding="utf-8")), done.stdout

    return study


@pytest.fixture
def run(tell: Callable[..., Told]) -> Callable[[str, int], Metrics]:
    """Model -> metrics."""

    def study(name: str, pages: int) -> Metrics:
        rows, told = tell(name, "--pages", str(pages))
        assert all(row["model"] in told for row in rows)
        return {row["model"]: row["metrics"] for row in rows}

    return study


def test_taking_not_yet_for_no_loses_conversions_that_the_weights_keep(run: Callable[[str, int], Metrics]) -> None:
    found = run("delay", 100)
    # Of conversions with a median mean delay of two hours, an hour's end has seen about one in five.
    assert found["not yet = no"]["PCOC, next hour"] < 0.6
    assert found["ES-DFM"]["PCOC, next hour"] > 0.7
    assert found["ES-DFM"]["log loss, next hour"] < found["not yet = no"]["log loss, next hour"]


def test_a_day_of_the_loop_gets_over_an_hour_whose_clicks_are_lost_without_a_hand(tell: Callable[..., Told]) -> None:
    """No traffic from 13 to 14, what is shown from 15 to 16 archived an hour late, and no click reported from 17 to 18."""
    rows, told = tell("month", "--days", "1", "--pages", "60")
    by_loop = {row["loop"]: row for row in rows}
    assert list(by_loop) == ["hourly turns", "daily full", "never again"]
    keys = ["study", "seed", "day", "loop", "log_loss", "pcoc", "released", "refused", "seconds"]
    assert [list(row) for row in rows] == [keys] * 3
    loop = by_loop["hourly turns"]
    assert loop["released"] >= 5
    assert "day 0, hour 17: refused: 0 positives in " in told
    # Once what follows is believed: at once, or after one more hour.
    assert re.search(r"day 0, hour 1[89]: incremental, left out: 0 positives in ", told)
    # A model that had learned that nobody clicks would promise far too little for the rest of the day.
    assert 0.7 < loop["pcoc"] < 1.4
    assert loop["log_loss"] < by_loop["never again"]["log_loss"] + 0.01
