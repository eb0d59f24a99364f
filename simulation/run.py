"""Lets simulated shoppers meet a real gateway over HTTP.

Open loop: purchases arrive when they arrive, however slow the answers are. Whoever finds too many calls under way is not
sent and counted as skipped, so that a gateway that hangs costs bounded memory.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from domain.campaign import BidKind
from features.market import Market
from simulation.best_policy import Valuation
from simulation.client import Answer, GatewayClient, Shown, decision_request
from simulation.faults import CLICK_AT_ONCE_S, Fault, FaultFile
from simulation.shoppers import Purchase, Shoppers, arrivals_ms
from simulation.tally import Phase, Tally
from simulation.world import World

MAX_DECISIONS_UNDER_WAY = 50
DRAIN_S = 8.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One request and its answer, to show."""

    request: dict[str, Any]
    answer: dict[str, Any]


class Simulation:
    """One run: `run` fills `tally` while it goes on.

    Args:
      key: a server's, since the tally needs prices.
      seed: fixes shoppers, purchases, arrivals and reactions.
      per_second: purchases, on average over the simulated day.
      faults: what is broken meanwhile; nothing without.
    """

    def __init__(self, market: Market, url: str, key: str, seed: int, per_second: float, faults: FaultFile | None = None) -> None:
        self.tally = Tally()
        self.sample: Sample | None = None
        self.client = GatewayClient(url, key)
        self._market = market
        self._seed = seed
        self._per_second = per_second
        self._faults = faults or FaultFile()
        self.shoppers = Shoppers(market, seed)
        self._world = World(market, self.shoppers)
        self._valuation = Valuation(self._world)
        self._placements = [{"name": p.name, "count": p.count} for p in market.placements]
        self._under_way = 0
        self._visits: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event, day_offset_ms: int = 0) -> None:
        """Sends purchases until `stop` is set; then lets those under way finish, for some seconds.

        Args:
          day_offset_ms: how far into the budget day it is.
        """
        day_length_s = self._market.policy.day_length_s
        async with self.client:
            start_s = time.monotonic()
            for index, at_ms in enumerate(arrivals_ms(self._seed, self._per_second, day_length_s, day_offset_ms)):
                if await _set_before(stop, start_s + at_ms / 1000):
                    break
                if self._under_way >= MAX_DECISIONS_UNDER_WAY:
                    self.tally.skipped += 1
                    continue
                visit = asyncio.create_task(self._visit(index, int(at_ms), start_s, day_offset_ms))
                self._visits.add(visit)
                visit.add_done_callback(self._visits.discard)
            if self._visits:
                _, late = await asyncio.wait(self._visits, timeout=DRAIN_S)
                for visit in late:
                    visit.cancel()
                await asyncio.gather(*late, return_exceptions=True)

    @property
    def errors(self) -> int:
        """Calls that failed."""
        return self.client.failures.total()

    async def _visit(self, index: int, at_ms: int, start_s: float, day_offset_ms: int) -> None:
        """One purchase, from the request for offers to the last conversion."""
        purchase = self.shoppers.purchase(index, at_ms, day_offset_ms)
        fault = self._faults.fault
        request = decision_request(fault.told(purchase), self._placements)
        self._under_way += 1
        try:
            answer = await self.client.decide(request)
        finally:
            self._under_way -= 1
        if answer is None:
            return
        self.tally.latency_ms.append((time.monotonic() - start_s) * 1000 - at_ms)
        if self.sample is None and answer.shown:
            self.sample = Sample(request, answer.raw)
        phase = self._count(purchase, answer)
        if fault.is_robot(purchase):
            await self._click_on_all(answer)
        else:
            await self._react(purchase, answer, phase, fault)

    def _count(self, purchase: Purchase, answer: Answer) -> Phase:
        phase = self.tally.phase(answer.release)
        phase.requests += 1
        phase.filled += bool(answer.shown)
        phase.degraded.update(answer.degraded)
        worth = self._valuation.shown(
            purchase,
            [s.slot for s in answer.shown],
            [s.offer_id for s in answer.shown],
            [s.price_micros for s in answer.shown],
        )
        phase.value(worth, self._valuation.best(purchase))
        return phase

    async def _click_on_all(self, answer: Answer) -> None:
        """As a robot does; the tally is of shoppers."""
        for shown in answer.shown:
            await self.client.impression(shown)
        await asyncio.sleep(CLICK_AT_ONCE_S)
        for shown in answer.shown:
            await self.client.click(shown)

    async def _react(self, purchase: Purchase, answer: Answer, phase: Phase, fault: Fault) -> None:
        reaction = self.shoppers.reaction(purchase.index)
        pctr, pcvr = self._world.pctr(purchase), self._world.pcvr(purchase)
        pending: list[asyncio.Task[None]] = []
        left: list[Shown] = []
        for shown in answer.shown:
            if not fault.loses_beacons(purchase):
                if not await self.client.impression(shown):
                    continue
                phase.impressions += 1
                if shown.bid_kind == BidKind.CPM:
                    phase.revenue_micros += shown.price_micros
            slot, offer = shown.slot, self._valuation.position[shown.offer_id]
            if reaction.click_draw[slot] < self._world.examination[slot] * pctr[offer]:
                converts = bool(reaction.conversion_draw[slot] < pcvr[offer])
                think_s, convert_s = float(reaction.think_ms[slot]) / 1000, float(reaction.convert_ms[slot]) / 1000
                value_micros = round(float(purchase.context["amount"])) * 1_000_000
                click = self._click(shown, phase, think_s, convert_s if converts else None, value_micros)
                pending.append(asyncio.create_task(click))
            else:
                left.append(shown)
        if left and reaction.leaves_ms is not None:
            pending.append(asyncio.create_task(self._leave(left, reaction.leaves_ms / 1000)))
        try:
            await asyncio.gather(*pending)
        except asyncio.CancelledError:
            for task in pending:
                task.cancel()
            raise

    async def _click(self, shown: Shown, phase: Phase, think_s: float, convert_s: float | None, value_micros: int) -> None:
        await asyncio.sleep(think_s)
        if not await self.client.click(shown):
            return
        phase.clicks += 1
        if shown.bid_kind == BidKind.CPC:
            phase.revenue_micros += shown.price_micros
        if convert_s is None:
            return
        await asyncio.sleep(convert_s)
        charged_micros = await self.client.convert(shown, value_micros)
        if charged_micros is not None:
            phase.conversions += 1
            phase.revenue_micros += charged_micros

    async def _leave(self, shown: list[Shown], after_s: float) -> None:
        await asyncio.sleep(after_s)
        await self.client.dismiss(shown)


async def _set_before(stop: asyncio.Event, due_s: float) -> bool:
    """Waits until `due_s`; true if `stop` was set before."""
    if stop.is_set():
        return True
    wait_s = due_s - time.monotonic()
    if wait_s <= 0:
        await asyncio.sleep(0)
        return False
    try:
        async with asyncio.timeout(wait_s):
            await stop.wait()
    except TimeoutError:
        return False
    return True
