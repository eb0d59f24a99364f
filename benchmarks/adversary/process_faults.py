"""What may befall a process while pages are sold, each done to a real one, and how soon all was well again, in seconds."""

import os
import signal
import time
from pathlib import Path

import httpx
import redis

from benchmarks.adversary.fraud import BROWSER
from benchmarks.adversary.running import Running, offers
from benchmarks.adversary.shoppers import Shoppers
from features.log_archive import EVENTS, read_log
from features.log_schema import event_schema
from serving.budget_snapshot import Snapshot

FROZEN_S = 3.0


def frozen_redis(case: Running, shoppers: Shoppers) -> float:
    """Shoppers go on clicking what they see, by its URL: nobody waits, and every click counts."""
    shown = _seen(case, 10)
    with case.frozen("redis"):
        began = time.monotonic()
        _click(shown, shoppers)
        time.sleep(max(FROZEN_S - (time.monotonic() - began), 0))
    return case.wait(case.whole, "whole decisions after the freeze")


def _seen(case: Running, pages: int) -> list[dict[str, str]]:
    """Offers whose impressions are reported already."""
    shown = [o for _ in range(pages) for o in offers(case.page())]
    case.report(*({"type": "impression", "token": o["token"]} for o in shown))
    return shown


def _click(shown: list[dict[str, str]], shoppers: Shoppers) -> None:
    with httpx.Client(timeout=10, headers=BROWSER) as http:
        shoppers.clicked |= {o["impression_id"] for o in shown if http.get(o["click_url"]).status_code == 302}


def killed_gateway(case: Running, _: Shoppers) -> float:
    """Its place is taken by the supervisor, after half a second."""
    kill(case, "gateway")
    return case.wait(case.whole, "whole decisions after the kill")


def ended_gateway(case: Running, shoppers: Shoppers) -> float:
    """SIGTERM, while clicks wait in the journal."""
    shown = _seen(case, 34)
    pid = case.supervisor.pids()["gateway"]
    with case.frozen("redis"):
        _click(shown, shoppers)
        os.kill(pid, signal.SIGTERM)
        case.wait(lambda: case.supervisor.pids().get("gateway") != pid, "the end of the gateway")
    return case.wait(case.whole, "whole decisions of the next gateway")


def killed_archiver(case: Running, _: Shoppers) -> float:
    """At a moment when a part is half written. Nobody waits for it: what counts is how soon the next one has caught up."""
    log_dir, pid = case.stack.plan.log_dir, case.supervisor.pids()["archiver"]
    case.wait(lambda: _stopped_amid_a_flush(log_dir, pid), "a flush")
    left = set(log_dir.glob("*/*/.*.tmp"))
    os.kill(pid, signal.SIGKILL)
    began, lock = _events(case), log_dir / "archiver.lock"
    case.wait(lambda: f'"pid": {pid}}}' not in lock.read_text(), "the next archiver")
    return case.wait(lambda: not any(p.exists() for p in left) and _archived(case) >= began, "the archive catches up")


def _stopped_amid_a_flush(log_dir: Path, pid: int) -> bool:
    """Stops the process if it is writing a part, and lets it go on if the part was ready first."""
    if not any(log_dir.glob("*/*/.*.tmp")):
        return False
    os.kill(pid, signal.SIGSTOP)
    time.sleep(0.01)
    if any(log_dir.glob("*/*/.*.tmp")):
        return True
    os.kill(pid, signal.SIGCONT)
    return False


def _events(case: Running) -> int:
    return sum(case.raw.xlen(name) for name in case.raw.scan_iter(match="or:*:events"))


def _archived(case: Running) -> int:
    return len(read_log(case.stack.plan.log_dir, EVENTS, event_schema()))


def killed_pacer(case: Running, _: Shoppers) -> float:
    """Its lock is held until it expires; until another publishes, gateways sell by what they know and by what holds find."""
    killed_ms = case.now_ms()
    kill(case, "pacer")
    with redis.Redis.from_url(case.stack.redis.url) as client:
        name = case.keys.snapshot
        return case.wait(lambda: Snapshot.parse(client.get(name)).written_ms > killed_ms, "the next pacer publishes")


def kill(case: Running, name: str) -> None:
    """Returns once it is dead."""
    pid = case.supervisor.pids()[name]
    os.kill(pid, signal.SIGKILL)
    case.wait(lambda: case.supervisor.pids().get(name) != pid, f"the end of the {name}")
