"""A release trained on the coupon data, of two of its networks, once for all tests that want one: 60 to 90 s."""

import fcntl
import json
import os
import re
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
    temporary: Path
    """TMPDIR, which was empty before."""


@pytest.fixture(scope="session")
def coupon_release(tmp_path_factory: pytest.TempPathFactory) -> TrainedRelease:
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "coupons"  # shared by all workers
    folder.mkdir(exist_ok=True)
    market, releases, said = folder / "market.toml", folder / "releases", folder / "said.json"
    (temporary := folder / "tmp").mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            text = re.sub(r"members = \d+", "members = 2", COUPON_MARKET.read_text(encoding="utf-8"))
            market.write_text(text, encoding="utf-8")
            command = [sys.executable, "-m", "offerrank", "train", "--market", str(market), "--data", str(COUPONS)]
            command += ["--out", str(releases), "--json"]
            environment = os.environ | {"TMPDIR": str(temporary)}
            run = subprocess.run(command, capture_output=True, text=True, timeout=560, env=environment)
            assert run.returncode == 0, run.stderr[-5000:]
            said.write_text(json.dumps([run.stdout, run.stderr]), encoding="utf-8")
    stdout, progress = json.loads(said.read_text(encoding="utf-8"))
    result = json.loads(stdout)
    return TrainedRelease(market, releases, Path(result["release"]), result["version"], result, progress, temporary)
