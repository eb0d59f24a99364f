"""`make bench-models` from published file to JSON rows, our network included, on made-up coupons."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pandas as pd

from benchmarks.models.datasets import DATA_SETS
from benchmarks.models.prepare import REPOSITORY
from features.market import load_market

ROWS = 400
KEYS = {"data", "model", "task", "members", "settings", "auc", "auc_low", "auc_high", "pr_auc", "log_loss", "pcoc"}
KEYS |= {"seed", "fit_seconds"}


def test_models_and_baselines_are_scored_in_one_run(tmp_path: Path) -> None:
    market = load_market(DATA_SETS["coupon_vehicle"].market_file)
    rng = np.random.default_rng(1)
    known = {f.log_column: f.vocabulary if isinstance(f.vocabulary, tuple) else ("a", "b") for f in market.features}
    rows = pd.DataFrame({column: rng.choice(np.array(values), ROWS) for column, values in known.items()})
    rows["Y"] = (rows["coupon"] == "Coffee House").astype(int)
    (tmp_path / "coupon_vehicle").mkdir()
    rows.to_csv(tmp_path / "coupon_vehicle" / "coupons.csv.gz", index=False)
    chosen = ["--data", "coupon_vehicle", "--model", "popularity,logistic_regression,dcn_v2", "--seeds", "1"]
    settings = {"members": 1, "epochs": 12, "batch_size": 32, "learning_rate": 0.01, "dropout": 0.1}
    quick = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    subprocess.run(
        [sys.executable, "-m", "benchmarks.models", *chosen, *quick, "--source", tmp_path, "--json", tmp_path / "rows.json"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    found = orjson.loads((tmp_path / "rows.json").read_bytes())
    assert [r["model"] for r in found] == ["popularity", "logistic_regression", "dcn_v2"]
    assert all(set(r) == KEYS for r in found)
    # The label is whether the coupon is for a coffee house: nobody should miss that.
    assert [r["auc"] > 0.95 for r in found] == [True, True, True]
