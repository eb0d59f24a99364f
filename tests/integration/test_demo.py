"""The closed loop in a few minutes: traffic, training, a model swap under load, and books that balance."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import psutil
import pytest

from models.release import read_manifest

REPOSITORY = Path(__file__).parents[2]


def start(tmp_path: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "offerrank", "demo", "--dir", str(tmp_path), *arguments]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def quick_market(tmp_path: Path) -> Path:
    """The demo's market with one budget so small that a handful of clicks would empty it."""
    text = (REPOSITORY / "examples" / "confirmation" / "market.toml").read_text(encoding="utf-8")
    text = text.replace("daily_budget_micros = 120_000_000", "daily_budget_micros = 1_000_000")
    path = tmp_path / "market.toml"
    path.write_text(text, encoding="utf-8")
    return path


def left_behind(run: Path) -> list[str]:
    """Command lines of processes that mention the run's folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(run) in line and "pytest" not in line:
            found.append(line)
    return found


@pytest.mark.timeout(900)
def test_the_loop_closes_and_the_model_pays(tmp_path: Path) -> None:
    summary_file = tmp_path / "summary.json"
    arguments = (
        "--market",
        str(quick_market(tmp_path)),
        "--json",
        str(summary_file),
        "--train-after",
        "45",
        "--retrain-every",
        "30",
    )
    with start(tmp_path, *arguments) as demo:
        assert demo.stdout is not None
        said: list[str] = []
        swaps = 0
        for line in demo.stdout:
            said.append(line)
            swaps += "ranks now" in line
            # Once for the model, and once for what an hour of its pages has taught it; then Ctrl-C.
            if swaps == 2:
                demo.send_signal(signal.SIGINT)
                swaps = 0
            assert "brought no release" not in line, "".join(said)
        assert demo.wait() == 0, "".join(said)
    told = "".join(said)
    assert "serving decisions at http://127.0.0.1:" in told
    assert '"probability"' in told  # a real answer
    assert "the page is at http://127.0.0.1:" in told
    assert "a store to shop in opens at http://127.0.0.1:" in told
    assert "equal to the micro" in told

    summary = orjson.loads(summary_file.read_bytes())
    assert set(summary) >= {
        *("requests", "fill_rate", "clicks", "conversions", "revenue_micros", "overspent_campaigns", "before", "after"),
        "best_possible",
    }
    before, after, best = summary["before"], summary["after"], summary["best_possible"]
    assert summary["requests"] == before["requests"] + after["requests"] > 1000
    assert summary["fill_rate"] > 0.95
    assert summary["overspent_campaigns"] == 0
    assert summary["reconciled"] is True
    assert summary["releases"][0] == "cold-start"
    assert len(summary["releases"]) == 3
    first, second = (read_manifest(Path(summary["run_dir"]) / "releases" / name) for name in summary["releases"][1:])
    assert (first.warm_from, first.progressive) == (None, False)
    assert (second.warm_from, second.progressive) == (first.version, True)
    # Both tell the auction how far down a page is looked, by device.
    for release in (first, second):
        assert release.examination is not None
        assert (len(release.examination.seen), list(release.examination.by)) == (3, ["device"])
    # By the truth, which has hardly any noise: pages ranked by the model are worth much more, and no more than the best.
    # Revenue is what the auction maximises; a higher CTR may come of it, or not.
    assert after["expected_ctr"] <= best["ctr"]
    assert before["expected_revenue_per_request_micros"] * 1.5 < after["expected_revenue_per_request_micros"]
    assert after["expected_revenue_per_request_micros"] <= best["revenue_per_request_micros"]
    # And as it happened: conversions are rare, but the difference is large.
    assert after["revenue_per_request_micros"] > before["revenue_per_request_micros"]
    # The small budget was spent, and on no day a micro more than it.
    small = [d for d in summary["campaigns"] if d["campaign"] == "pixelforge-pass"]
    assert all(d["spent_micros"] <= 1_000_000 for d in small)
    assert max(d["spent_micros"] for d in small) > 300_000
    assert left_behind(Path(summary["run_dir"])) == []


def test_a_demo_ends_by_itself(tmp_path: Path) -> None:
    with start(tmp_path, "--minutes", "0.25", "--rate", "10", "--json", str(tmp_path / "summary.json")) as demo:
        told, _ = demo.communicate(timeout=120)
    assert demo.returncode == 0, told
    summary = orjson.loads((tmp_path / "summary.json").read_bytes())
    assert summary["requests"] > 50
    assert summary["after"]["requests"] == 0
    assert "Spend against budget" in told
    assert left_behind(Path(summary["run_dir"])) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind_however_the_demo_ends(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path, "--rate", "10") as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "first decision" in line:
                break
        family = psutil.Process(demo.pid).children(recursive=True)
        assert len(family) >= 6  # Redis, gateway, pacer, archiver, page, model server, guardian
        demo.send_signal(number)
        demo.stdout.read()
        demo.wait(60)
    assert demo.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family):
        time.sleep(0.2)
    assert [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
