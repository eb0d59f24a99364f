"""A release trained on the coupon data, once for all tests that want one: 60 to 90 s."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
COUPON_MARKET = REPOSITORY / "examples" / "coupons" / "market.toml"
COUPONS = REPOSITORY.parent / "shared" / "data" / "coupon_vehicle" / "coupons.csv.gz"


@dataclass(frozen=True)
class TrainedRelease:
    """What `offerrank train --json` left behind; never change the files."""

    market: Path
    releases: Path
    """Holds this release and nothing else."""
    path: Path
    version: int
    result: dict[str, Any]
    """The JSON on standard output."""
    progress: str
    """Standard error."""


@pytest.fixture(scope="session")
def coupon_release(tmp_path_factory: pytest.TempPathFactory) -> TrainedRelease:
    releases = tmp_path_factory.mktemp("coupons") / "releases"
    command = [sys.executable, "-m", "offerrank", "train", "--market", str(COUPON_MARKET), "--data", str(COUPONS)]
    run = subprocess.run([*command, "--out", str(releases), "--json"], capture_output=True, text=True, timeout=560)
    assert run.returncode == 0, run.stderr[-5000:]
    result = json.loads(run.stdout)
    return TrainedRelease(COUPON_MARKET, releases, Path(result["release"]), result["version"], result, run.stderr)
