"""The auction within the budgets: nothing is sold whose price could not be reserved."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from auction.bids import Bids
from auction.gsp import best_slate
from auction.slate import sell
from domain.candidates import Candidates
from domain.errors import DependencyError
from domain.outcome import Reason, Sale
from experiments.exploration import explore
from retrieval.catalogue import UNLIMITED, Catalogue
from serving.gateway.ports import Budgets, HoldItem
from serving.gateway.stages import Stages

MAX_AUCTIONS = 3
"""Per decision. An auction is held again without the bidders whose budget turned out to be too small for their price."""


@dataclass(frozen=True, slots=True)
class Page:
    """What is for sale: reserves [S] by slot, how often to explore, and names for what will be shown."""

    reserve_ecpm_micros: NDArray[np.int64]
    epsilon: float
    day: int
    impression_id: Callable[[int], str]
    billable: bool


async def sell_within_budgets(
    page: Page,
    live: Candidates,
    bids: Bids,
    catalogue: Catalogue,
    budgets: Budgets,
    stages: Stages,
    rng: np.random.Generator,
    now_ms: int,
    timeout_s: float,
) -> Sale:
    """Auctions the page and holds the winners' prices; winners without room lose for BUDGET.

    A page by eCPM is auctioned again without them, so that the next bidder moves up at its own price. A random page only
    loses them: a second draw would no longer have the propensities of the first. Where holds cannot be had at all, whatever
    has a budget loses for BUDGET_UNKNOWN and the rest is auctioned among itself.
    """
    shut_out = np.zeros(len(live), dtype=np.int16)
    coin: bool | None = None
    budget_micros = catalogue.budget_micros[catalogue.campaign[live.offer]]
    for attempt in range(MAX_AUCTIONS + 1):
        able = _without(bids, shut_out != 0)
        greedy = best_slate(able, page.reserve_ecpm_micros)
        slate = explore(greedy, able.ecpm_micros, able.advertiser, page.reserve_ecpm_micros, page.epsilon, rng, coin)
        coin = slate.explored
        sale = sell(slate, able, page.reserve_ecpm_micros)
        stages.lap("auction")
        held = [
            w for w, i in enumerate(sale.winner) if page.billable and budget_micros[i] != UNLIMITED and sale.price_micros[w] > 0
        ]
        if not held:
            break
        partly = sale.explored or attempt >= MAX_AUCTIONS - 1
        items = [_item(page, sale, w, live, catalogue) for w in held]
        try:
            fits = await budgets.hold(items, now_ms, "any" if partly else "all", timeout_s)
        except DependencyError:
            stages.degrade("budgets")
            shut_out[budget_micros != UNLIMITED] = Reason.BUDGET_UNKNOWN
            stages.lap("hold")
            continue
        stages.lap("hold")
        unheld = [w for w, fit in zip(held, fits, strict=True) if not fit]
        shut_out[sale.winner[unheld]] = Reason.BUDGET
        if partly or not unheld:
            sale = _drop(sale, unheld)
            break
    return replace(sale, reason=np.where(shut_out != 0, shut_out, sale.reason))


def _without(bids: Bids, out: NDArray[np.bool_]) -> Bids:
    """The same bidders, of which some bid nothing; a bid of nothing never wins."""
    if not out.any():
        return bids
    return replace(bids, bid_micros=np.where(out, 0, bids.bid_micros), ecpm_micros=np.where(out, 0.0, bids.ecpm_micros))


def _item(page: Page, sale: Sale, w: int, live: Candidates, catalogue: Catalogue) -> HoldItem:
    campaign = int(catalogue.campaign[live.offer[sale.winner[w]]])
    return HoldItem(
        campaign_id=catalogue.campaign_ids[campaign],
        day=page.day,
        impression_id=page.impression_id(int(sale.slot[w])),
        micros=int(sale.price_micros[w]),
        daily_budget_micros=int(catalogue.budget_micros[campaign]),
    )


def _drop(sale: Sale, lost: list[int]) -> Sale:
    """The sale without some of its winners."""
    keep = np.ones(len(sale.winner), dtype=bool)
    keep[lost] = False
    return replace(
        sale,
        slot=sale.slot[keep],
        winner=sale.winner[keep],
        price_micros=sale.price_micros[keep],
        propensity=sale.propensity[keep],
    )
