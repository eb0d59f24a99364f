"""What became of each campaign's candidates, and what its sales were bid and priced at, over the last minutes of the log.

Losers are logged of a sample of decisions, each with its weight: sums of weights estimate all of them (docs/event-log.md).
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.outcome import Reason


@dataclass(slots=True)
class Entered:
    """One campaign."""

    fates: Counter[int] = field(default_factory=Counter)
    """Reason -> candidates, estimated."""
    listed: int = 0
    """How many candidates that rests on."""
    sold: int = 0
    bid_micros: int = 0
    """Of what was sold, as `price_micros`."""
    price_micros: int = 0

    def add(self, other: "Entered") -> None:
        """Adds another's counts."""
        self.fates.update(other.fates)
        self.listed += other.listed
        self.sold += other.sold
        self.bid_micros += other.bid_micros
        self.price_micros += other.price_micros

    @property
    def win_rate(self) -> float | None:
        """Share of the candidates that were shown."""
        all_of_them = sum(self.fates.values())
        return self.fates[Reason.WON] / all_of_them if all_of_them else None

    @property
    def price_of_bid(self) -> float | None:
        """What was sold went for, as a share of what was bid."""
        return self.price_micros / self.bid_micros if self.bid_micros else None


class Entries:
    """The last whole stretch of log time, and the one that goes on: bounded by the campaigns of the market.

    Args:
      campaign_of: offer -> campaign, of all that were ever sold while this lives; it may grow.
      stretch_ms: half of what is looked back over, at most.
    """

    def __init__(self, campaign_of: Mapping[str, str], stretch_ms: int) -> None:
        self._campaign_of = campaign_of
        self._stretch_ms = stretch_ms
        self._at = 0
        self._now: dict[str, Entered] = {}
        self._before: dict[str, Entered] = {}

    def read(self, made: Mapping[str, Any]) -> dict[str, Entered]:
        """What a logged decision says; raises KeyError, TypeError or ValueError where that is nothing a decision says."""
        found: dict[str, Entered] = {}
        candidates = made["candidates"]
        weight = float(candidates.get("weight", 1.0))
        if not 0 <= weight < math.inf:
            raise ValueError(f"expected a weight of a candidate, got {weight}")
        for offer, reason in zip(candidates["offer_id"], candidates["reason"], strict=True) if weight else ():
            if (campaign := self._campaign_of.get(offer)) is not None:
                one = found.setdefault(campaign, Entered())
                one.fates[int(reason)] += weight  # type: ignore[assignment]
                one.listed += 1
        for slot in made["slots"]:
            if self._campaign_of.get(slot["offer_id"]) == slot["campaign_id"]:
                sale = Entered(sold=1, bid_micros=int(slot["bid_micros"]), price_micros=int(slot["price_micros"]))
                found.setdefault(slot["campaign_id"], Entered()).add(sale)
        return found

    def add(self, log_ms: int, found: Mapping[str, Entered]) -> None:
        """Counts a decision; one from before the stretch that goes on is counted in the one before it."""
        at = log_ms // self._stretch_ms
        if at > self._at:
            self._before, self._now = (self._now if at == self._at + 1 else {}), {}
            self._at = at
        if at >= self._at - 1:
            stretch = self._now if at == self._at else self._before
            for campaign, one in found.items():
                stretch.setdefault(campaign, Entered()).add(one)

    def of(self, campaign: str) -> Entered:
        """All of both."""
        both = Entered()
        for stretch in (self._before, self._now):
            if campaign in stretch:
                both.add(stretch[campaign])
        return both
