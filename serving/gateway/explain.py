"""Every candidate of a decision: what it was worth, how far it came, why no further, and which bid would have won."""

import math
from dataclasses import replace
from typing import Any, Final

import numpy as np

from auction.bids import Bids
from auction.examination import left_of
from auction.gsp import best_slate
from auction.needed import Offer, bid_to_win
from domain.campaign import IMPRESSIONS_PER_CPM
from domain.events import Decision
from domain.money import MAX_MICROS, to_price_micros
from domain.outcome import Reason
from serving.gateway.decide import Decided
from serving.gateway.market_view import MarketView
from serving.gateway.record import all_candidates

WORDS: Final = {
    Reason.WON: "Shown.",
    Reason.BELOW_FLOOR: "Worth less than the floor of every slot.",
    Reason.OUTBID: "It could have been shown, but others were worth more.",
    Reason.ADVERTISER_EXCLUSION: "Another offer of the same advertiser is on the page.",
    Reason.BUDGET: "The day's budget has no room left for what its place on the page may cost.",
    Reason.FREQUENCY_CAP: "This shopper has seen the campaign as often as its cap allows.",
    Reason.TARGETING: "The campaign does not target this request.",
    Reason.SCHEDULE: "The campaign does not run at this time.",
    Reason.BUDGET_UNKNOWN: "The budget could not be read, or is not open; what has one is not sold then.",
    Reason.NOT_EXPLORED: "The page was drawn at random, and this offer was not drawn.",
    Reason.CATEGORY_EXCLUSION: "One of the campaign's categories is blocked by the request, a placement or the market.",
    Reason.BLOCKED: "The offer or its advertiser is blocked by the request, a placement or the market.",
    Reason.COMPETITOR: "A rival that it must not stand beside is on the page.",
    Reason.OUTRANKED: "Every slot it was worth the floor of went to a campaign of a higher tier.",
    Reason.DAY_PART: "The campaign is not shown at this hour of the week.",
}
"""Why, for a person."""
NOT_FOR_ITS_BID = (Reason.WON, Reason.BUDGET, Reason.BUDGET_UNKNOWN, Reason.FREQUENCY_CAP)
"""Fates of ranked candidates that another bid would not have changed."""


def reason(code: int) -> dict[str, Any]:
    """A code with its name."""
    return {"code": code, "name": Reason(code).name.lower()}


def explain(decided: Decided, decision: Decision, view: MarketView) -> dict[str, Any]:
    """The fate of every candidate, for operators."""
    log, prices = all_candidates(decided, view), _Prices(decided, view)
    slot = {int(i): w for w, i in enumerate(decided.sale.winner)}
    bids, ranked_ones = decided.bids, len(decided.live)
    candidates = []
    for i, offer_id in enumerate(log.offer_id):
        campaign, ranked, code = view.campaign_of(offer_id), i < ranked_ones, log.reason[i]
        won = slot.get(i) if ranked else None
        candidates.append(
            {
                "offer_id": offer_id,
                "campaign_id": campaign.id,
                "advertiser": campaign.advertiser,
                "source": log.source[i],
                "stage": _stage(code, ranked=ranked),
                "reason": reason(code),
                "why": WORDS.get(Reason(code), reason(code)["name"]),
                "raw": {task: float(p[i]) for task, p in decided.raw.items()} if ranked else None,
                "probability": {task: _known(p[i]) for task, p in log.probability.items()},
                "bid_micros": campaign.bid_micros,
                "pacing_multiplier": float(decided.pacing_multiplier[i]) if ranked else None,
                "paced_bid_micros": int(bids.bid_micros[i]) if ranked else None,
                "quality": float(bids.quality[i]) if ranked else None,
                "ecpm_micros": _known(log.ecpm_micros[i]),
                "position": None if won is None else int(decided.sale.slot[won]),
                "price_micros": None if won is None else int(decided.sale.price_micros[won]),
                "bid_to_win_micros": prices.to_win(i) if ranked and code not in NOT_FOR_ITS_BID else None,
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


def _stage(code: int, *, ranked: bool) -> str:
    if code == Reason.WON:
        return "page"
    if not ranked:
        return "eligibility"
    return "hold" if code in (Reason.BUDGET, Reason.BUDGET_UNKNOWN, Reason.FREQUENCY_CAP) else "auction"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


class _Prices:
    """What a place on the page by eCPM would have cost."""

    def __init__(self, decided: Decided, view: MarketView) -> None:
        self._decided = decided
        self._campaign = view.catalogue.campaign[decided.live.offer]
        # Whoever was unable stays so; it is the page by eCPM that a bid wins.
        unable = [u.campaign for u in decided.sold.unable if (not u.otherwise if decided.sale.explored else u.why)]
        out = np.isin(self._campaign, unable)
        bids = decided.bids
        self._bids = replace(bids, bid_micros=np.where(out, 0, bids.bid_micros), ecpm_micros=np.where(out, 0.0, bids.ecpm_micros))
        self._guess = {by_view: self._cheapest(by_view=by_view) for by_view in (False, True)}

    def to_win(self, i: int) -> int | None:
        """Least bid of its campaign with which a ranked candidate is on the page."""
        decided, bids = self._decided, self._bids
        multiplier = float(decided.pacing_multiplier[i])
        if multiplier == 0.0:
            return None
        by_view = bool(bids.by_view[i])
        per_event = self._guess[by_view] / (1000.0 * float(bids.quality[i]) * multiplier)
        guess = to_price_micros(min(per_event * (IMPRESSIONS_PER_CPM if by_view else 1), MAX_MICROS - 1.0), MAX_MICROS) + 1
        return bid_to_win(
            Offer(i, self._campaign == self._campaign[i], multiplier), bids, guess, lambda those: i in self._page(those)
        )

    def _page(self, bids: Bids) -> list[int]:
        page: list[int] = best_slate(bids, self._decided.reserve_ecpm_micros, self._decided.examination).winner.tolist()
        return page

    def _cheapest(self, *, by_view: bool) -> float:
        """Least eCPM at the first position that a slot asks for: an empty one its reserve, others more than their winner's."""
        decided = self._decided
        sale, bids, asked = decided.sale, decided.bids, decided.reserve_ecpm_micros.astype(float)
        asked[sale.slot] = bids.ecpm_micros[sale.winner] * left_of(bids, sale.winner, sale.examination)
        if not by_view and decided.examination is not None:
            asked /= decided.examination
        return float(asked.min()) if len(asked) else 0.0
