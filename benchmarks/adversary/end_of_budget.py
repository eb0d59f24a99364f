"""Budgets run out while others would pay: no slot stays empty, and none is overspent."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.adversary.market import Spec, market_toml
from benchmarks.adversary.row import Row
from benchmarks.adversary.running import Running, offers, running, seen_and_clicked

SLOTS = 3


def cases(folder: Path, *, short: bool) -> Iterator[Row]:
    """A dime above six who can pay; and whole short days on which nearly every budget ends, for eight shoppers at once."""
    pages = 100 if short else 300
    dime = [Spec("dime", 900_000, budget_micros=100_000, offers=3), *(Spec(f"rich-{i}", 500_000 - i) for i in range(6))]
    with running(folder / "dime", market_toml(dime)) as case:
        answers = [case.page() for _ in range(pages)]
        yield _row(case, "a campaign of three offers with 0.10 left", pages, sum(len(offers(a)) for a in answers), dime)
    small = [Spec(f"small-{i}", 900_000 - 20_000 * i, budget_micros=1_500_000 + 100_000 * i, offers=2) for i in range(12)]
    house = [Spec(f"house-{i}", 1000 + i, bid_kind="cpm") for i in range(SLOTS)]
    days = market_toml([*small, *house], policy="day_length_s = 20\nhold_ttl_s = 3\nunseen_hold_ttl_s = 3\nepsilon = 0.05")
    with running(folder / "days", days) as case:
        each = 60 if short else 250
        with ThreadPoolExecutor(8) as shoppers:
            shown = sum(shoppers.map(lambda seed: _shop(case, seed, each), range(8)))
        yield _row(case, "short days, twelve budgets that end", 8 * each, shown, small)


def _shop(case: Running, seed: int, pages: int) -> int:
    """A shopper who sees every offer and clicks one in three; how many offers were shown."""
    draw, shown = random.Random(seed), 0
    for number in range(pages):
        page = offers(case.page(shopper={"key": f"shopper-{seed}-{number}"}))
        shown += len(page)
        for offer in page:
            events = seen_and_clicked(offer["token"])
            case.report(*(events if draw.random() < 1 / 3 else events[:1]))
    return shown


def _row(case: Running, name: str, pages: int, sold: int, campaigns: list[Spec]) -> Row:
    charged, budgets = case.charged(), {c.name: c.budget_micros for c in campaigns}
    days = {at for at in charged if budgets.get(at[0]) is not None}
    spent = sum(charged[at] for at in days)
    sellable = SLOTS * pages
    exact, over = case.reconciled(), case.over_micros()
    return Row(
        case=name,
        ok=sold >= 0.99 * sellable and not over and exact,
        budget_micros=sum(budgets[c] or 0 for c, _ in days),
        charged_micros=spent,
        sellable=sellable,
        sold=sold,
        said=f"over {over / 1e6:.6f}, log and Redis {'equal to the micro' if exact else 'differ'}",
    )
