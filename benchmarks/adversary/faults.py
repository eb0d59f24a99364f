"""Processes are killed and frozen while pages are sold: what is lost, doubled or overspent, and how soon all is well again."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from benchmarks.adversary import ranker_faults
from benchmarks.adversary.market import Spec, market_toml
from benchmarks.adversary.outcome import SLOTS, Outcome
from benchmarks.adversary.process_faults import (
    FROZEN_S,
    ended_gateway,
    frozen_redis,
    kill,
    killed_archiver,
    killed_gateway,
    killed_pacer,
)
from benchmarks.adversary.row import Row
from benchmarks.adversary.running import Running, running
from benchmarks.adversary.shoppers import Shoppers, arrived, shopping
from domain.clock import budget_day

BUDGET_MICROS = 300_000
RECOVERY_S = 5.0
BUSY_RECOVERY_S = 20.0
"""In the short form, which shares its machine with other tests."""
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
        within_s = BUSY_RECOVERY_S if short else RECOVERY_S
        yield _under_sale(case, f"Redis frozen for {FROZEN_S:.0f} s", frozen_redis, within_s)
        yield _under_sale(case, "the archiver killed amid a flush", killed_archiver, within_s)
        if not short:
            yield _under_sale(case, "the gateway killed amid clicks", killed_gateway)
            yield _under_sale(case, "the pacer killed", killed_pacer)
            yield _under_sale(case, "the gateway ended while Redis is frozen", ended_gateway)
    if not short:
        yield from ranker_faults.cases(
            folder / "ranker", market_toml([PREY, *HOUSE], policy=SHORT_DAYS, ranking_ms=ranker_faults.RANKING_MS)
        )
        with running(folder / "lowered", market_toml([PREY, *HOUSE], policy=POLICY)) as case:
            yield _lowered_budget(case)


def _under_sale(case: Running, name: str, fault: Fault, within_s: float = RECOVERY_S) -> Row:
    """Sells before, during and after; every acknowledged click must then be in the archive, once."""
    before, spent = case.charged(), _spent(case)
    with shopping(case) as shoppers:
        _sell(case, shoppers)
        began = time.monotonic()
        recovery_s = fault(case, shoppers)
        _sell(case, shoppers)
        case.wait(lambda: _spent(case) > spent, "clicks of the prey")
    pages = shoppers.between(began, time.monotonic())
    outcome = Outcome.of(case, shoppers, pages, before)
    said = f"{len(shoppers.clicked)} clicks acknowledged; log and Redis {'equal to the micro' if outcome.exact else 'differ'}"
    return outcome.row(name, ok=recovery_s <= within_s, recovery_s=recovery_s, said=said)


def _sell(case: Running, shoppers: Shoppers) -> None:
    """Lets more clicks be acknowledged than the prey can pay for on one day."""
    enough = len(shoppers.clicked) + 150
    case.wait(lambda: len(shoppers.clicked) >= enough, "more clicks")


def _spent(case: Running) -> int:
    """On all days of the prey."""
    return sum(int(case.raw.hget(b, "spent") or 0) for b in case.raw.scan_iter(match=f"or:*:budget:{PREY.name}:*"))


def _lowered_budget(case: Running) -> Row:
    """A market file with half of the budget reaches the pacer; the gateway goes on with the one that it has."""
    lowered = BUDGET_MICROS // 2
    path = case.stack.plan.market
    path.write_text(path.read_text("utf-8").replace(f"daily_budget_micros = {BUDGET_MICROS}", f"daily_budget_micros = {lowered}"))
    kill(case, "pacer")
    today = budget_day(case.now_ms(), case.stack.market.policy.day_length_s)
    budgets = [case.keys.budget(PREY.name, day) for day in (today, today + 1)]
    recovery_s = case.wait(lambda: all(case.raw.hget(b, "limit") == str(lowered) for b in budgets), "the lower limit")
    with shopping(case) as shoppers:
        _sell(case, shoppers)
        _sell(case, shoppers)
    lost, doubled = arrived(case, shoppers.clicked)
    charged = max((micros for (campaign, _), micros in case.charged().items() if campaign == PREY.name), default=0)
    noticed = _notices(case)
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


def _notices(case: Running) -> bool:
    """Whether the gateway says within 10 s, two of its beats, that the pacer has another market file."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if "offerrank_market_differs 1.0" in httpx.get(f"{case.stack.plan.operator_url}/metrics", timeout=5).text:
            return True
        time.sleep(0.25)
    return False
