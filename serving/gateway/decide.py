"""The request path: one request becomes one decision."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auction.bids import Bids, effective_bids
from auction.examination import Examination
from domain.campaign import FeatureValue
from domain.candidates import Candidates
from domain.clock import budget_day
from domain.errors import ContractError
from domain.luck import Luck
from domain.outcome import Sale
from domain.policy import Deadlines
from domain.request import DecisionRequest
from features.assemble import assemble, request_tensors
from retrieval.eligibility import Eligible, campaign_verdicts, shown_today, split
from serving.gateway.market_view import MarketView
from serving.gateway.means import Page
from serving.gateway.ports import ActiveRelease, Model, Ports, Shoppers
from serving.gateway.selling import Sold, sell_within_budgets
from serving.gateway.stages import Stages

Raw = dict[str, NDArray[np.float32]]
Probabilities = dict[str, NDArray[np.float64]]


Pacing = Callable[[NDArray[np.int32]], NDArray[np.float64]]
"""Campaigns of candidates [M] -> their multipliers [M]."""
Sell = Callable[[Page, Candidates, Bids], Awaitable[Sold]]


@dataclass(frozen=True, slots=True)
class Met:
    """What a decision meets when it is made, and nothing can find out again later."""

    time_ms: int
    days: NDArray[np.int64]
    """[C] budget day of each campaign."""
    features: dict[str, FeatureValue]
    """Request features as used, history included."""
    release: ActiveRelease
    verdicts: NDArray[np.int16]
    """[C] what stands against each campaign, see `campaign_verdicts`."""
    pacing: Pacing
    luck: Luck


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision as it was made, arrays and all; `logging` and `answer` turn it into what they need."""

    request: DecisionRequest
    met: Met
    day: int
    """Of the market."""
    ranked_by: int | None
    """Version of the release; None for the priors."""
    pool: Eligible
    raw: Raw
    """Task -> [M], as the model said; empty where the priors rank."""
    probability: Probabilities
    """Task -> [M], calibrated."""
    pacing_multiplier: NDArray[np.float64]
    """[M]"""
    bids: Bids
    reserve_ecpm_micros: NDArray[np.int64]
    examination: Examination
    sold: Sold
    """`held_micros` is 0 where a budget has no end, or nothing is billed."""
    stages: Stages

    @property
    def sale(self) -> Sale:
        """Who was sold what."""
        return self.sold.sale

    @property
    def live(self) -> Candidates:
        """The M candidates that were eligible."""
        return self.pool.kept


async def decide(request: DecisionRequest, view: MarketView, ports: Ports, luck: Luck, now_ms: int) -> Decided:
    """Finds, ranks, auctions and reserves.

    A stage that misses its share of the deadline falls back and is named in `degraded`:

        shopper     a shopper without history
        retrieval   the rule sources alone
        ranker      the priors, as before the first release
        budgets     offers with a budget are not sold
        caps        frequency caps as counted when the page was asked for, not as reserved
    """
    policy, catalogue = view.market.policy, view.catalogue
    stages = Stages()
    # All three are of the same catalogue, which may change once this waits for anything.
    release, campaigns = ports.releases.active(), ports.campaigns.state(now_ms)

    known = await _counters(request, policy.deadlines_ms, ports.shoppers, stages)
    counters = known or {}
    features = request.features | {f.name: f.default if known is None else counters.get(str(f.counter), 0) for f in view.history}
    if view.market.derived_features:
        features |= view.market.derive(features, now_ms)
    if campaigns.room_micros is None and view.has_budgets:
        stages.degrade("budgets")
    stages.lap("shopper")

    days = catalogue.days.at(now_ms)
    shown = shown_today(catalogue, counters, days)
    verdicts = campaign_verdicts(catalogue, features, shown, campaigns.room_micros, now_ms, view.market.blocked(request))
    met = Met(now_ms, days, features, release, verdicts, campaigns.pacing_multiplier.__getitem__, luck)

    def sell(page: Page, live: Candidates, bids: Bids) -> Awaitable[Sold]:
        return sell_within_budgets(page, live, bids, catalogue, campaigns, ports, stages, luck)

    return await decide_as_met(request, view, met, ports.model, sell, stages)


async def decide_as_met(
    request: DecisionRequest, view: MarketView, met: Met, model: Model, sell: Sell, stages: Stages
) -> Decided:
    """The rest of a decision, which a replay goes through as well: asks nothing but the model, and what is for sale.

    Args:
      sell: the page among its bidders.
    """
    policy, catalogue = view.market.policy, view.catalogue
    features, release = met.features, met.release
    query = await _query(request.time_share, features, view, release, model, stages)
    pool = split(release.retriever.candidates(query, met.verdicts, met.luck), catalogue, met.verdicts, request.blocked.offers)
    stages.lap("retrieval")

    raw, probability, ranked_by = await _probabilities(request.time_share, features, view, release, pool.kept, model, stages)
    stages.lap("ranking")

    pacing_multiplier = met.pacing(catalogue.campaign[pool.kept.offer])
    bids = _bids(pool.kept, probability, pacing_multiplier, view)
    epsilon = policy.cold_start_epsilon if release.version is None else policy.epsilon
    # A prior is of wherever offers are shown; only the model's probabilities are of the first position.
    curve = release.examination if ranked_by is not None else None
    examination = None if curve is None else curve.at(request.n_slots, features)
    page = Page.of(request, policy, met.days, epsilon, examination)
    sold = await sell(page, pool.kept, bids)
    return Decided(
        request,
        met,
        budget_day(met.time_ms, policy.day_length_s),
        ranked_by,
        pool,
        raw,
        probability,
        pacing_multiplier,
        bids,
        page.reserve_ecpm_micros,
        examination,
        sold,
        stages,
    )


async def _counters(
    request: DecisionRequest, deadlines: Deadlines, shoppers: Shoppers, stages: Stages
) -> Mapping[str, int] | None:
    """The shopper's counters; None where they cannot be read."""
    return await stages.or_else(
        None, shoppers.counters(request.shopper_key, request.time_share * deadlines.shopper / 1000), "shopper"
    )


async def _query(
    time_share: float,
    features: Mapping[str, FeatureValue],
    view: MarketView,
    release: ActiveRelease,
    model: Model,
    stages: Stages,
) -> NDArray[np.float32] | None:
    """The shopper's query embedding, [D]; None where it is of no use or cannot be had."""
    if not release.retriever.needs_query:
        return None
    timeout_s = time_share * view.market.policy.deadlines_ms.retrieval / 1000
    return await stages.or_else(None, _embed(features, view, release, model, timeout_s), "retrieval")


async def _probabilities(
    time_share: float,
    features: Mapping[str, FeatureValue],
    view: MarketView,
    release: ActiveRelease,
    live: Candidates,
    model: Model,
    stages: Stages,
) -> tuple[Raw, Probabilities, int | None]:
    """Probabilities of the live candidates, and the version they are from: None for the priors."""
    if release.version is not None and len(live):
        timeout_s = time_share * view.market.policy.deadlines_ms.ranking / 1000
        ranked = await stages.or_else(None, _rank(features, view, release, live, model, timeout_s), "ranker")
        if ranked is not None:
            return *ranked, release.version
    return {}, view.priors(len(live)), None


def _bids(live: Candidates, probability: Probabilities, pacing_multiplier: NDArray[np.float64], view: MarketView) -> Bids:
    pctr, pcvr = view.click_and_conversion(probability)
    catalogue, offer = view.catalogue, live.offer
    return effective_bids(
        advertiser=catalogue.advertiser[offer],
        bid_kind=catalogue.bid_kind[offer],
        bid_micros=catalogue.bid_micros[offer],
        pctr=pctr,
        pcvr=pcvr,
        pacing_multiplier=pacing_multiplier,
        group=None if catalogue.group is None else catalogue.group[offer],
        tier=_tiers(catalogue.tier, offer),
    )


def _tiers(tier: NDArray[np.uint8] | None, offer: NDArray[np.int32]) -> NDArray[np.uint8] | None:
    """[M] of some offers; None where all are of one."""
    if tier is None or not len(offer) or ((of_each := tier[offer]) == of_each[0]).all():
        return None
    return of_each


async def _embed(
    features: Mapping[str, FeatureValue], view: MarketView, release: ActiveRelease, model: Model, timeout_s: float
) -> NDArray[np.float32]:
    """The shopper's query embedding, [D]."""
    outputs = await model.predict("query", release.version, request_tensors(view.market, features), timeout_s)
    query, ann = outputs.get("embedding"), release.retriever.ann
    assert ann is not None
    dim = ann.index.embeddings.shape[1]
    if query is None or query.shape != (1, dim) or not np.isfinite(query).all():
        raise ContractError(f"release {release.version}: expected a finite embedding [1, {dim}], got {query}")
    embedding: NDArray[np.float32] = query[0].astype(np.float32, copy=False)
    return embedding


async def _rank(
    features: Mapping[str, FeatureValue],
    view: MarketView,
    release: ActiveRelease,
    live: Candidates,
    model: Model,
    timeout_s: float,
) -> tuple[Raw, Probabilities]:
    """Probabilities of the live candidates, task -> [M] in [0, 1], and calibrated, in (0, 1)."""
    tensors = assemble(view.market, features, view.columns, live.offer)
    outputs = await model.predict("serving_default", release.version, tensors, timeout_s)
    calibrator = release.calibrator
    assert calibrator is not None
    slices = view.slices(calibrator.slices, features, live.offer)
    said, probability = Raw(), Probabilities()
    for task in view.task_names:
        raw = outputs.get(task)
        if raw is None or raw.shape != (len(live),) or not ((raw >= 0) & (raw <= 1)).all():
            raise ContractError(f"release {release.version}: expected {len(live)} probabilities of {task}, got {raw}")
        said[task], probability[task] = raw, calibrator.apply(task, raw, slices)
    return said, probability
