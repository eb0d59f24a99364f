"""Events that came while they could not be stored: they wait in memory and in the journal, and are stored once they can be."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from features.market import Market
from monitoring import metrics
from serving.gateway.adapters.journal import Journal, Legacy
from serving.gateway.adapters.outbox import Outbox
from serving.gateway.event_window import valid_until_ms
from serving.gateway.ports import BudgetsClosed, Ledger, PageEvent

CAPACITY = 50_000
TIMEOUT_S = 0.5
LOOK_S = 5.0

log = logging.getLogger(__name__)


class WaitingEvents:
    """`put` once an event could not be stored; it is answered for from then on.

    Args:
      folder: of the journals of all gateways on this machine; None keeps events in memory alone.
    """

    def __init__(self, ledger: Ledger, market: Market, clock: Callable[[], int], folder: Path | None) -> None:
        self._ledger, self._market, self._clock = ledger, market, clock
        self._journal = Journal(folder / market.name) if folder else None
        self._outbox: Outbox[PageEvent] = Outbox("events", self._store, CAPACITY, self._emptied)
        self._closed: list[PageEvent] = []
        """Whose budgets are not open: they wait beside, so that others need not wait for them."""

    def __len__(self) -> int:
        return len(self._outbox) + len(self._closed)

    def put(self, event: PageEvent) -> None:
        """Never waits and never fails; an event is on the disk, or at least in memory, when this returns."""
        if len(self) >= CAPACITY:
            metrics.DROPPED.labels("events").inc()
            return
        self._outbox.put_back(event)
        if self._journal:
            self._journal.append(event)

    async def run(self) -> None:
        """Stores for ever what can be stored."""
        await self._outbox.run()

    async def watch(self) -> None:
        """Looks for ever after journals of gateways that died, and after events whose budgets may be open by now."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._journal:
                for legacy in await asyncio.to_thread(self._journal.legacies):
                    self._inherit(legacy)
            closed, self._closed = self._closed, []
            self._put_back(closed)

    def inherit(self) -> None:
        """Takes over what was left behind before this process began."""
        for legacy in self._journal.legacies() if self._journal else []:
            self._inherit(legacy)

    async def end(self) -> None:
        """Stores what it can within seconds, and leaves the rest to the next process."""
        if self._journal is None:
            await self._outbox.end()
            return
        if left := await self._outbox.flush() + len(self._closed):
            log.warning("%d events wait in the journal for the next gateway", left)
        self._journal.close()

    def _inherit(self, legacy: Legacy) -> None:
        assert self._journal is not None
        self._journal.take(legacy)
        self._put_back(legacy.events)
        self._outbox.wake()

    def _put_back(self, events: list[PageEvent]) -> None:
        """Those that Redis would know if they had been stored already; others could be charged twice, and are dropped."""
        now_ms = self._clock()
        for event in events:
            if now_ms < valid_until_ms(event.type, event.sold, self._market):
                self._outbox.put_back(event)
            else:
                metrics.DROPPED.labels("late_events").inc()
                log.error("%s of %s waited for too long and is not charged", event.type, event.sold.impression_id)

    async def _store(self, _: int, batch: list[PageEvent]) -> None:
        try:
            await self._ledger.accept(batch, self._clock(), TIMEOUT_S)
        except BudgetsClosed as e:
            if not self._closed:
                log.warning("%d events wait for their budgets to be opened: %s", len(e.events), e)
            self._closed += e.events

    def _emptied(self) -> None:
        if self._journal:
            self._journal.clear(self._closed)
