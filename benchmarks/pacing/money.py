"""Budgets of many days as the product keeps them: never a micro over, with conversions that are charged when they come."""

import numpy as np
from numpy.typing import NDArray

from benchmarks.pacing.market import CPA, CPC, CPM, MINUTES, Campaigns, Ints, Pages
from benchmarks.pacing.selling import Sold
from domain.money import expected_micros
from serving.budget_days import DEVIATIONS
from serving.budget_readings import NO_END, BudgetReading
from serving.pending_conversions import KNOWN_AFTER

USUAL_DELAY_MIN = 60.0
"""What the market file says of the delay, as long as few conversions have come."""


class Money:
    """What hold.lua, settle.lua and `PendingConversions` do, of all campaigns and by the minute.

    What a page holds is held to the end of its minute. Clicks come within it; conversions after their delay.
    """

    def __init__(self, campaigns: Campaigns, days: int) -> None:
        c = len(campaigns)
        self._campaigns = campaigns
        self.limit_micros = campaigns.budget_micros
        self.spent_micros = np.zeros((days + 1, c), dtype=np.int64)
        """[days, C]; the last day is for what comes after all others."""
        self.value_micros = np.zeros((days + 1, c), dtype=np.int64)
        """[days, C] what was charged for, at the whole bid."""
        self._pending = np.zeros((days + 1, c))
        self._before, self._owed = np.zeros(c), np.zeros(c)
        self._delay_min, self._delays = np.zeros(c), np.zeros(c)
        self._decay_min = np.full(c, USUAL_DELAY_MIN)
        self._slack = np.where(campaigns.kind[:-1] == CPA, campaigns.event_micros, 0) * DEVIATIONS**2
        self._coming: dict[int, list[tuple[int, int, int, float]]] = {}
        """Minute -> conversions: campaign, price, day, delay."""
        self._waiting: list[tuple[int, int]] = []

    def reading(self, day: int) -> BudgetReading:
        """As the pacer reads them at the begin of a minute, when nothing is held."""
        none = np.zeros(len(self.limit_micros))
        return BudgetReading(
            limit_micros=self.limit_micros,
            unlimited=none.astype(bool),
            left_micros=np.full(len(none), NO_END),
            total_closed=none.astype(bool),
            spent_micros=self.spent_micros[day],
            held_micros=none.astype(np.int64),
            pending_micros=self._pending[day],
            owed_micros=self._owed,
            before_micros=self._before,
            decay_ms=60_000 * self._decay_min,
            delay_ms=60_000 * self._delay_min,
            delays=self._delays,
        )

    def room_micros(self, day: int) -> Ints:
        """[C + 1]"""
        return np.append(self.reading(day).room_micros(self._slack), 0)

    def begin(self, day: int, minute: int) -> None:
        """Lets conversions of this minute come, and what waited find room."""
        self._pending *= np.exp(-1.0 / self._decay_min)
        waited, self._waiting = self._waiting, []
        for c, price in waited:
            self._charge(c, price, day, day)
        for c, price, of_day, delay in self._coming.pop(day * MINUTES + minute, ()):
            self._delay_min[c] += delay
            self._delays[c] += 1
            self._charge(c, price, of_day, day)
        self._decay_min = (self._delay_min + KNOWN_AFTER * USUAL_DELAY_MIN) / (self._delays + KNOWN_AFTER)
        earlier = self._pending[:day]
        self._before = earlier.sum(axis=0)
        left = np.maximum(self.limit_micros - self.spent_micros[:day], 0)
        self._owed = np.maximum(earlier - left, 0.0).sum(axis=0)

    def settle(self, sold: Sold, pages: Pages, of: slice, day: int, minute: int) -> None:
        """Charges what the pages of a minute bring."""
        kind = self._campaigns.kind[sold.campaign]
        at = of.start + sold.page
        clicked = pages.click_draw[at] < sold.pctr
        charged = (kind == CPM) | ((kind == CPC) & clicked)
        who = sold.campaign[charged]
        np.add.at(self.spent_micros[day], who, sold.price_micros[charged])
        np.add.at(self.value_micros[day], who, self._campaigns.event_micros[who])
        for i in np.flatnonzero((kind == CPA) & clicked).tolist():
            c, price = int(sold.campaign[i]), int(sold.price_micros[i])
            pcvr = float(self._campaigns.pcvr[c])
            self._pending[day, c] += expected_micros(price, pcvr)
            if pages.conversion_draw[at[i]] < pcvr:
                delay = float(self._campaigns.delay_min[c] * pages.delay_draw[at[i]])
                due = day * MINUTES + minute + 1 + int(delay)
                self._coming.setdefault(due, []).append((c, price, day, delay))

    def finish(self, day: int) -> None:
        """All conversions that are still to come, come."""
        for due in sorted(self._coming):
            for c, price, of_day, _ in self._coming[due]:
                self._charge(c, price, of_day, day)
        self._coming = {}

    def committed_micros(self, day: int) -> Ints:
        """[C]"""
        return self.reading(day).committed_micros

    def _charge(self, c: int, price: int, of_day: int, today: int) -> None:
        for day in range(of_day, today + 1):
            if self.spent_micros[day, c] + price <= self.limit_micros[c]:
                self.spent_micros[day, c] += price
                self.value_micros[day, c] += self._campaigns.event_micros[c]
                return
        self._waiting.append((c, price))

    @property
    def overspent_micros(self) -> NDArray[np.int64]:
        """[days, C]"""
        return np.maximum(self.spent_micros - self.limit_micros, 0)
