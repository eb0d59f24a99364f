"""The model server is frozen and killed while pages are sold: nobody waits for it, and it ranks again once it is back."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx

from benchmarks.adversary.outcome import Outcome
from benchmarks.adversary.row import Row
from benchmarks.adversary.running import Running, running
from benchmarks.adversary.shoppers import p50_ms, shopping

VERSION = 1
RECOVERY_S = 5.0
QUIET_S = 2.0
RANKING_MS = 400


def cases(folder: Path, market: str) -> Iterator[Row]:
    """A release that was not trained, on a real model server.

    Args:
      market: whose deadline for ranking is RANKING_MS.
    """
    with running(folder, market) as case:
        plan = case.stack.plan
        command = [sys.executable, "-m", "benchmarks.adversary.constant_release"]
        command += [str(plan.market), str(plan.releases), str(VERSION)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        case.stack.start_model_server()
        case.wait(lambda: _ranks(case), "the release ranks")
        yield _without_ranking(case, "the model server frozen", lambda: _frozen_for(case, 6))
        yield _without_ranking(case, "the model server killed", lambda: _killed(case))


def _ranks(case: Running) -> bool:
    answer = case.page(test=True)
    return bool(answer) and answer["release"] == str(VERSION) and not answer["degraded"]


def _is_available(case: Running) -> bool:
    with suppress(httpx.HTTPError, KeyError):
        status = httpx.get(f"http://127.0.0.1:{case.stack.plan.model_rest_port}/v1/models/ranker", timeout=1).json()
        return any(v["state"] == "AVAILABLE" for v in status["model_version_status"])
    return False


def _without_ranking(case: Running, name: str, fault: Callable[[], None]) -> Row:
    """A fault lasts until the model server answers again; how soon the gateway asks it is the recovery."""
    charged_before = case.charged()
    with shopping(case, 4) as shoppers:
        starts = time.monotonic()
        time.sleep(QUIET_S)
        begins = time.monotonic()
        fault()
        ends = time.monotonic()
        recovery_s = case.wait(lambda: _ranks(case), "the release ranks again")
        ranks = time.monotonic()
        time.sleep(QUIET_S)
    before, during, after = (shoppers.between(*span) for span in ((starts, begins), (begins, ends), (ranks, time.monotonic())))
    was, meanwhile, then = (p50_ms(pages) for pages in (before, during, after))
    outcome = Outcome.of(case, shoppers, shoppers.pages, charged_before)
    ranked = [sum(p.ranked for p in span) / max(len(span), 1) for span in (before, after)]
    nobody_waits = meanwhile <= was + RANKING_MS / 2  # where each would wait for all of it, if nothing stopped them
    return outcome.row(
        name,
        ok=nobody_waits and min(ranked) >= 0.9 and recovery_s <= RECOVERY_S,
        recovery_s=recovery_s,
        said=f"p50 of decisions {was:.0f} ms before, {meanwhile:.0f} for {ends - begins:.0f} s of it, {then:.0f} after",
    )


def _frozen_for(case: Running, seconds: float) -> None:
    with case.frozen("model-server"):
        time.sleep(seconds)


def _killed(case: Running) -> None:
    os.kill(case.supervisor.pids()["model-server"], signal.SIGKILL)
    case.wait(lambda: not _is_available(case), "the end of the model server")
    case.wait(lambda: _is_available(case), "the next model server")
