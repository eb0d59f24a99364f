"""Who can pay for a place on the page, and may still be shown to its shopper: as last read, then as asked."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from auction.bids import Bids
from auction.contenders import Contenders
from auction.examination import Examination
from auction.reserve import slot_reserves
from domain.campaign import BidKind
from domain.candidates import Candidates
from domain.money import to_prices_micros
from domain.outcome import Reason, Sale, Slate
from domain.policy import Policy
from domain.request import DecisionRequest
from retrieval.catalogue import UNLIMITED, Catalogue
from serving.gateway.ports import CampaignState, CapItem, Grant, HoldItem, Ports
from serving.gateway.stages import Stages

SAFE_ASKS = 20
SAFE_DRAINS = 4
"""A budget is safe while it has room for so many pages like this one and so many times what it lost between the last two
readings. Nobody asks for its room then, unless it is to be sold."""

CPA = BidKind.CPA.code
OUT_OF_BUDGET = np.int16(Reason.BUDGET)

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Page:
    """What is for sale, to whom, and on which terms."""

    decision_id: str
    shopper_key: str | None
    """None where nobody knows who it is: frequency caps cannot be enforced then."""
    days: NDArray[np.int64]
    """[C] budget day of each campaign."""
    reserve_ecpm_micros: NDArray[np.int64]
    """[S] by slot in page order."""
    epsilon: float
    least_bid_share: float
    explored_bid_share: float
    timeout_s: float
    billable: bool = True
    patience: float = 1.0
    """In (0, 1], see `Budgets.hold`."""
    examination: Examination = None
    """[S], see `auction.examination`."""

    @classmethod
    def of(
        cls, request: DecisionRequest, policy: Policy, days: NDArray[np.int64], epsilon: float, examination: Examination = None
    ) -> Self:
        """The page that a request asks for."""
        return cls(
            decision_id=request.decision_id,
            shopper_key=request.shopper_key if request.knows_shopper else None,
            days=days,
            reserve_ecpm_micros=slot_reserves(request.placements, policy.reserve_ecpm_micros),
            epsilon=epsilon,
            least_bid_share=policy.least_bid_share,
            explored_bid_share=policy.explored_bid_share,
            timeout_s=request.time_share * policy.deadlines_ms.hold / 1000,
            billable=request.reserves,
            patience=request.patience,
            examination=examination,
        )


def hold_micros(price_micros: NDArray[np.int64], bid_kind: NDArray[np.uint8], quality: NDArray[np.float64]) -> NDArray[np.int64]:
    """What is held for a price, [N]: all of it, or where conversions are billed what an impression is expected to be charged."""
    on_conversion = (bid_kind == CPA).nonzero()[0]
    if not len(on_conversion):
        return price_micros
    price, held = price_micros[on_conversion], price_micros.copy()
    held[on_conversion] = np.maximum(to_prices_micros(price * quality[on_conversion], price), np.minimum(price, 1))
    return held


def to_hold(sale: Sale, bids: Bids, bid_kind: NDArray[np.uint8]) -> list[int]:
    """[W] micros to be held for what was sold. bid_kind: [N]."""
    winner = sale.winner
    micros: list[int] = hold_micros(sale.price_micros, bid_kind[winner], bids.quality[winner] * sale.examination).tolist()
    return micros


class Means:
    """What is known of the means of K contenders, and what was taken of them for this page.

    A contender is able to be on a page by eCPM, or on one drawn at random, if it has room for what either needs held. Both are
    known of everyone who matters, so that propensities are exact; held is what this page needs.
    """

    def __init__(
        self, page: Page, contenders: Contenders, live: Candidates, catalogue: Catalogue, state: CampaignState, *, drawn: bool
    ) -> None:
        """Before anything is asked. Whoever is known to have too little for either kind of page is out."""
        self._page, self._contenders, self._catalogue = page, contenders, catalogue
        best, bids = contenders.best, contenders.bids
        # In whichever slot: what is expected of one that is looked at less is less.
        quality = bids.quality if page.examination is None else bids.quality * page.examination.max()
        self._campaign, self._kinds = catalogue.campaign[live.offer[best]], catalogue.bid_kind[live.offer]
        self._kind, of_best = self._kinds[best], quality[best]
        self._room = np.full(len(best), UNLIMITED) if state.room_micros is None else state.room_micros[self._campaign]

        # No price exceeds the bid. Where all are safe, it does not matter by how much they fall short, nor how this is rounded.
        most = bids.bid_micros[best] * np.where(self._kind == CPA, of_best, 1.0) + 1.0
        self._safe: Mask = self._room >= SAFE_ASKS * most + SAFE_DRAINS * state.drain_micros[self._campaign]
        self._price = contenders.most_ranked_micros(page.least_bid_share)
        self._needs_ranked = self._needs_drawn = hold_micros(self._price, self._kind, of_best)
        unsafe = not self._safe.all()
        if drawn or (unsafe and page.epsilon > 0.0):
            of_offers = hold_micros(contenders.most_drawn_micros(page.explored_bid_share), self._kinds, quality)
            self._needs_drawn = contenders.largest(of_offers)
        self._needs = self._needs_drawn if drawn else self._needs_ranked

        self._unheld: Mask = (self._room < UNLIMITED) & (self._needs > 0) & page.billable
        capped = catalogue.frequency_cap[self._campaign] != UNLIMITED
        self._unreserved: Mask = capped & (page.billable and page.shopper_key is not None)
        self._unasked: Mask = self._unheld & ~self._safe
        """Room that matters, is not sure and was not asked for."""
        self._in: Mask = np.ones(len(best), dtype=bool)
        self._why = np.zeros(len(best), dtype=np.int16)
        self._holds: dict[int, HoldItem] = {}
        self._doubtful: list[HoldItem] = []
        self._reserved: list[int] = []
        if unsafe:
            possible = [n for n, p in ((self._needs_ranked, 1 - page.epsilon), (self._needs_drawn, page.epsilon)) if p > 0]
            self._leave(self._room < np.min(possible, axis=0), Reason.BUDGET)

    @property
    def settled(self) -> Mask:
        """[K] able to be on this page, and nothing is left to be asked before it is sold."""
        settled: Mask = self._in & ~self._unheld & ~self._unreserved
        return settled

    @property
    def trusted(self) -> Mask:
        """[K] settled, or so well off by the last reading that asking is a formality. Counters of caps were read just now."""
        trusted: Mask = self._in & (~self._unheld | self._safe)
        return trusted

    @property
    def able(self) -> Mask:
        """[K] able to be on this page, by all that is known."""
        return self._with_room_for(self._needs)

    @property
    def able_ranked(self) -> Mask:
        """[K] the same for a page by eCPM."""
        return self._with_room_for(self._needs_ranked)

    @property
    def able_drawn(self) -> Mask:
        """[K] the same for a page drawn at random."""
        return self._with_room_for(self._needs_drawn)

    @property
    def reason(self) -> NDArray[np.int16]:
        """[K] why a contender cannot be on this page, 0 where it can."""
        return np.where(self._in & (self._room < self._needs), OUT_OF_BUDGET, self._why)

    def _with_room_for(self, micros: NDArray[np.int64]) -> Mask:
        able: Mask = self._in & (self._room >= micros)
        return able

    def _leave(self, who: Mask | int, why: Reason) -> None:
        self._in[who] = False
        self._why[who] = why

    async def ask(self, may_win: NDArray[np.bool_], expected: Slate | None, ports: Ports, stages: Stages) -> bool:
        """Holds and reserves what is needed of those that may win; of the others that are not safe, asks for their room.

        One round trip. Where holds cannot be had, whoever needs one is out; where caps cannot be reserved, the counters decide.

        Args:
          expected: the page by eCPM if nobody proves unable: its slots say what to expect of conversions. None: of any slot.
        Returns:
          Whether there was anything to ask.
        """
        page = self._page
        hold = np.flatnonzero(may_win & self._unheld).tolist()
        reserve = np.flatnonzero(may_win & self._unreserved).tolist()
        probe = np.flatnonzero(self._unasked & self._in & ~may_win).tolist() if page.epsilon > 0.0 else []
        needs = self._needs if expected is None else self._needs_in(expected)
        items = [self._item(k, int(needs[k])) for k in hold] + [self._item(k, 0) for k in probe]
        caps = [CapItem(self._id(k), self._day(k), int(self._catalogue.frequency_cap[self._campaign[k]])) for k in reserve]

        async def granted() -> Sequence[Grant] | None:
            return (
                await stages.or_else(None, ports.budgets.hold(items, page.timeout_s, page.patience), "budgets") if items else []
            )

        async def allowed() -> Sequence[bool] | None:
            if not caps or page.shopper_key is None:
                return []
            return await stages.or_else(
                None, ports.caps.reserve(page.shopper_key, page.decision_id, caps, page.timeout_s), "caps"
            )

        # Two tasks cost more than one call.
        grants, shown = await asyncio.gather(granted(), allowed()) if items and caps else (await granted(), await allowed())
        if grants is None:
            self._doubtful = [i for i in items if i.micros]
            self._leave(self._unheld, Reason.BUDGET_UNKNOWN)
        else:
            for k, item, grant in zip([*hold, *probe], items, grants, strict=True):
                self._take(k, item, grant, ports)
        if shown is None:
            self._unreserved[:] = False
            self._reserved += reserve  # perhaps
        else:
            for k, allow in zip(reserve, shown, strict=True):
                self._unreserved[k] = False
                if allow:
                    self._reserved.append(k)
                else:
                    self._leave(k, Reason.FREQUENCY_CAP)
        return bool(items or caps)

    def _take(self, k: int, item: HoldItem, grant: Grant, ports: Ports) -> None:
        self._unasked[k] = False
        if grant.room_micros is None:
            self._leave(k, Reason.BUDGET_UNKNOWN)
            return
        ports.campaigns.learn(item.campaign_id, item.day, grant.room_micros)
        self._room[k] = grant.room_micros
        if item.micros and grant.held:
            self._room[k] += item.micros
            self._unheld[k] = False
            self._holds[k] = item
        elif item.micros:
            self._room[k] = min(grant.room_micros, item.micros - 1)

    def _needs_in(self, slate: Slate) -> NDArray[np.int64]:
        """[K] what a page by eCPM needs held, of its winners in their slots."""
        if self._page.examination is None or self._needs is not self._needs_ranked:
            return self._needs
        k, needs = self._contenders.number[slate.winner], self._needs.copy()
        seen = self._contenders.bids.quality[slate.winner] * self._page.examination[slate.slot]
        needs[k] = hold_micros(self._price[k], self._kind[k], seen)
        return needs

    def expect_any_slot(self) -> None:
        """What is held for one slot is not enough where another may be won: it has to be asked for again."""
        for k, item in self._holds.items():
            self._unheld[k] = item.micros < self._needs[k]

    def close(self, sale: Sale, ports: Ports) -> list[int]:
        """Gives back what was taken and not sold.

        Returns:
          [W] micros that stay held for each winner.
        """
        page, winners = self._page, self._contenders.number[sale.winner].tolist()
        sold = dict(zip(winners, to_hold(sale, self._contenders.bids, self._kinds), strict=True))
        lowered = [replace(i, micros=sold.get(k, 0)) for k, i in self._holds.items() if sold.get(k, 0) != i.micros]
        if lowered or self._doubtful:
            ports.budgets.keep(lowered + [replace(i, micros=0) for i in self._doubtful])
        unshown = [self._id(k) for k in self._reserved if k not in sold]
        if unshown and page.shopper_key is not None:
            ports.caps.give_back(page.shopper_key, page.decision_id, unshown)
        return [sold[k] if k in self._holds else 0 for k in winners]

    def _id(self, k: int) -> str:
        return self._catalogue.campaign_ids[int(self._campaign[k])]

    def _day(self, k: int) -> int:
        return int(self._page.days[self._campaign[k]])

    def _item(self, k: int, micros: int) -> HoldItem:
        # The price by eCPM on both kinds of page, since it enters the room that is answered.
        event_micros = int(self._price[k]) if self._kind[k] == CPA else 0
        return HoldItem(self._id(k), self._page.decision_id, self._day(k), micros, event_micros)
