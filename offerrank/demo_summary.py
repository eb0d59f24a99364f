"""What a demo run came to: the money by the books, and what the model was worth."""

from dataclasses import dataclass
from typing import Any

import redis
from rich import box
from rich.console import Console
from rich.table import Table

from domain.keys import Keys
from domain.money import MICROS, format_micros
from features.market import Market
from serving.ledger.reconcile import Reconciliation
from simulation.tally import Tally


@dataclass(frozen=True, slots=True)
class CampaignDay:
    """One campaign's money on one budget day, as Redis has it."""

    campaign: str
    day: int
    budget_micros: int | None
    spent_micros: int
    held_micros: int

    @property
    def overspent(self) -> bool:
        """More was charged than ordered."""
        return self.budget_micros is not None and self.spent_micros > self.budget_micros


def campaign_days(client: "redis.Redis", market: Market, first_day: int, last_day: int) -> list[CampaignDay]:
    """All campaigns on all budget days of a run; raises redis.RedisError."""
    keys = Keys(market.name)
    wanted = [(c, day) for day in range(first_day, last_day + 1) for c in market.campaigns]
    with client.pipeline(transaction=True) as snapshot:
        for campaign, day in wanted:
            snapshot.hmget(keys.budget(campaign.id, day), "spent", "held")
        amounts = snapshot.execute()
    return [
        CampaignDay(c.id, day, c.daily_budget_micros, int(spent or 0), int(held or 0))
        for (c, day), (spent, held) in zip(wanted, amounts, strict=True)
    ]


def summarize(tally: Tally, days: list[CampaignDay], books: Reconciliation, errors: int) -> dict[str, Any]:
    """The run as plain values: what `--json` writes. `revenue_micros` is what the money ledger says was charged."""
    return tally.summary() | {
        "revenue_micros": books.charged_micros,
        "errors": errors,
        "overspent_campaigns": len({d.campaign for d in days if d.overspent}),
        "reconciled": not books.differences,
        "campaigns": [
            {"campaign": d.campaign, "day": d.day, "budget_micros": d.budget_micros, "spent_micros": d.spent_micros} for d in days
        ],
    }


def print_summary(console: Console, market: Market, summary: dict[str, Any]) -> None:
    """The same for people."""
    console.print(_totals(market, summary))
    console.print(_spend(market, summary))
    console.print(_phases(market, summary))
    console.print(
        "Shoppers are simulated. Before: random pages, sold at half the bids. 'By the truth': what the pages shown are worth\n"
        "under the simulator's own probabilities. Best possible: the same auction, told those probabilities and more than\n"
        "any feature tells, with budgets and frequency caps ignored.",
        highlight=False,
    )


def _totals(market: Market, summary: dict[str, Any]) -> Table:
    table = _table("The run", "", "")
    latency = summary["latency_ms"]
    for name, value in (
        ("requests", f"{summary['requests']:,}"),
        ("fill rate", f"{summary['fill_rate']:.1%}"),
        ("clicks", f"{summary['clicks']:,}"),
        ("conversions", f"{summary['conversions']:,}"),
        ("revenue", format_micros(summary["revenue_micros"], market.currency)),
        ("failed calls", f"{summary['errors']:,}"),
        ("decision latency", f"p50 {latency['p50']} ms, p95 {latency['p95']} ms, p99 {latency['p99']} ms"),
        ("campaigns overspent", f"{summary['overspent_campaigns']}"),
        ("event log against Redis", "equal to the micro" if summary["reconciled"] else "DIFFERENT: see the log folder"),
    ):
        table.add_row(name, value)
    return table


def _spend(market: Market, summary: dict[str, Any]) -> Table:
    table = _table(
        f"Spend against budget, in {market.currency}", "campaign", "bid", "spent", "fullest day", "budget a day", "used"
    )
    for campaign in market.campaigns:
        spent = [d["spent_micros"] for d in summary["campaigns"] if d["campaign"] == campaign.id]
        fullest, budget = max(spent, default=0), campaign.daily_budget_micros
        bid = f"{campaign.bid_kind.value} {_amount(campaign.bid_micros)}"
        limit = (_amount(budget), f"{fullest / budget:.0%}") if budget else ("none", "")
        table.add_row(campaign.id, bid, _amount(sum(spent)), _amount(fullest), *limit)
    return table


def _phases(market: Market, summary: dict[str, Any]) -> Table:
    table = _table("What the model brought", "", "before", "after", "change", "best possible")
    phases = (summary["before"], summary["after"])
    bounds = (summary["best_possible_before"], summary["best_possible"])
    table.add_row("requests", *(f"{p['requests']:,}" for p in phases), "", "")
    for name, key, bound, show in (
        ("CTR", "ctr", None, "{:.2%}".format),
        ("CTR, by the truth", "expected_ctr", "ctr", "{:.2%}".format),
        (f"revenue per request, {market.currency}", "revenue_per_request_micros", None, _precise),
        ("revenue per request, by the truth", "expected_revenue_per_request_micros", "revenue_per_request_micros", _precise),
    ):
        before, after = (show(p[key]) if p["requests"] else "-" for p in phases)
        both = phases[0][key] and phases[1]["requests"]
        change = f"{phases[1][key] / phases[0][key] - 1:+.0%}" if both else ""
        table.add_row(name, before, after, change, show(bounds[1][bound]) if bound else "")
        if bound:
            shares = (f"{p[key] / b[bound]:.0%}" if p["requests"] else "-" for p, b in zip(phases, bounds, strict=True))
            table.add_row("  of the best possible", *shares, "", "100%")
    return table


def _amount(micros: int) -> str:
    return f"{micros / MICROS:,.2f}"


def _precise(micros: float) -> str:
    return f"{micros / MICROS:.4f}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_header=any(columns))
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=True)
    return table
