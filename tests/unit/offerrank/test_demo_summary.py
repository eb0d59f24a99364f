"""The summary of a demo: exact about money, readable without a terminal."""

import io
from pathlib import Path

from rich.console import Console

from features.market import load_market
from offerrank.demo_summary import CampaignDay, print_summary, summarize
from serving.ledger.reconcile import Account, Days, Reconciliation
from simulation.best_policy import Expected
from simulation.tally import Tally

MARKET = load_market(Path(__file__).parents[3] / "examples" / "confirmation" / "market.toml")


def tally() -> Tally:
    made = Tally()
    for release, shown in (("cold-start", 0.3), ("1764000000", 0.6)):
        phase = made.phase(release)
        phase.requests, phase.filled, phase.impressions, phase.clicks = 10, 10, 30, round(shown * 10)
        phase.revenue_micros = round(shown * 10_000_000)
        for _ in range(10):
            phase.value(Expected(3, shown, 0.1, shown * 1_000_000), Expected(3, 0.9, 0.2, 900_000.0))
    made.latency_ms = [1.0, 2.0, 3.0]
    return made


def day(spent: int, budget: int | None = 1_000_000, campaign: str = "pixelforge-pass") -> CampaignDay:
    return CampaignDay(campaign, 5, budget, spent, 0)


def test_a_micro_above_the_budget_is_overspent_and_the_budget_itself_is_not() -> None:
    assert not day(1_000_000).overspent
    assert day(1_000_001).overspent
    assert not day(10**12, None).overspent


def books(*accounts: Account) -> Reconciliation:
    return Reconciliation(Days(0, 0, 0), list(accounts))


def test_overspent_campaigns_are_counted_once_however_many_days() -> None:
    days = [day(2_000_000), day(3_000_000), day(5, campaign="house-rewards")]
    assert summarize(tally(), days, books(), 0)["overspent_campaigns"] == 1


def test_revenue_is_what_the_ledger_says() -> None:
    right = books(Account("pixelforge-pass", 5, 1_234_567, 1_234_567))
    summary = summarize(tally(), [], right, errors=3)
    assert (summary["revenue_micros"], summary["reconciled"], summary["errors"]) == (1_234_567, True, 3)
    off = books(Account("pixelforge-pass", 5, 1_234_567, 1_234_566))
    assert summarize(tally(), [], off, 0)["reconciled"] is False


def test_the_tables_say_what_the_model_brought() -> None:
    out = io.StringIO()
    summary = summarize(tally(), [day(250_000, 120_000_000)], books(), 0)
    print_summary(Console(file=out, width=100), MARKET, summary)
    rows = {line.split("  ")[1].strip(): line.split() for line in out.getvalue().splitlines() if line.startswith("  ")}
    assert rows["CTR, by the truth"][-4:] == ["10.00%", "20.00%", "+100%", "30.00%"]
    assert rows["revenue per request, by the truth"][-4:] == ["0.3000", "0.6000", "+100%", "0.9000"]
    assert rows["pixelforge-pass"][-4:] == ["0.25", "0.25", "120.00", "0%"]
    assert rows["campaigns overspent"][-1] == "0"


def test_without_a_release_nothing_is_compared() -> None:
    out = io.StringIO()
    only_before = Tally(before=tally().before, releases=["cold-start"])
    print_summary(Console(file=out, width=100), MARKET, summarize(only_before, [], books(), 0))
    assert "CTR, by the truth                   10.00%       -" in out.getvalue()
