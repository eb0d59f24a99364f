"""Campaigns that compete, and the pages of a day, each a draw of its own: nothing here depends on who paces."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from domain.campaign import IMPRESSIONS_PER_CPM, BidKind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MINUTES = 1440
SEGMENTS = 20
RESERVE_ECPM_MICROS = 500_000
CPM, CPC, CPA = BidKind.CPM.code, BidKind.CPC.code, BidKind.CPA.code
EVENTS = {CPM: (20, 10_000), CPC: (5, 1000), CPA: (2, 100)}
"""Billed events a day that a budget is for, least and most; log-uniform between."""
SHARE = {CPM: 0.4, CPC: 0.35, CPA: 0.25}
"""Of the campaigns."""


@dataclass(frozen=True)
class Campaigns:
    """C campaigns, each of an advertiser of its own, and one more that bids nothing: [C + 1] arrays but for the last."""

    kind: NDArray[np.uint8]
    bid_micros: Ints
    """As in the campaign."""
    pctr: Floats
    """On an average page."""
    pcvr: Floats
    delay_min: Floats
    """Mean from a click to its conversion."""
    budget_micros: Ints
    segments: NDArray[np.int64]
    """[SEGMENTS, K] the campaigns that bid for pages of a segment, filled up with that which bids nothing."""

    @classmethod
    def draw(cls, rng: np.random.Generator, n: int, pages: int) -> Self:
        """Budgets are of the size of the traffic: four in five campaigns cannot have all they bid for.

        Args:
          pages: a day, on average; budgets go with the pages there are for a campaign.
        """
        kind = rng.choice([CPM, CPC, CPA], n, p=[SHARE[k] for k in (CPM, CPC, CPA)]).astype(np.uint8)
        low, high = (np.array([EVENTS[k][end] for k in (CPM, CPC, CPA)], dtype=np.float64)[kind] for end in (0, 1))
        events = np.exp(rng.uniform(np.log(low), np.log(high)))
        by_click = kind != CPM
        pctr = np.where(by_click, np.clip(0.08 * np.exp(rng.normal(0.0, 0.4, n)), 0.01, 0.3), 1.0)
        pcvr = np.where(kind == CPA, np.clip(0.1 * np.exp(rng.normal(0.0, 0.4, n)), 0.02, 0.4), 1.0)
        # A bid by view is worth the same on every page, and meets the best of many that are not.
        ecpm = np.where(by_click, 6e6, 11e6) * np.exp(rng.normal(0.0, 0.3, n))
        per_event = np.maximum(np.rint(ecpm / 1000 / (pctr * pcvr)), 1).astype(np.int64)
        impressions = events / (pctr * pcvr)
        # Whoever wants more of the traffic looks for it in more places.
        reach = np.clip(np.rint(rng.uniform(2, 5, n) + 25 * impressions / pages * 200 / n), 2, SEGMENTS).astype(int)
        members: list[list[int]] = [[] for _ in range(SEGMENTS)]
        for c, wide in enumerate(reach):
            for g in rng.choice(SEGMENTS, wide, replace=False):
                members[g].append(c)
        segments = np.full((SEGMENTS, max(map(len, members))), n)
        for g, of in enumerate(members):
            segments[g, : len(of)] = of
        return cls(
            kind=np.append(kind, np.uint8(CPM)),
            bid_micros=np.append(np.where(kind == CPM, IMPRESSIONS_PER_CPM * per_event, per_event), 0),
            pctr=np.append(pctr, 1.0),
            pcvr=np.append(pcvr, 1.0),
            delay_min=np.append(np.exp(rng.uniform(np.log(10), np.log(240), n)), 1.0),
            budget_micros=np.rint(events * per_event * rng.uniform(0.3, 0.7, n) * pages / n / 750).astype(np.int64),
            segments=segments,
        )

    def __len__(self) -> int:
        return len(self.budget_micros)

    @property
    def event_micros(self) -> Ints:
        """[C] most paid per billed event."""
        return np.where(self.kind == CPM, self.bid_micros // IMPRESSIONS_PER_CPM, self.bid_micros)[:-1]


@dataclass(frozen=True)
class Pages:
    """The P pages of one day, in their order, one place each."""

    minute: Ints
    """[P]"""
    candidate: NDArray[np.int64]
    """[P, K] campaigns."""
    pctr: Floats
    """[P, K], true, and known to the auction."""
    click_draw: Floats
    """[P]"""
    conversion_draw: Floats
    delay_draw: Floats
    """[P] in mean delays."""

    def of_minute(self, minute: int) -> slice:
        """Where the pages of a minute are."""
        begin, end = np.searchsorted(self.minute, [minute, minute + 1])
        return slice(int(begin), int(end))


def week_shape() -> Floats:
    """[168] expected traffic of each hour from Monday midnight, 1 on average: nights are quiet, weekends are later and larger."""
    hour = np.arange(24)
    workday = 0.25 + np.exp(-(((hour - 13) / 4.0) ** 2)) + 1.3 * np.exp(-(((hour - 20) / 2.5) ** 2))
    weekend = 0.3 + 1.5 * np.exp(-(((hour - 15) / 4.5) ** 2)) + 0.9 * np.exp(-(((hour - 21) / 2.5) ** 2))
    week = np.concatenate([workday * f for f in (1.0, 0.95, 1.0, 1.0, 1.1)] + [weekend * 1.2, weekend * 1.05])
    return np.asarray(week / week.mean())


def hours_seen(rng: np.random.Generator, weekday: int) -> Floats:
    """[24] what the traffic of an ordinary day turns out to be, relative to the average hour: no two are alike."""
    of_day = week_shape()[24 * weekday : 24 * weekday + 24]
    return np.asarray(of_day * np.exp(rng.normal(0.0, 0.08)) * np.exp(rng.normal(0.0, 0.06, 24)))


def pages_of(campaigns: Campaigns, rng: np.random.Generator, hours: Floats, pages: int, lull: bool, burst: bool) -> Pages:
    """A day's pages.

    Args:
      hours: [24], see `hours_seen`.
      pages: of an average day.
      lull: from 10 to 12 four of five pages are missing.
      burst: from 15 to 16 there are three times as many.
    """
    of_minute = np.repeat(hours, 60) * pages / MINUTES
    of_minute[600:720] *= 0.2 if lull else 1.0
    of_minute[900:960] *= 3.0 if burst else 1.0
    minute = np.repeat(np.arange(MINUTES), rng.poisson(of_minute))
    n = len(minute)
    # Some kinds of shoppers come in the morning, some in the evening.
    early = np.linspace(-1.0, 1.0, SEGMENTS) * np.cos(np.pi * np.arange(24) / 24)[:, None]
    weight = np.cumsum(np.exp(0.5 * early), axis=1)
    segment = (rng.random(n)[:, None] * weight[minute // 60, -1:] > weight[minute // 60]).sum(axis=1)
    candidate = campaigns.segments[segment]
    noise = np.exp(0.4 * rng.standard_normal(candidate.shape, dtype=np.float32) - 0.08)
    pctr = np.where(campaigns.kind[candidate] == CPM, 1.0, np.minimum(campaigns.pctr[candidate] * noise, 0.5))
    return Pages(minute, candidate, pctr, rng.random(n), rng.random(n), rng.exponential(1.0, n))
