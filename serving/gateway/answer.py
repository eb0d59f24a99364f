"""A decision as the page gets it. Plain dictionaries, in the shape of schema.DecisionAnswer."""

import math
from collections import Counter
from typing import Any

from auction.examination import left_of
from domain.campaign import BidKind
from domain.events import Decision, Slot
from domain.money import MAX_MICROS, expected_micros, to_price_micros
from domain.outcome import Reason
from serving.gateway.decide import Decided
from serving.gateway.market_view import MarketView
from serving.gateway.record import all_candidates
from serving.gateway.tokens import Sold, Tokens

NOT_FOR_ITS_BID = (Reason.WON, Reason.BUDGET, Reason.BUDGET_UNKNOWN)
"""Fates of ranked candidates that another bid would not have changed."""
NO_CANDIDATES = {"code": None, "name": "no_candidates"}


def to_answer(
    decided: Decided, decision: Decision, view: MarketView, tokens: Tokens, public_url: str, *, pricing: bool
) -> dict[str, Any]:
    """The answer to POST /v1/decisions."""
    request = decided.request
    placements, end = [], 0
    for placement in request.placements:
        start, end = end, end + placement.count
        slots = [s for s in decision.slots if start <= s.position < end]
        offers = [_offer(s, decided, view, tokens, public_url, pricing=pricing) for s in slots]
        placements.append({"name": placement.name, "offers": offers, "reason": None if offers else no_fill(decided)})
    answer: dict[str, Any] = {
        "decision_id": decision.decision_id,
        "shopper_key": decision.shopper_key,
        "release": decision.release,
        "policy": decision.policy_id,
        "test": request.test,
        "degraded": decision.degraded,
        "placements": placements,
    }
    if request.explain:
        answer["explain"] = explain(decided, decision, view)
    return answer


def _offer(slot: Slot, decided: Decided, view: MarketView, tokens: Tokens, public_url: str, *, pricing: bool) -> dict[str, Any]:
    offer = view.offer(slot.offer_id)
    assert offer is not None
    conversion = view.market.conversion_task
    pending_micros = 0
    if slot.bid_kind == BidKind.CPA and conversion is not None:
        pending_micros = expected_micros(slot.price_micros, slot.probability[conversion.name])
    token = tokens.write(
        Sold(
            decision_id=decided.request.decision_id,
            impression_id=slot.impression_id,
            offer_id=slot.offer_id,
            campaign_id=slot.campaign_id,
            advertiser=slot.advertiser,
            position=slot.position,
            bid_kind=slot.bid_kind,
            price_micros=slot.price_micros,
            day=int(decided.met.days[view.catalogue.campaign[view.offers.position_of[slot.offer_id]]]),
            shopper_key=decided.request.shopper_key,
            issued_ms=decided.met.time_ms,
            test=decided.request.test,
            asked_by=decided.request.asked_by,
            pending_micros=pending_micros,
        )
    )
    answer = {
        "position": slot.position,
        "impression_id": slot.impression_id,
        "offer_id": slot.offer_id,
        "campaign_id": slot.campaign_id,
        "advertiser": slot.advertiser,
        "title": offer.title,
        "body": offer.body,
        "impression_url": f"{public_url}/v1/i/{token}",
        "click_url": f"{public_url}/v1/c/{token}",
        "token": token,
    }
    if offer.image is not None:
        answer["image"] = offer.image.model_dump()
    if offer.video is not None:
        answer["video"] = offer.video.model_dump()
    if pricing:
        answer["pricing"] = {
            "price_micros": slot.price_micros,
            "bid_kind": slot.bid_kind,
            "currency": view.market.currency,
            "probability": slot.probability,
            "ecpm_micros": slot.ecpm_micros,
        }
    return answer


def reason(code: int) -> dict[str, Any]:
    """A code with its name."""
    return {"code": code, "name": Reason(code).name.lower()}


def no_fill(decided: Decided) -> dict[str, Any]:
    """Why a placement stayed empty: what happened to most candidates that did not win."""
    lost = Counter(r for r in (*decided.sale.reason.tolist(), *decided.pool.reason.tolist()) if r != Reason.WON)
    return reason(lost.most_common(1)[0][0]) if lost else dict(NO_CANDIDATES)


def explain(decided: Decided, decision: Decision, view: MarketView) -> dict[str, Any]:
    """Every candidate's fate, for operators."""
    log = all_candidates(decided, view)
    cheapest = {by_view: _cheapest_slot_ecpm(decided, by_view) for by_view in (False, True)}
    candidates = []
    for i, offer_id in enumerate(log.offer_id):
        campaign = view.campaign_of(offer_id)
        ranked = i < len(decided.live)
        outbid = ranked and log.reason[i] not in NOT_FOR_ITS_BID
        candidates.append(
            {
                "offer_id": offer_id,
                "campaign_id": campaign.id,
                "advertiser": campaign.advertiser,
                "source": log.source[i],
                "reason": reason(log.reason[i]),
                "probability": {task: _known(p[i]) for task, p in log.probability.items()},
                "bid_micros": campaign.bid_micros,
                "pacing_multiplier": float(decided.pacing_multiplier[i]) if ranked else None,
                "ecpm_micros": _known(log.ecpm_micros[i]),
                "bid_to_win_micros": _bid_to_win(decided, i, cheapest[bool(decided.bids.by_view[i])], campaign.bid_kind)
                if outbid
                else None,
            }
        )
    by_slot = {} if decided.examination is None else {"examination": decided.examination.tolist()}
    return {
        "features": decided.met.features,
        "reserve_ecpm_micros": decided.reserve_ecpm_micros.tolist(),
        **by_slot,
        "candidates": candidates,
        "stage_us": decision.stage_us,
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _cheapest_slot_ecpm(decided: Decided, by_view: bool) -> float:
    """Least eCPM at the first position that would have won something: an empty slot's reserve, or more than the lowest winner."""
    sale, bids = decided.sale, decided.bids
    asked = decided.reserve_ecpm_micros.astype(float)
    asked[sale.slot] = bids.ecpm_micros[sale.winner] * left_of(bids, sale.winner, sale.examination)
    if not by_view and decided.examination is not None:
        asked /= decided.examination
    return float(asked.min()) if len(asked) else 0.0


def _bid_to_win(decided: Decided, i: int, ecpm_micros: float, kind: BidKind) -> int | None:
    """The campaign's bid at which this candidate's paced eCPM exceeds `ecpm_micros`; none where it is paced to nothing."""
    multiplier = float(decided.pacing_multiplier[i])
    if multiplier == 0.0:
        return None
    per_event = ecpm_micros / (1000.0 * float(decided.bids.quality[i]) * multiplier)
    return to_price_micros(min(per_event * (1000.0 if kind is BidKind.CPM else 1.0), MAX_MICROS - 1), MAX_MICROS) + 1
