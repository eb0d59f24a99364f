"""A decision as the page gets it. Plain dictionaries, in the shape of schema.DecisionAnswer."""

from collections import Counter
from typing import Any

from domain.campaign import BidKind
from domain.events import Decision, Slot
from domain.money import expected_micros
from domain.outcome import Reason
from serving.gateway.decide import Decided
from serving.gateway.explain import explain, reason
from serving.gateway.market_view import MarketView
from serving.gateway.tokens import Sold, Tokens

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


def no_fill(decided: Decided) -> dict[str, Any]:
    """Why a placement stayed empty: what happened to most candidates that did not win."""
    lost = Counter(r for r in (*decided.sale.reason.tolist(), *decided.pool.reason.tolist()) if r != Reason.WON)
    return reason(lost.most_common(1)[0][0]) if lost else dict(NO_CANDIDATES)
