"""`offerrank train` on a log with eight rows to judge by: it says so, releases nothing, and is waiting, not refused."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from store.runs import recent_runs

MARKET = """
name = "few-rows"
currency = "EUR"
placements = [{ name = "main", count = 1 }]
features = [
  { name = "city", source = "context", default = "", vocabulary = ["Ulm", "Bonn"] },
  { name = "brand", source = "offer", default = "", vocabulary = ["tea", "jam"] },
]
tasks = [{ name = "ctr", label = "click" }]
campaigns = [{ id = "c", advertiser = "a", bid_kind = "cpc", bid_micros = 1 }]
offers = [{ id = "o", campaign = "c", title = "O", landing_url = "https://example.com" }]
policy = { id = "p", priors = { ctr = 0.1 } }
model = { epochs = 1, tower_epochs = 1 }
[training]
min_rows = 40
split = { kind = "time", by = "time_ms", valid_fraction = 0.2, eval_fraction = 0.2 }
"""


def test_a_model_that_eight_rows_judge_is_not_released_and_says_so(tmp_path: Path) -> None:
    market, log, out = tmp_path / "market.toml", tmp_path / "log.parquet", tmp_path / "releases"
    market.write_text(MARKET)
    n = np.arange(40)
    rows = {"city": np.where(n % 2, "Ulm", "Bonn"), "brand": np.where(n % 3, "tea", "jam"), "click": n % 2, "time_ms": n * 1000}
    pq.write_table(pa.table(rows), log)
    out.mkdir()
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "offerrank", "train", "--market", str(market), "--data", str(log), "--out", str(out)]
    environment = os.environ | {"TMPDIR": str(tmp_path / "tmp")}
    run = subprocess.run(command, capture_output=True, text=True, timeout=560, env=environment)
    assert run.returncode == 3, run.stderr[-3000:]
    said = " ".join(run.stderr.split())
    assert "the model was not released: ctr cannot be judged: 4 positives in 8 rows, min_positives asks for 100; report: " in said
    assert "Traceback" not in said
    assert [path for path in out.iterdir() if path.is_dir()] == []
    (recorded,) = recent_runs(out)
    assert (recorded.outcome, recorded.release) == ("waiting", None)
    assert "cannot be judged" in recorded.why
    report = Path(said.rsplit("report: ", 1)[1].split()[0])
    assert "<b>Not released:</b> ctr cannot be judged" in report.read_text()
