"""Redis loses data, processes are killed, clicks come while nobody is there: what is charged twice, and what is lost."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from benchmarks.adversary.market import Spec, market_toml
from benchmarks.adversary.row import Row
from benchmarks.adversary.running import Running, offers, running, seen_and_clicked
from domain.clock import budget_day
from features.log_archive import EVENTS, read_log
from features.log_schema import event_schema

BUDGET_MICROS = 10_000_000


def cases(folder: Path, *, short: bool) -> Iterator[Row]:
    """Each on a market of its own, since each destroys it."""
    campaigns = [
        Spec("prey", 500_000, budget_micros=BUDGET_MICROS),
        *(Spec(f"rich-{i}", 450_000 - i) for i in range(3)),
    ]
    text = market_toml(campaigns)
    for name, lose in (("an empty Redis", _empty), ("a Redis of some time ago", _older), ("a budget that was deleted", _deleted)):
        with running(folder / name.replace(" ", "-"), text) as case:
            yield _after_a_loss(case, name, lose)
    if not short:
        with running(folder / "killed", text) as case:
            yield _clicks_while_redis_is_away(case)


def _sell_half(case: Running) -> list[str]:
    """Clicks for about half of the budget, where pacing lets it; the tokens that were charged, all archived."""
    tokens, charged = [], 0
    for _ in range(60):
        if charged >= BUDGET_MICROS // 2:
            break
        for offer in (o for o in offers(case.page()) if o["campaign_id"] == "prey"):
            (_, click) = case.report(*seen_and_clicked(offer["token"]))
            charged += click["charged_micros"]
            tokens.append(offer["token"])
    case.wait(lambda: _archived_micros(case) >= charged, "the archive has the charges")
    return tokens


def _archived_micros(case: Running) -> int:
    events = read_log(case.stack.plan.log_dir, EVENTS, event_schema()).to_pylist()
    return sum(e["charged_micros"] for e in events)


def _empty(case: Running, _: Path | None) -> None:
    _drop_data(case, None)


def _older(case: Running, copy: Path | None) -> None:
    _drop_data(case, copy)


def _drop_data(case: Running, copy: Path | None) -> None:
    """Stops the server's child for good measure while its files are exchanged."""
    pid = case.supervisor.pids()["redis"]
    os.kill(pid, signal.SIGSTOP)
    for path in case.stack.redis.directory.glob("appendonly*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if copy is not None:
        for path in copy.glob("appendonly*"):
            target = case.stack.redis.directory / path.name
            shutil.copytree(path, target) if path.is_dir() else shutil.copy2(path, target)
    os.kill(pid, signal.SIGKILL)


def _deleted(case: Running, _: Path | None) -> None:
    for name in case.raw.scan_iter(match="or:{*}:budget:prey:*"):
        case.raw.delete(name)


def _after_a_loss(case: Running, name: str, lose: Any) -> Row:
    copy = case.stack.plan.run_dir / "copy"
    shutil.copytree(case.stack.redis.directory, copy)
    tokens = _sell_half(case)
    before = _archived_micros(case)
    lose(case, copy)
    recovery_s = case.wait(lambda: case.whole() and _is_open(case), "budgeted offers are sold again")
    again = [case.report({"type": "click", "token": t}) for t in tokens]
    doubled = sum(1 for results in again for r in results if r["charged_micros"])
    for _ in range(60):
        for offer in (o for o in offers(case.page()) if o["campaign_id"] == "prey"):
            case.report(*seen_and_clicked(offer["token"]))
    time.sleep(2.5)
    charged = _archived_micros(case)
    return Row(
        name,
        ok=charged <= BUDGET_MICROS and doubled == 0 and recovery_s <= 5 and charged >= before,
        budget_micros=BUDGET_MICROS,
        charged_micros=charged,
        doubled=doubled,
        recovery_s=recovery_s,
    )


def _is_open(case: Running) -> bool:
    """Whether the budget of today is one that sells."""
    today = budget_day(case.now_ms(), case.stack.market.policy.day_length_s)
    return case.raw.hexists(case.keys.budget("prey", today), "limit")


def _clicks_while_redis_is_away(case: Running) -> Row:
    """100 clicks are answered with 302 while Redis is stopped, then the gateway is killed, then all comes back."""
    shown = [o for _ in range(34) for o in offers(case.page())][:100]
    case.report(*({"type": "impression", "token": o["token"]} for o in shown))
    with case.frozen("redis"):
        with httpx.Client(timeout=10) as http:
            answered = [o["impression_id"] for o in shown if http.get(o["click_url"]).status_code == 302]
        os.kill(case.supervisor.pids()["gateway"], signal.SIGKILL)
    recovery_s = case.wait(case.whole, "whole decisions after the kill")

    def clicked() -> set[str]:
        events = read_log(case.stack.plan.log_dir, EVENTS, event_schema()).to_pylist()
        return {e["impression_id"] for e in events if e["type"] == "click"}

    deadline = time.monotonic() + 20
    while set(answered) - clicked() and time.monotonic() < deadline:
        time.sleep(0.5)
    lost = len(set(answered) - clicked())
    return Row(
        "100 clicks while Redis is away, then kill -9",
        ok=lost == 0 and len(answered) == len(shown),
        sellable=len(shown),
        sold=len(answered),
        lost=lost,
        recovery_s=recovery_s,
    )
