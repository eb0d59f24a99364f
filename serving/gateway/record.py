"""A decision as the event log keeps it."""

import numpy as np
from numpy.typing import NDArray

from domain.candidates import Source
from domain.events import CandidateLog, Decision, Slot
from domain.outcome import Reason
from serving.gateway.decide import Decided
from serving.gateway.market_view import MarketView
from serving.gateway.moment import moment

COLD_START = "cold-start"
SOURCE_NAMES = np.array([s.name.lower() for s in Source], dtype=object)
REASON_NAMES = {r.value: r.name.lower() for r in Reason}


def to_decision(decided: Decided, view: MarketView, rng: np.random.Generator) -> Decision:
    """All features as used, every winner's price and propensity, every candidate's fate or, unless drawn, the count of each."""
    share = 1.0 if decided.sale.explored else view.market.policy.log_candidates
    whole = share == 1.0 or rng.random() < share
    return as_logged(decided, view, 1 / share if whole else 0.0)


def as_logged(decided: Decided, view: MarketView, weight: float) -> Decision:
    """With all its candidates, each of this weight, or where that is 0 with the winners alone."""
    return Decision(
        decision_id=decided.request.decision_id,
        time_ms=decided.met.time_ms,
        day=decided.day,
        policy_id=view.market.policy.id,
        release=COLD_START if decided.ranked_by is None else str(decided.ranked_by),
        asked_by=decided.request.asked_by,
        shopper_key=decided.request.shopper_key,
        features=decided.met.features,
        slots=[_slot(decided, view, w) for w in range(len(decided.sale.winner))],
        candidates=all_candidates(decided, view, weight) if weight else _winners(decided, view),
        explored=decided.sale.explored,
        degraded=list(decided.stages.degraded),
        stage_us=dict(decided.stages.us),
        total_us=decided.stages.total_us,
        invalid=decided.request.invalid,
        catalogue=view.version,
        moment=moment(decided, view),
    )


def _slot(decided: Decided, view: MarketView, w: int) -> Slot:
    sale, catalogue = decided.sale, view.catalogue
    position, i = int(sale.slot[w]), int(sale.winner[w])
    offer = int(decided.live.offer[i])
    campaign = view.market.campaigns[int(catalogue.campaign[offer])]
    bids, seen = decided.bids, float(sale.examination[w])
    return Slot(
        position=position,
        placement=_placement_of(decided, position),
        impression_id=decided.request.impression_id(position),
        offer_id=catalogue.offer_ids[offer],
        campaign_id=campaign.id,
        advertiser=campaign.advertiser,
        bid_kind=campaign.bid_kind.value,
        bid_micros=campaign.bid_micros,
        price_micros=int(sale.price_micros[w]),
        hold_micros=decided.sold.held_micros[w],
        pacing_multiplier=float(decided.pacing_multiplier[i]),
        probability={task: float(p[i]) for task, p in decided.probability.items()},
        ecpm_micros=float(bids.ecpm_micros[i]) * (1.0 if bids.by_view[i] else seen),
        propensity=float(sale.propensity[w]),
        features=view.shown(offer).features,
        examination=seen,
    )


def _placement_of(decided: Decided, position: int) -> str:
    end = 0
    for placement in decided.request.placements:
        end += placement.count
        if position < end:
            return placement.name
    raise AssertionError(f"position {position} is not on the page")


def all_candidates(decided: Decided, view: MarketView, weight: float = 1.0) -> CandidateLog:
    """The ranked candidates first, then those removed before ranking, whose probabilities and eCPM are NaN: JSON null."""
    pool = decided.pool
    unknown = np.full(len(pool.removed), np.nan)

    def padded(ranked: NDArray[np.float64]) -> list[float]:
        return list(np.concatenate([ranked, unknown]).tolist())

    return CandidateLog(
        offer_id=view.offer_ids[np.concatenate([pool.kept.offer, pool.removed.offer])].tolist(),
        source=SOURCE_NAMES[np.concatenate([pool.kept.source, pool.removed.source])].tolist(),
        probability={task: padded(p) for task, p in decided.probability.items()},
        ecpm_micros=padded(decided.bids.ecpm_micros),
        reason=np.concatenate([decided.sale.reason, pool.reason]).tolist(),
        weight=weight,
    )


def _winners(decided: Decided, view: MarketView) -> CandidateLog:
    """The winners by slot; of the others, how many lost for which reason."""
    won, pool = decided.sale.winner, decided.pool
    return CandidateLog(
        offer_id=view.offer_ids[pool.kept.offer[won]].tolist(),
        source=SOURCE_NAMES[pool.kept.source[won]].tolist(),
        probability={task: p[won].tolist() for task, p in decided.probability.items()},
        ecpm_micros=decided.bids.ecpm_micros[won].tolist(),
        reason=decided.sale.reason[won].tolist(),
        weight=0.0,
        unlisted=_counts(decided),
    )


def _counts(decided: Decided) -> dict[str, int]:
    times = np.bincount(np.concatenate([decided.sale.reason, decided.pool.reason]))
    return {REASON_NAMES[code]: int(times[code]) for code in times.nonzero()[0].tolist() if code != Reason.WON}
