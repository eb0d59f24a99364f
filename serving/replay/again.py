"""A decision made once more, through the gateway's own path; what only its moment knew is as the log has it.

recomputed                                           as logged
whom schedule, targeting and status keep out         whom budgets and caps kept out
candidates, the draw of new offers                   features as used, history included
probabilities, raw and calibrated                    which stages fell back
bids and eCPM                                        pacing multipliers
the page, or its draw by lots; propensities          who could not pay, or whose cap was reached meanwhile
prices; what is held of a budget where anything is   whether anything is held
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from auction.bids import Bids
from domain.candidates import Candidates
from domain.errors import ContractError
from domain.request import DecisionRequest
from retrieval.catalogue import UNLIMITED
from retrieval.eligibility import ELIGIBLE, campaign_verdicts
from serving.gateway.decide import Decided, Met, Pacing, decide_as_met
from serving.gateway.market_view import MarketView
from serving.gateway.means import Page
from serving.gateway.ports import ActiveRelease
from serving.gateway.selling import Sold, sell_among
from serving.gateway.stages import Stages
from serving.replay.logged import Logged
from serving.replay.world import LoadedModel


@dataclass(frozen=True, slots=True)
class Made:
    """A decision as it is made by what was logged, and what it was sold from."""

    decided: Decided
    view: MarketView


class Then(Protocol):
    """What a decision is made with: `World`, or another."""

    def view(self, logged: Logged) -> MarketView:
        """What is sold."""
        ...

    def release(self, logged: Logged) -> ActiveRelease:
        """What ranks, over that."""
        ...

    def model(self, logged: Logged) -> LoadedModel:
        """Its model."""
        ...


async def decide_again(logged: Logged, world: Then, pacing: Pacing | None = None) -> Made:
    """Decides once more.

    Args:
      pacing: other multipliers than were logged.
    Raises:
      ContractError: the log, the release and the catalogue do not fit each other.
      OfferRankError: something that it was made with is not there any more.
    """
    release, model, market = world.release(logged), world.model(logged), world.view(logged)
    request = logged.moment.request(logged.said, logged.features(market.market))
    met = _met(logged, request, market, release, pacing or logged.moment.pacing)
    unable, held = logged.moment.unable, _held(logged.said)

    async def sell(page: Page, live: Candidates, bids: Bids) -> Sold:
        return sell_among(page, live, bids, market.catalogue, unable, held, met.luck)

    stages = Stages()
    stages.degraded += [what for what in logged.said["degraded"] if what not in ("ranker", "retrieval")]
    return Made(await decide_as_met(request, market, met, model, sell, stages), market)


def _met(logged: Logged, request: DecisionRequest, view: MarketView, release: ActiveRelease, pacing: Pacing) -> Met:
    moment, now_ms = logged.moment, int(logged.said["time_ms"])
    catalogue = view.catalogue
    n = len(catalogue.campaign_ids)
    unlimited = np.full(n, UNLIMITED)
    verdicts = campaign_verdicts(
        catalogue, request.features, np.zeros(n, np.int64), unlimited, now_ms, view.market.blocked(request)
    )
    for reason, bits in moment.barred.items():
        if len(bits) != -(-n // 8) * 8:
            raise ContractError(f"moment.barred: expected bits of {n} campaigns, got {len(bits)}")
        verdicts[(bits[:n] != 0) & (verdicts == ELIGIBLE)] = reason
    days = catalogue.days.at(now_ms)
    return Met(now_ms, days, request.features, release, verdicts, pacing, moment.luck.again())


def _held(said: dict[str, Any]) -> set[str]:
    return {slot["campaign_id"] for slot in said["slots"] if slot["hold_micros"]}
