"""The auction within the budgets: a page is sold in one round trip, and nothing is sold that could not be reserved."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from auction.bids import Bids
from auction.contenders import Contenders
from auction.gsp import best_slate
from auction.slate import sell
from domain.candidates import Candidates
from domain.errors import ContractError
from domain.outcome import Reason, Sale, Slate
from experiments.exploration import Lots, explore, toss
from retrieval.catalogue import Catalogue
from serving.gateway.means import Means, Page
from serving.gateway.ports import CampaignState, Ports
from serving.gateway.stages import Stages


async def sell_within_budgets(
    page: Page,
    live: Candidates,
    bids: Bids,
    catalogue: Catalogue,
    state: CampaignState,
    ports: Ports,
    stages: Stages,
    rng: np.random.Generator,
) -> tuple[Sale, list[int]]:
    """Sells the page among the campaigns that can pay, each offer at its own price.

    The coin and the lots are thrown first. They and the ranking say who may win, whatever the others turn out to have: these
    are asked to hold the most they can be charged, all in one round trip, and whoever has no room leaves with all its offers.
    Then the page is auctioned or drawn among the able, and what was held beyond its prices is given back.

    Whom the last reading shows far from its end is taken to be able before it is asked. Should the replies prove that wrong,
    the page is asked for again, of more bidders and trusting no reading: every bidder that is asked is then held or out.

    Returns:
      sale; [W] micros held for each winner.
    """
    reserves, examination = page.reserve_ecpm_micros, page.examination
    contenders = Contenders.of(bids, catalogue.campaign[live.offer], reserves, examination)
    lots = toss(len(reserves), bids.advertiser, page.epsilon, rng)
    means = Means(page, contenders, live, catalogue, state, drawn=lots is not None)
    certain, able = means.trusted, means.able_ranked
    ranked = _only(able, contenders)
    expected: Slate | None
    greedy = expected = best_slate(ranked, reserves, examination)
    while True:
        may_win = _may_win(contenders, lots, means.able, certain)
        stages.lap("auction")
        asked = await means.ask(may_win, expected, ports, stages)
        stages.lap("hold")
        if (means.able_ranked != able).any():
            means.expect_any_slot()
            able, expected = means.able_ranked, None
            ranked = _only(able, contenders)
            greedy = best_slate(ranked, reserves, examination)
        drawn = _only(means.able_drawn, contenders)
        slate = explore(greedy, drawn.ecpm_micros, bids.advertiser, reserves, page.epsilon, lots, contenders.left_in_slots)
        certain = means.settled
        if certain[contenders.number[slate.winner]].all():
            break
        if not asked:
            raise ContractError(f"decision {page.decision_id}: a winner of {slate.winner.tolist()} was never asked")
    bidders, share = (ranked, page.least_bid_share) if lots is None else (drawn, page.explored_bid_share)
    sale = sell(slate, bidders, reserves, share, examination)
    held_micros = means.close(sale, ports)
    stages.lap("auction")
    why = means.reason
    if why.any():
        why = contenders.per_bidder(why, Reason.WON)
        sale = replace(sale, reason=np.where(why != 0, why, sale.reason))
    return sale, held_micros


def _may_win(contenders: Contenders, lots: Lots | None, able: NDArray[np.bool_], certain: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[K] campaigns that may be on the page, whoever of the uncertain turns out unable."""
    if lots is None:
        return contenders.may_win(able, certain)
    bids, sure = _only(able, contenders), contenders.per_bidder(certain, otherwise=False)
    found = np.zeros(len(contenders), dtype=bool)
    reserves, left = contenders.reserve_ecpm_micros, contenders.left_in_slots
    found[contenders.number[lots.may_win(bids.ecpm_micros, bids.advertiser, reserves, sure, left)]] = True
    return found


def _only(able: NDArray[np.bool_], contenders: Contenders) -> Bids:
    """The same bidders, of which those that are not able bid nothing; a bid of nothing never wins."""
    bids = contenders.bids
    if able.all():
        return bids
    here = contenders.per_bidder(able, otherwise=True)
    return replace(bids, bid_micros=np.where(here, bids.bid_micros, 0), ecpm_micros=np.where(here, bids.ecpm_micros, 0.0))
