"""The auction within the budgets: nothing is sold whose price could not be reserved."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from auction.bids import Bids
from auction.gsp import best_slate
from auction.slate import sell
from domain.campaign import BidKind
from domain.candidates import Candidates
from domain.errors import DependencyError
from domain.money import expected_micros
from domain.outcome import Reason, Sale
from experiments.exploration import explore
from retrieval.catalogue import UNLIMITED, Catalogue
from serving.gateway.ports import Budgets, HoldItem
from serving.gateway.stages import Stages

KINDS = list(BidKind)


@dataclass(frozen=True, slots=True)
class Page:
    """What is for sale: reserves [S] by slot, how often to explore, and names for what will be shown."""

    reserve_ecpm_micros: NDArray[np.int64]
    epsilon: float
    day: int
    decision_id: str
    billable: bool
    patience: float = 1.0
    """Share of the usual time that holds wait for the page."""


async def sell_within_budgets(
    page: Page,
    live: Candidates,
    bids: Bids,
    catalogue: Catalogue,
    budgets: Budgets,
    stages: Stages,
    rng: np.random.Generator,
    timeout_s: float,
) -> Sale:
    """Auctions the page and holds the winners' prices; campaigns without room lose for BUDGET.

    A page by eCPM is auctioned again without them, so that the next bidder moves up at its own price. A random page only
    loses them: a second draw would no longer have the propensities of the first. Where holds cannot be had at all, whatever
    has a budget loses for BUDGET_UNKNOWN and the rest is auctioned among itself.
    """
    shut_out = np.zeros(len(live), dtype=np.int16)
    coin: bool | None = None
    campaign = catalogue.campaign[live.offer]
    limited = catalogue.budget_micros[campaign] != UNLIMITED
    held: dict[int, HoldItem] = {}
    while True:
        able = _without(bids, shut_out != 0)
        greedy = best_slate(able, page.reserve_ecpm_micros)
        slate = explore(greedy, able.ecpm_micros, able.advertiser, page.reserve_ecpm_micros, page.epsilon, rng, coin)
        coin = slate.explored
        sale = sell(slate, able, page.reserve_ecpm_micros)
        stages.lap("auction")
        wanted = {
            int(campaign[i]): _item(page, sale, w, live, bids, catalogue)
            for w, i in enumerate(sale.winner.tolist())
            if page.billable and limited[i] and sale.price_micros[w] > 0
        }
        asked = [(c, item) for c, item in wanted.items() if held.get(c) != item]
        if not asked:
            break
        try:
            grants = await budgets.hold([item for _, item in asked], timeout_s, page.patience)
        except DependencyError:
            stages.degrade("budgets")
            shut_out[limited] = Reason.BUDGET_UNKNOWN
            stages.lap("hold")
            continue
        stages.lap("hold")
        held |= {c: item for (c, item), grant in zip(asked, grants, strict=True) if grant.held}
        without_room = [c for (c, _), grant in zip(asked, grants, strict=True) if not grant.held]
        shut_out[np.isin(campaign, without_room)] = Reason.BUDGET
        if not without_room:
            break
        if sale.explored:
            sale = _drop(sale, [w for w, i in enumerate(sale.winner) if campaign[i] in without_room])
            break
    kept = {int(campaign[i]) for i in sale.winner}
    if unused := [replace(item, micros=0) for c, item in held.items() if c not in kept]:
        budgets.keep(unused)
    return replace(sale, reason=np.where(shut_out != 0, shut_out, sale.reason))


def hold_micros(price_micros: int, kind: BidKind, quality: float) -> int:
    """What is held for a winner: its price, or, where conversions are billed, what one impression is expected to be charged."""
    return expected_micros(price_micros, quality) if kind is BidKind.CPA else price_micros


def _without(bids: Bids, out: NDArray[np.bool_]) -> Bids:
    """The same bidders, of which some bid nothing; a bid of nothing never wins."""
    if not out.any():
        return bids
    return replace(bids, bid_micros=np.where(out, 0, bids.bid_micros), ecpm_micros=np.where(out, 0.0, bids.ecpm_micros))


def _item(page: Page, sale: Sale, w: int, live: Candidates, bids: Bids, catalogue: Catalogue) -> HoldItem:
    i, price_micros = int(sale.winner[w]), int(sale.price_micros[w])
    offer = live.offer[i]
    kind = KINDS[int(catalogue.bid_kind[offer])]
    return HoldItem(
        campaign_id=catalogue.campaign_ids[int(catalogue.campaign[offer])],
        decision_id=page.decision_id,
        day=page.day,
        micros=hold_micros(price_micros, kind, float(bids.quality[i])),
        event_micros=price_micros if kind is BidKind.CPA else 0,
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
