"""The auction within the budgets: a page is sold in one round trip, and nothing is sold that could not be reserved."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from auction.bids import Bids
from auction.contenders import Contenders
from auction.gsp import best_slate
from auction.slate import sell
from domain.candidates import Candidates
from domain.errors import ContractError
from domain.luck import Luck
from domain.outcome import Sale, Slate
from experiments.exploration import Lots, explore, toss
from retrieval.catalogue import Catalogue
from serving.gateway.able import Able, Unable, only
from serving.gateway.means import Means, Page, to_hold
from serving.gateway.ports import CampaignState, Ports
from serving.gateway.stages import Stages


@dataclass(frozen=True, slots=True)
class Sold:
    """A page as it was sold."""

    sale: Sale
    held_micros: list[int]
    """[W] for each winner."""
    unable: Sequence[Unable] = ()


async def sell_within_budgets(
    page: Page,
    live: Candidates,
    bids: Bids,
    catalogue: Catalogue,
    state: CampaignState,
    ports: Ports,
    stages: Stages,
    luck: Luck,
) -> Sold:
    """Sells the page among the campaigns that can pay, each offer at its own price.

    The coin and the lots are thrown first. They and the ranking say who may win, whatever the others turn out to have: these
    are asked to hold the most they can be charged, all in one round trip, and whoever has no room leaves with all its offers.
    Then the page is auctioned or drawn among the able, and what was held beyond its prices is given back.

    Whom the last reading shows far from its end is taken to be able before it is asked. Should the replies prove that wrong,
    the page is asked for again, of more bidders and trusting no reading: every bidder that is asked is then held or out.
    """
    contenders, lots = _begun(page, live, bids, catalogue, luck)
    means = Means(page, contenders, live, catalogue, state, drawn=lots is not None)
    certain, able = means.trusted, means.able_ranked
    expected: Slate | None
    greedy = expected = _greedy(page, contenders, able)
    while True:
        may_win = _may_win(contenders, lots, means.able, certain)
        stages.lap("auction")
        asked = await means.ask(may_win, expected, ports, stages)
        stages.lap("hold")
        if (means.able_ranked != able).any():
            means.expect_any_slot()
            able, expected = means.able_ranked, None
            greedy = _greedy(page, contenders, able)
        able_drawn = means.able_drawn
        slate = _slate(page, contenders, lots, greedy, able_drawn)
        certain = means.settled
        if certain[contenders.number[slate.winner]].all():
            break
        if not asked:
            raise ContractError(f"decision {page.decision_id}: a winner of {slate.winner.tolist()} was never asked")
    were = Able(able, able_drawn, means.reason)
    sale = _sale(page, contenders, lots, slate, were)
    held_micros = means.close(sale, ports)
    stages.lap("auction")
    return Sold(sale, held_micros, were.unable(catalogue.campaign[live.offer[contenders.best]], drawn=lots is not None))


def sell_among(
    page: Page,
    live: Candidates,
    bids: Bids,
    catalogue: Catalogue,
    unable: Sequence[Unable],
    held: Collection[str],
    luck: Luck,
) -> Sold:
    """The page as `sell_within_budgets` sells it where these campaigns are unable, and all others able.

    Args:
      held: ids of the campaigns of whose budgets something is held.
    """
    contenders, lots = _begun(page, live, bids, catalogue, luck)
    able = Able.but(unable, catalogue.campaign[live.offer[contenders.best]], drawn=lots is not None)
    slate = _slate(page, contenders, lots, _greedy(page, contenders, able.ranked), able.drawn)
    sale = _sale(page, contenders, lots, slate, able)
    campaigns = [catalogue.campaign_ids[c] for c in catalogue.campaign[live.offer[sale.winner]].tolist()]
    micros = to_hold(sale, bids, catalogue.bid_kind[live.offer])
    return Sold(sale, [m if c in held else 0 for m, c in zip(micros, campaigns, strict=True)], unable)


def _begun(page: Page, live: Candidates, bids: Bids, catalogue: Catalogue, luck: Luck) -> tuple[Contenders, Lots | None]:
    reserves = page.reserve_ecpm_micros
    contenders = Contenders.of(bids, catalogue.campaign[live.offer], reserves, page.examination)
    return contenders, toss(len(reserves), bids.apart, page.epsilon, luck)


def _greedy(page: Page, contenders: Contenders, able_ranked: NDArray[np.bool_]) -> Slate:
    return best_slate(only(able_ranked, contenders), page.reserve_ecpm_micros, page.examination)


def _slate(page: Page, contenders: Contenders, lots: Lots | None, greedy: Slate, able_drawn: NDArray[np.bool_]) -> Slate:
    """The greedy page, or the one that the lots say."""
    drawn, group = only(able_drawn, contenders), contenders.bids.apart
    reserves, left = page.reserve_ecpm_micros, contenders.left_in_slots
    return explore(greedy, drawn.ecpm_micros, group, reserves, page.epsilon, lots, left)


def _sale(page: Page, contenders: Contenders, lots: Lots | None, slate: Slate, able: Able) -> Sale:
    here, share = (able.ranked, page.least_bid_share) if lots is None else (able.drawn, page.explored_bid_share)
    sale = sell(slate, only(here, contenders), page.reserve_ecpm_micros, share, page.examination)
    reason = able.reasons(sale.reason, contenders)
    return sale if reason is sale.reason else replace(sale, reason=reason)


def _may_win(contenders: Contenders, lots: Lots | None, able: NDArray[np.bool_], certain: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[K] campaigns that may be on the page, whoever of the uncertain turns out unable."""
    if lots is None:
        return contenders.may_win(able, certain)
    bids, sure = only(able, contenders), contenders.per_bidder(certain, otherwise=False)
    found = np.zeros(len(contenders), dtype=bool)
    reserves, left = contenders.reserve_ecpm_micros, contenders.left_in_slots
    found[contenders.number[lots.may_win(bids.ecpm_micros, bids.apart, reserves, sure, left)]] = True
    return found
