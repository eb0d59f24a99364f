"""Processes are killed and frozen while pages are sold: what is lost, doubled or overspent, and how soon all is well again."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import redis

from benchmarks.adversary import ranker_faults
from benchmarks.adversary.fraud import BROWSER
from benchmarks.adversary.market import Spec, market_toml
from benchmarks.adversary.row import Row
from benchmarks.adversary.running import Running, offers, running
from benchmarks.adversary.shoppers import Shoppers, arrived, shopping
from domain.clock import budget_day
from features.log_archive import EVENTS, read_log
from features.log_schema import event_schema
from serving.budget_snapshot import Snapshot

SLOTS = 3
BUDGET_MICROS = 300_000
RECOVERY_S = 5.0
FROZEN_S = 3.0
# Whatever its pacing, the prey bids more than the house and pays at least what the house bids: 38 clicks at most end each of its
# short days, and with a click on every offer there are more.
PREY = Spec("prey", 900_000, budget_micros=BUDGET_MICROS)
HOUSE = [Spec(f"house-{i}", 8000 - 1000 * i) for i in range(SLOTS)]
POLICY = "reserve_ecpm_micros = 500_000\nleast_bid_share = 0.0"
SHORT_DAYS = f"{POLICY}\nday_length_s = 10\nhold_ttl_s = 4\nunseen_hold_ttl_s = 4"

Fault = Callable[[Running, Shoppers], float]
"""Does it, waits until it is over, and says how many seconds later all was well again."""


def cases(folder: Path, *, short: bool) -> Iterator[Row]:
    """One after the other on one running market with short days, then those of the model server and of the market file."""
    often = {"OFFERRANK_ARCHIVE_INTERVAL_S": "0.5"}
    with running(folder / "short-days", market_toml([PREY, *HOUSE], policy=SHORT_DAYS), often) as case:
        yield _under_sale(case, f"Redis frozen for {FROZEN_S:.0f} s", _frozen_redis)
        yield _under_sale(case, "the archiver killed amid a flush", _killed_archiver)
        if not short:
            yield _under_sale(case, "the gateway killed amid clicks", _killed_gateway)
            yield _under_sale(case, "the pacer killed", _killed_pacer)
            yield _under_sale(case, "the gateway ended while Redis is frozen", _ended_gateway)
    if not short:
        yield from ranker_faults.cases(folder / "ranker", market_toml([PREY, *HOUSE], policy=SHORT_DAYS, ranking_ms=400))
        with running(folder / "lowered", market_toml([PREY, *HOUSE], policy=POLICY)) as case:
            yield _lowered_budget(case)


def _under_sale(case: Running, name: str, fault: Fault) -> Row:
    """Sells before, during and after; every acknowledged click must then be in the archive, once."""
    before, spent = case.charged(), _spent(case)
    with shopping(case) as shoppers:
        _sell(case, shoppers)
        began = time.monotonic()
        recovery_s = fault(case, shoppers)
        _sell(case, shoppers)
        case.wait(lambda: _spent(case) > spent, "clicks of the prey")
    pages = shoppers.between(began, time.monotonic())
    lost, doubled = arrived(case, shoppers.clicked)
    budget, charged = case.charged_since(before)
    sellable, sold = SLOTS * len(pages), sum(p.slots for p in pages)
    exact, over = case.reconciled(), case.over_micros()
    well = not lost and not doubled and not over and exact and charged
    return Row(
        name,
        ok=bool(well) and recovery_s <= RECOVERY_S and sold >= 0.99 * sellable,
        budget_micros=budget,
        charged_micros=charged,
        sellable=sellable,
        sold=sold,
        lost=lost,
        doubled=doubled,
        recovery_s=recovery_s,
        said=f"{len(shoppers.clicked)} clicks acknowledged; log and Redis {'equal to the micro' if exact else 'differ'}",
    )


def _sell(case: Running, shoppers: Shoppers) -> None:
    """Lets more clicks be acknowledged than the prey can pay for on one day."""
    enough = len(shoppers.clicked) + 150
    case.wait(lambda: len(shoppers.clicked) >= enough, "more clicks")


def _spent(case: Running) -> int:
    """On all days of the prey."""
    return sum(int(case.raw.hget(b, "spent") or 0) for b in case.raw.scan_iter(match=f"or:*:budget:{PREY.name}:*"))


def _frozen_redis(case: Running, shoppers: Shoppers) -> float:
    """Shoppers go on clicking what they see, by its URL: nobody waits, and every click counts."""
    shown = [o for _ in range(10) for o in offers(case.page())]
    pid = case.supervisor.pids()["redis"]
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        _click(shown, shoppers)
        time.sleep(max(FROZEN_S - (time.monotonic() - began), 0))
    finally:
        os.kill(pid, signal.SIGCONT)
    return case.wait(case.whole, "whole decisions after the freeze")


def _click(shown: list[dict[str, str]], shoppers: Shoppers) -> None:
    with httpx.Client(timeout=10, headers=BROWSER) as http:
        shoppers.clicked |= {o["impression_id"] for o in shown if http.get(o["click_url"]).status_code == 302}


def _killed_gateway(case: Running, _: Shoppers) -> float:
    """Its place is taken by the supervisor, after half a second."""
    _kill(case, "gateway")
    return case.wait(case.whole, "whole decisions after the kill")


def _ended_gateway(case: Running, shoppers: Shoppers) -> float:
    """SIGTERM, while clicks wait in the journal."""
    shown = [o for _ in range(34) for o in offers(case.page())]
    redis_pid, pid = (case.supervisor.pids()[name] for name in ("redis", "gateway"))
    os.kill(redis_pid, signal.SIGSTOP)
    try:
        _click(shown, shoppers)
        os.kill(pid, signal.SIGTERM)
        case.wait(lambda: case.supervisor.pids().get("gateway") != pid, "the end of the gateway")
    finally:
        os.kill(redis_pid, signal.SIGCONT)
    return case.wait(case.whole, "whole decisions of the next gateway")


def _killed_archiver(case: Running, _: Shoppers) -> float:
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


def _killed_pacer(case: Running, _: Shoppers) -> float:
    """Its lock is held until it expires; until another publishes, gateways sell by what they know and by what holds find."""
    killed_ms = case.now_ms()
    _kill(case, "pacer")
    with redis.Redis.from_url(case.stack.redis.url) as client:
        name = case.keys.snapshot
        return case.wait(lambda: Snapshot.parse(client.get(name)).written_ms > killed_ms, "the next pacer publishes")


def _kill(case: Running, name: str) -> None:
    """Returns once it is dead."""
    pid = case.supervisor.pids()[name]
    os.kill(pid, signal.SIGKILL)
    case.wait(lambda: case.supervisor.pids().get(name) != pid, f"the end of the {name}")


def _lowered_budget(case: Running) -> Row:
    """A market file with half of the budget reaches the pacer; the gateway goes on with the one that it has."""
    lowered = BUDGET_MICROS // 2
    path = case.stack.plan.market
    path.write_text(path.read_text("utf-8").replace(f"daily_budget_micros = {BUDGET_MICROS}", f"daily_budget_micros = {lowered}"))
    _kill(case, "pacer")
    today = budget_day(case.now_ms(), case.stack.market.policy.day_length_s)
    budgets = [case.keys.budget(PREY.name, day) for day in (today, today + 1)]
    recovery_s = case.wait(lambda: all(case.raw.hget(b, "limit") == str(lowered) for b in budgets), "the lower limit")
    with shopping(case) as shoppers:
        _sell(case, shoppers)
        _sell(case, shoppers)
    lost, doubled = arrived(case, shoppers.clicked)
    charged = max((micros for (campaign, _), micros in case.charged().items() if campaign == PREY.name), default=0)
    operator = httpx.get(f"{case.stack.plan.operator_url}/metrics").text
    noticed = "offerrank_market_differs 1.0" in operator
    return Row(
        "a budget halved, and a gateway that was not told",
        ok=0.9 * lowered <= charged <= lowered and noticed and not lost and not doubled and recovery_s <= RECOVERY_S,
        budget_micros=lowered,
        charged_micros=charged,
        lost=lost,
        doubled=doubled,
        recovery_s=recovery_s,
        said=f"until the lower limit is in force; the gateway {'says' if noticed else 'does not say'} that its file differs",
    )
