"""`make adversary` in its short form: attacks, floods, losses and faults against real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("group", ["end-of-budget", "conversions", "drain", "fraud", "floods", "losses", "faults"])
def test_every_case_is_as_it_should_be(group: str, tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.adversary", "--short", "--only", group, "--json", str(out)],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=550,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(out.read_text(encoding="utf-8"))
    assert rows
    assert [r["case"] for r in rows if not r["ok"]] == []
    assert all((r["charged_micros"] or 0) <= r["budget_micros"] for r in rows if r["budget_micros"] is not None)
    assert sum(r["lost"] or 0 for r in rows) == sum(r["doubled"] or 0 for r in rows) == 0
