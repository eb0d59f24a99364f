"""What came of a run, apart for the time before and after a release took over."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simulation.best_policy import Expected

NOTHING = Expected(0, 0.0, 0.0, 0.0)


@dataclass(slots=True)
class Phase:
    """Sums over the decisions of one phase; clicks and charges count to the decision that showed the offer."""

    requests: int = 0
    filled: int = 0
    """Requests that were answered with at least one offer."""
    impressions: int = 0
    clicks: int = 0
    conversions: int = 0
    revenue_micros: int = 0
    """As charged: the price of a billed impression or click that was accepted, what the answer says for a conversion."""
    degraded: Counter[str] = field(default_factory=Counter)
    """Decisions by what answered with a fallback."""
    shown: Expected = NOTHING
    """What the pages shown are worth by the simulator's truth."""
    best: Expected = NOTHING
    """What the best policy's pages for the same purchases are worth."""

    def value(self, shown: Expected, best: Expected) -> None:
        """Adds one page and what the best policy would have shown in its place."""
        self.shown = _sum(self.shown, shown)
        self.best = _sum(self.best, best)

    def summary(self) -> dict[str, Any]:
        """Counts, rates as observed, and the same as expected by the truth, which has far less noise."""
        return {
            "requests": self.requests,
            "fill_rate": _ratio(self.filled, self.requests),
            "impressions": self.impressions,
            "clicks": self.clicks,
            "conversions": self.conversions,
            "revenue_micros": self.revenue_micros,
            "degraded": dict(self.degraded),
            "ctr": _ratio(self.clicks, self.impressions),
            "cvr": _ratio(self.conversions, self.clicks),
            "revenue_per_request_micros": _ratio(self.revenue_micros, self.requests),
            "expected_ctr": _ratio(self.shown.clicks, self.shown.slots),
            "expected_revenue_per_request_micros": _ratio(self.shown.revenue_micros, self.requests),
        }

    def best_possible(self) -> dict[str, float]:
        """The same two rates, had the best policy answered."""
        return {
            "ctr": _ratio(self.best.clicks, self.best.slots),
            "revenue_per_request_micros": _ratio(self.best.revenue_micros, self.requests),
        }


@dataclass(slots=True)
class Tally:
    """A run in numbers."""

    before: Phase = field(default_factory=Phase)
    """Decisions without a release: the cold-start policy."""
    after: Phase = field(default_factory=Phase)
    """Decisions that a release ranked."""
    skipped: int = 0
    """Arrivals that were not sent, because too many requests were under way."""
    latency_ms: list[float] = field(default_factory=list)
    """Of decisions, from the moment they were due."""
    releases: list[str] = field(default_factory=list)
    """Releases seen in answers, in order."""

    def phase(self, release: str) -> Phase:
        """The phase a decision belongs to, by the release that its answer names."""
        if release not in self.releases:
            self.releases.append(release)
        return self.before if release == "cold-start" else self.after

    @property
    def requests(self) -> int:
        """All decisions answered."""
        return self.before.requests + self.after.requests

    @property
    def clicks(self) -> int:
        """All clicks accepted."""
        return self.before.clicks + self.after.clicks

    @property
    def conversions(self) -> int:
        """All conversions accepted."""
        return self.before.conversions + self.after.conversions

    @property
    def revenue_micros(self) -> int:
        """All charges."""
        return self.before.revenue_micros + self.after.revenue_micros

    @property
    def fill_rate(self) -> float:
        """Share of decisions with at least one offer."""
        return _ratio(self.before.filled + self.after.filled, self.requests)

    def latency_percentiles_ms(self) -> dict[str, float]:
        """p50, p95 and p99 of decisions."""
        if not self.latency_ms:
            return {"p50": 0.0, "p95": 0.0, "p99": 0.0}
        values = np.percentile(self.latency_ms, [50, 95, 99])
        return {name: round(float(v), 2) for name, v in zip(("p50", "p95", "p99"), values, strict=True)}

    def summary(self) -> dict[str, Any]:
        """Everything as plain values, for `--json`."""
        return {
            "requests": self.requests,
            "fill_rate": self.fill_rate,
            "clicks": self.clicks,
            "conversions": self.conversions,
            "revenue_micros": self.revenue_micros,
            "skipped": self.skipped,
            "latency_ms": self.latency_percentiles_ms(),
            "releases": self.releases,
            "before": self.before.summary(),
            "after": self.after.summary(),
            "best_possible": (self.after if self.after.requests else self.before).best_possible(),
            "best_possible_before": self.before.best_possible(),
        }


def _sum(a: Expected, b: Expected) -> Expected:
    return Expected(a.slots + b.slots, a.clicks + b.clicks, a.conversions + b.conversions, a.revenue_micros + b.revenue_micros)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
