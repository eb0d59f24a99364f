"""`offerrank summaries` with workers of Beam that are processes of their own: whatever goes between them arrives."""

import os
import subprocess
import sys

import orjson
from log_entries import MARKET_TOML, decision, slot
from watched_archive import BEGIN_MS, HOUR_MS, Known, WatchedArchive


def test_workers_on_other_machines_know_what_the_watch_knows(tmp_path):
    archive = WatchedArchive(tmp_path / "log")
    (tmp_path / "market.toml").write_text(MARKET_TOML)
    for hour in range(3):
        for i in range(20):
            at_ms = BEGIN_MS + hour * HOUR_MS + i
            archive.decides(decision(f"{hour}-{i}", at_ms, slot(f"{hour}-{i}"), release="7"))
            archive.happens("impression", f"{hour}-{i}", at_ms + 900)
        archive.write((hour + 1) * HOUR_MS)
    workers = [
        "--beam-runner",
        "direct",
        "--beam-arg=--direct_running_mode=multi_processing",
        "--beam-arg=--direct_num_workers=2",
    ]
    folders = ["--log", "log", "--out", "beam", "--work-dir", "work"]
    done = subprocess.run(
        [sys.executable, "-m", "offerrank", "summaries", "--market", "market.toml", *folders, *workers, "--json"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert orjson.loads(done.stdout) == {"parts": 6, "hours": 3, "skipped": {}}
    assert Known(tmp_path / "beam").everything() == archive.watched().everything()
    assert list((tmp_path / "work").iterdir()) == []
