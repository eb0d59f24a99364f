"""The market that adversaries meet: campaigns with small budgets above others that would pay, too."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spec:
    """One campaign with its offers, each campaign an advertiser of its own."""

    name: str
    bid_micros: int
    budget_micros: int | None = None
    offers: int = 1
    bid_kind: str = "cpc"
    frequency_cap: int | None = None


def market_toml(campaigns: Sequence[Spec], *, policy: str = "", training: str = "", ranking_ms: int = 1000) -> str:
    """A market of one page with three slots, priced at the priors: before any release, nothing but the money varies."""
    offers = [
        f'  {{ id = "{c.name}-{i}", campaign = "{c.name}", title = "{i}", landing_url = "https://shop.example/{c.name}" }},'
        for c in campaigns
        for i in range(c.offers)
    ]
    return "\n".join(
        [
            'name = "adversary"',
            'currency = "USD"',
            'placements = [{ name = "main", count = 3 }]',
            "features = [",
            '  { name = "offer_id", source = "offer", default = "" },',
            '  { name = "country", source = "context", default = "US", vocabulary = ["US", "DE"] },',
            "]",
            'tasks = [{ name = "ctr", label = "click" }, { name = "cvr", label = "conversion", given = "click" }]',
            "offers = [",
            *offers,
            "]",
            "[policy]",
            'id = "adversary"',
            "priors = { ctr = 0.1, cvr = 0.1 }",
            "cold_start_epsilon = 0.0",
            # A machine that is busy with the adversary must not look like a dependency that is slow.
            f"deadlines_ms = {{ shopper = 1000, retrieval = 1000, ranking = {ranking_ms}, hold = 1000 }}",
            policy,
            "[training]",
            training,
            *(_campaign(c) for c in campaigns),
        ]
    )


def _campaign(c: Spec) -> str:
    lines = ["[[campaigns]]", f'id = "{c.name}"', f'advertiser = "{c.name}"', f'bid_kind = "{c.bid_kind}"']
    lines.append(f"bid_micros = {c.bid_micros}")
    if c.budget_micros is not None:
        lines.append(f"daily_budget_micros = {c.budget_micros}")
    if c.frequency_cap is not None:
        lines.append(f"frequency_cap = {c.frequency_cap}")
    return "\n".join(lines)
