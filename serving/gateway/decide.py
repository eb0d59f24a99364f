"""The request path: one request becomes one decision."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auction.bids import Bids, effective_bids
from auction.examination import Examination
from domain.campaign import FeatureValue
from domain.candidates import Candidates
from domain.clock import budget_day
from domain.errors import ContractError
from domain.outcome import Sale
from domain.policy import Deadlines
from domain.request import DecisionRequest
from features.assemble import assemble, request_tensors
from retrieval.eligibility import Eligible, campaign_verdicts, shown_today, split
from serving.gateway.market_view import MarketView
from serving.gateway.means import Page
from serving.gateway.ports import ActiveRelease, Model, Ports, Shoppers
from serving.gateway.selling import sell_within_budgets
from serving.gateway.stages import Stages

Probabilities = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision as it was made, arrays and all; `logging` and `answer` turn it into what they need."""

    request: DecisionRequest
    time_ms: int
    day: int
    """Of the market."""
    days: NDArray[np.int64]
    """[C] budget day of each campaign."""
    ranked_by: int | None
    """Version of the release; None for the priors."""
    features: dict[str, FeatureValue]
    """Request features as used, history included."""
    pool: Eligible
    probability: Probabilities
    """Task -> [M], calibrated."""
    pacing_multiplier: NDArray[np.float64]
    """[M]"""
    bids: Bids
    reserve_ecpm_micros: NDArray[np.int64]
    examination: Examination
    sale: Sale
    held_micros: list[int]
    """[W] for each winner; 0 where its budget has no end, or nothing is billed."""
    stages: Stages

    @property
    def live(self) -> Candidates:
        """The M candidates that were eligible."""
        return self.pool.kept


async def decide(request: DecisionRequest, view: MarketView, ports: Ports, rng: np.random.Generator, now_ms: int) -> Decided:
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
    days = catalogue.days.at(now_ms)
    # All three are of the same catalogue, which may change once this waits for anything.
    release, campaigns = ports.releases.active(), ports.campaigns.state(now_ms)

    known = await _counters(request.shopper_key, policy.deadlines_ms, ports.shoppers, stages)
    counters = known or {}
    features = request.features | {f.name: f.default if known is None else counters.get(str(f.counter), 0) for f in view.history}
    if view.market.derived_features:
        features |= view.market.derive(features, now_ms)
    if campaigns.room_micros is None and view.has_budgets:
        stages.degrade("budgets")
    stages.lap("shopper")

    shown = shown_today(catalogue, counters, days)
    verdicts = campaign_verdicts(catalogue, features, shown, campaigns.room_micros, now_ms)
    query = await _query(features, view, release, ports.model, stages)
    pool = split(release.retriever.candidates(query, verdicts, rng), catalogue, verdicts)
    stages.lap("retrieval")

    probability, ranked_by = await _probabilities(features, view, release, pool.kept, ports.model, stages)
    stages.lap("ranking")

    pacing_multiplier = campaigns.pacing_multiplier[catalogue.campaign[pool.kept.offer]]
    bids = _bids(pool.kept, probability, pacing_multiplier, view)
    epsilon = policy.cold_start_epsilon if release.version is None else policy.epsilon
    # A prior is of wherever offers are shown; only the model's probabilities are of the first position.
    curve = release.examination if ranked_by is not None else None
    examination = None if curve is None else curve.at(request.n_slots, features)
    page = Page.of(request, policy, days, epsilon, examination)
    sale, held_micros = await sell_within_budgets(page, pool.kept, bids, catalogue, campaigns, ports, stages, rng)
    return Decided(
        request,
        now_ms,
        budget_day(now_ms, policy.day_length_s),
        days,
        ranked_by,
        features,
        pool,
        probability,
        pacing_multiplier,
        bids,
        page.reserve_ecpm_micros,
        examination,
        sale,
        held_micros,
        stages,
    )


async def _counters(shopper_key: str, deadlines: Deadlines, shoppers: Shoppers, stages: Stages) -> Mapping[str, int] | None:
    """The shopper's counters; None where they cannot be read."""
    return await stages.or_else(None, shoppers.counters(shopper_key, deadlines.shopper / 1000), "shopper")


async def _query(
    features: Mapping[str, FeatureValue], view: MarketView, release: ActiveRelease, model: Model, stages: Stages
) -> NDArray[np.float32] | None:
    """The shopper's query embedding, [D]; None where it is of no use or cannot be had."""
    if not release.retriever.needs_query:
        return None
    timeout_s = view.market.policy.deadlines_ms.retrieval / 1000
    return await stages.or_else(None, _embed(features, view, release, model, timeout_s), "retrieval")


async def _probabilities(
    features: Mapping[str, FeatureValue], view: MarketView, release: ActiveRelease, live: Candidates, model: Model, stages: Stages
) -> tuple[Probabilities, int | None]:
    """Probabilities of the live candidates, and the version they are from: None for the priors."""
    if release.version is not None and len(live):
        timeout_s = view.market.policy.deadlines_ms.ranking / 1000
        ranked = await stages.or_else(None, _rank(features, view, release, live, model, timeout_s), "ranker")
        if ranked is not None:
            return ranked, release.version
    return view.priors(len(live)), None


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
    )


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
) -> Probabilities:
    """Calibrated probabilities of the live candidates, task -> [M] in (0, 1)."""
    tensors = assemble(view.market, features, view.columns, live.offer)
    outputs = await model.predict("serving_default", release.version, tensors, timeout_s)
    calibrator = release.calibrator
    assert calibrator is not None
    slices = view.slices(calibrator.slices, features, live.offer)
    probability: Probabilities = {}
    for task in view.task_names:
        raw = outputs.get(task)
        if raw is None or raw.shape != (len(live),) or not ((raw >= 0) & (raw <= 1)).all():
            raise ContractError(f"release {release.version}: expected {len(live)} probabilities of {task}, got {raw}")
        probability[task] = calibrator.apply(task, raw, slices)
    return probability
