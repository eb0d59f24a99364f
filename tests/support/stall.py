"""A page for sale on ports in memory, without HTTP and without a model: what the selling of pages is tested on."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from auction.bids import Bids, effective_bids
from domain.campaign import Campaign
from domain.candidates import Candidates
from domain.luck import Luck
from domain.outcome import Sale
from features.market import Market, load_market
from retrieval.catalogue import Catalogue
from serving.gateway.adapters.memory import MemoryBudgets, MemoryCampaigns, MemoryCaps, MemoryShoppers
from serving.gateway.means import Page
from serving.gateway.ports import Ports
from serving.gateway.selling import sell_among, sell_within_budgets
from serving.gateway.stages import Stages

MARKET = Path(__file__).resolve().parents[1] / "golden" / "market.toml"
DAY = 1


@dataclass(frozen=True)
class Seller:
    """A campaign, and the quality of each of its offers."""

    name: str
    bid_micros: int
    quality: Sequence[float] = (0.05,)
    """P(click) of each offer; of a cpa bid P(click) P(conversion), a tenth of it each; of a cpm bid only how many there are."""
    budget_micros: int | None = None
    advertiser: str | None = None
    bid_kind: str = "cpc"
    cap: int | None = None


@cache
def _golden() -> Market:
    return load_market(MARKET)


@dataclass
class Stall:
    """Sells pages of sellers' offers, one after another, from budgets as they are left."""

    sellers: Sequence[Seller]
    seen_micros: dict[str, int] = field(default_factory=dict)
    """What the last reading said was left, where it was not the truth."""
    spent_micros: dict[str, int] = field(default_factory=dict)
    drain_micros: int = 0
    """By how much every budget fell between the last two readings."""
    seed: int = 1
    examination: Sequence[float] | None = None
    """Of the slots of every page, as far as it has any."""

    def __post_init__(self) -> None:
        golden, usual = _golden(), _golden().offers[0]
        campaigns = [
            Campaign(
                id=s.name,
                advertiser=s.advertiser or s.name,
                bid_kind=s.bid_kind,
                bid_micros=s.bid_micros,
                daily_budget_micros=s.budget_micros,
                frequency_cap=s.cap,
            )
            for s in self.sellers
        ]
        offers = [
            usual.model_copy(update={"id": f"{s.name}-{i}", "campaign": s.name})
            for s in self.sellers
            for i in range(len(s.quality))
        ]
        # Not a copy: that would take along what the original has looked up.
        self.market = Market.model_construct(**dict(golden) | {"campaigns": tuple(campaigns), "offers": tuple(offers)})
        self.catalogue = Catalogue.of(self.market)
        self.shoppers = MemoryShoppers()
        self.budgets = MemoryBudgets(self.market, dict(self.spent_micros))
        self.caps = MemoryCaps(self.shoppers)
        self.rng: Any = np.random.default_rng(self.seed)
        self.stages = Stages()
        self.pages = 0
        self.held_micros: list[int] = []
        self.live = Candidates(np.arange(len(offers), dtype=np.int32), np.zeros(len(offers), np.uint8))
        quality = np.array([q for s in self.sellers for q in s.quality])
        kind = self.catalogue.bid_kind
        self.bids: Bids = effective_bids(
            self.catalogue.advertiser, kind, self.catalogue.bid_micros, quality, np.full(len(quality), 0.1), np.ones(len(quality))
        )

    def campaigns(self) -> MemoryCampaigns:
        """The reading."""
        seen = {
            s.name: s.budget_micros - self.seen_micros[s.name] if s.name in self.seen_micros else self.spent(s.name)
            for s in self.sellers
            if s.budget_micros is not None
        }
        return MemoryCampaigns(self.market, seen)

    def spent(self, name: str) -> int:
        """Spent and held."""
        return self.budgets.committed_micros.get(name, 0)

    def room(self, name: str) -> int:
        """What is left of a budget."""
        (budget,) = (s.budget_micros for s in self.sellers if s.name == name)
        return 2**53 if budget is None else budget - self.spent(name)

    def page(self, *floors: int, epsilon: float = 0.0, **terms: Any) -> Page:
        """A page with these reserves, under a name of its own."""
        self.pages += 1
        seen = None if self.examination is None else np.array(self.examination[: len(floors)])
        usual = {
            "examination": seen,
            "shopper_key": "s",
            "days": np.full(len(self.market.campaigns), DAY),
            "least_bid_share": 0.1,
            "explored_bid_share": 0.5,
            "timeout_s": 1.0,
        }
        return Page(f"d{self.pages}", reserve_ecpm_micros=np.array(floors), epsilon=epsilon, **(usual | terms))

    async def selling(self, page: Page) -> Sale:
        """Sells a page."""
        campaigns = self.campaigns()
        state = campaigns.state(0)
        state = replace(state, drain_micros=np.full_like(state.drain_micros, self.drain_micros))
        ports = Ports(self.shoppers, campaigns, self.budgets, self.caps, None, None)  # type: ignore[arg-type]
        luck = Luck.draw(self.rng) if isinstance(self.rng, np.random.Generator) else self.rng
        sold = await sell_within_budgets(page, self.live, self.bids, self.catalogue, state, ports, self.stages, luck)
        self.held_micros = sold.held_micros
        held = {s.name for s in self.sellers if (s.name, page.decision_id) in self.budgets.held}
        # What is kept of a moment is enough to sell the page once more.
        again = sell_among(page, self.live, self.bids, self.catalogue, sold.unable, held, luck.again())
        assert (again.held_micros, *_plain(again.sale)) == (sold.held_micros, *_plain(sold.sale))
        return sold.sale

    def sell(self, *floors: int, epsilon: float = 0.0, **terms: Any) -> Sale:
        """Sells a page, to the end."""
        return asyncio.run(self.selling(self.page(*floors, epsilon=epsilon, **terms)))

    def shown(self, sale: Sale) -> list[str]:
        """Offers on a page."""
        return [self.catalogue.offer_ids[i] for i in sale.winner]


def _plain(sale: Sale) -> list[Any]:
    values = (getattr(sale, f.name) for f in fields(sale))
    return [v.tolist() if isinstance(v, np.ndarray) else v for v in values]
