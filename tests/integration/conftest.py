"""The order of the files; and a release trained on the coupon data, of two of its networks, once for all tests that want one."""

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

LONGEST = (
    *("test_demo", "test_retraining", "test_training_coupons", "test_training_two_tasks", "test_studies", "test_delayed_labels"),
    *("test_adversary", "test_parity", "test_cli_serve", "test_orchestration", "test_page_views", "test_gateway_faults"),
    *("test_simulation_run", "test_gates", "test_retraining_turns", "test_training_faults", "test_model_server_process"),
    *("test_bench_models", "test_crashes", "test_gateway_money", "test_watch_process", "test_recalibrate", "test_page_browser"),
    *("test_archiver_process", "test_edge", "test_pacer_process", "test_losses", "test_skew_unchecked", "test_new_rows"),
)
"""Files by the time they take, from minutes down to 20 s, but trainings before others: beside each other they hold up no page."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: of two workers neither is then left alone with one at the end."""
    place = {name: i for i, name in enumerate(LONGEST)}
    assert all((Path(__file__).parent / f"{name}.py").exists() for name in place)
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


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
