"""Who buys, when, and how they will react: all of it fixed by the seed before a single request is sent.

Each random number comes from a generator of its own purpose and index, `rng(seed, purpose, index)`, so neither network
timing nor what the policy shows can shift a draw: two runs with one seed meet the same shoppers, and differ only in
what those shoppers were shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.campaign import Value
from domain.clock import day_fraction
from features.market import Market
from features.spec import FeatureSpec

SEGMENTS = 5
HOURS_PER_DAY = 24


class Purpose(IntEnum):
    """What a random stream is for; part of its seed."""

    SHOPPER = 1
    PURCHASE = 2
    REACTION = 3
    ARRIVAL = 4
    TASTE = 5


def draw(seed: int, purpose: Purpose, index: int) -> np.random.Generator:
    """The generator of one purpose and index."""
    return np.random.default_rng([seed, purpose, index])


@dataclass(frozen=True, slots=True)
class Purchase:
    """One confirmation page: a shopper, what they bought, and what nobody but the simulator knows of them."""

    index: int
    at_ms: int
    """Milliseconds after the start of the run."""
    shopper_key: str
    shopper: dict[str, Value]
    context: dict[str, Value]
    segment: int
    """Latent: shoppers of a segment share tastes."""
    eagerness: float
    """Latent: added to this shopper's every click logit."""


@dataclass(frozen=True, slots=True)
class Purchases:
    """Many purchases as columns [P], by shoppers of whom each comes once."""

    known: dict[str, NDArray[Any]]
    """Shopper and context features by name."""
    segment: NDArray[np.int64]
    eagerness: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reaction:
    """How a shopper will respond to whatever is shown: [S] arrays by slot on the page.

    The offer in slot s is clicked if click_draw[s] < examination[s] * pctr, and then converts if
    conversion_draw[s] < pcvr.
    """

    click_draw: NDArray[np.float64]
    conversion_draw: NDArray[np.float64]
    think_ms: NDArray[np.float64]
    """From impression to click."""
    convert_ms: NDArray[np.float64]
    """From click to conversion."""
    leaves_ms: float | None
    """When the shopper dismisses the page, or none: then the holds run out by themselves."""


class Shoppers:
    """A population that comes back: each purchase is by one of `population` shoppers, drawn anew."""

    def __init__(self, market: Market, seed: int, population: int = 6000) -> None:
        self.seed = seed
        self.population = population
        self._n_slots = sum(p.count for p in market.placements)
        self._shopper_features = [f for f in market.features if f.source == "shopper" and f.derived is None]
        self._context_features = [f for f in market.features if f.source == "context" and f.derived is None]
        self._day_length_s = market.policy.day_length_s
        self._odds = {f.name: self._segment_odds(f) for f in market.features if _choices(f)}

    def purchase(self, index: int, at_ms: int, day_offset_ms: int = 0) -> Purchase:
        """The index-th purchase of the run.

        Args:
          at_ms: since the start of the run.
          day_offset_ms: how far into a budget day the run began; sets the hour of the day.
        """
        rng = draw(self.seed, Purpose.PURCHASE, index)
        number = int(rng.integers(self.population))
        who = draw(self.seed, Purpose.SHOPPER, number)
        segment = int(who.integers(SEGMENTS))
        eagerness = float(who.normal(0.0, 0.3))
        shopper = {f.name: v for f in self._shopper_features if (v := self._value(f, segment, who, 0)) is not None}
        hour = int(HOURS_PER_DAY * day_fraction(at_ms + day_offset_ms, self._day_length_s))
        context = {f.name: v for f in self._context_features if (v := self._value(f, segment, rng, hour)) is not None}
        return Purchase(index, at_ms, f"shopper-{number}", shopper, context, segment, eagerness)

    def purchases(self, rng: np.random.Generator, n: int, hour: int) -> Purchases:
        """`n` purchases of one hour, drawn from the distributions that `purchase` draws from."""
        segment = rng.integers(SEGMENTS, size=n)
        eagerness = rng.normal(0.0, 0.3, n)
        known = {f.name: self._column(f, segment, rng, hour) for f in (*self._shopper_features, *self._context_features)}
        return Purchases(known, segment, eagerness)

    def segment_given(self, known: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
        """[P, SEGMENTS] P(segment | the features that have odds), by Bayes' rule from a uniform prior."""
        logs = np.zeros((len(next(iter(known.values()))), SEGMENTS))
        for f in (*self._shopper_features, *self._context_features):
            if f.name in self._odds:
                choice = {value: i for i, value in enumerate(_choices(f))}
                logs += np.log(self._odds[f.name]).T[[choice[v] for v in known[f.name].tolist()]]
        odds = np.exp(logs - logs.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))

    def reaction(self, index: int) -> Reaction:
        """How the shopper of the index-th purchase will respond."""
        rng = draw(self.seed, Purpose.REACTION, index)
        n = self._n_slots
        return Reaction(
            click_draw=rng.random(n),
            conversion_draw=rng.random(n),
            think_ms=rng.uniform(400, 2500, n),
            convert_ms=np.minimum(1000 + rng.exponential(6000, n), 25_000),
            leaves_ms=3000.0 if rng.random() < 0.8 else None,
        )

    def _value(self, feature: FeatureSpec, segment: int, rng: np.random.Generator, hour: int) -> Value | None:
        if feature.name in self._odds:
            choices = _choices(feature)
            return choices[int(rng.choice(len(choices), p=self._odds[feature.name][segment]))]
        if feature.name == "amount":
            return round(float(np.exp(rng.normal(3.4 + 0.4 * segment, 0.8))), 2)
        if feature.name == "hour":
            return hour
        return feature.default

    def _column(self, feature: FeatureSpec, segment: NDArray[np.int64], rng: np.random.Generator, hour: int) -> NDArray[Any]:
        if feature.name in self._odds:
            cumulated = self._odds[feature.name].cumsum(axis=1)[segment, :-1]
            chosen = (rng.random((len(segment), 1)) > cumulated).sum(axis=1)
            return np.asarray(np.array(_choices(feature), dtype=object)[chosen])
        if feature.name == "amount":
            return np.asarray(np.round(np.exp(rng.normal(3.4 + 0.4 * segment, 0.8)), 2))
        return np.full(len(segment), hour if feature.name == "hour" else feature.fill)

    def _segment_odds(self, feature: FeatureSpec) -> NDArray[np.float64]:
        """[SEGMENTS, choices]: how often each value occurs in each segment; softmax of normal scores."""
        rng = draw(self.seed, Purpose.TASTE, stable_number(f"odds:{feature.name}"))
        scores = np.exp(rng.normal(0.0, 1.2, (SEGMENTS, len(_choices(feature)))))
        return np.asarray(scores / scores.sum(axis=1, keepdims=True))


def arrivals_ms(seed: int, per_second: float, day_length_s: int, day_offset_ms: int = 0, swing: float = 0.25) -> Iterator[float]:
    """Times of a Poisson process whose rate follows the day, in ms after the start, without end.

        rate(t) = per_second * (1 - swing * cos(2 pi t / day)),  lowest at midnight, highest at noon

    Drawn by time change: unit-rate arrivals mapped through the inverse of the integrated rate, which Newton's
    method finds, the rate being positive for swing < 1.
    """
    turn = 2 * np.pi / day_length_s
    offset_s = day_offset_ms / 1000

    def integral(t: float) -> float:
        return float(per_second * (t - swing * (np.sin(turn * (t + offset_s)) - np.sin(turn * offset_s)) / turn))

    mass, t, index = 0.0, 0.0, 0
    while True:
        mass += float(draw(seed, Purpose.ARRIVAL, index).exponential())
        for _ in range(20):
            step = (integral(t) - mass) / (per_second * (1 - swing * np.cos(turn * (t + offset_s))))
            t -= float(step)
            if abs(step) < 1e-7:
                break
        index += 1
        yield t * 1000


def stable_number(name: str) -> int:
    """A name as a seed, the same in every process (unlike `hash`)."""
    return int.from_bytes(name.encode(), "big") % (2**61 - 1)


def _choices(feature: FeatureSpec) -> tuple[Value, ...]:
    return feature.vocabulary if isinstance(feature.vocabulary, tuple) and feature.dtype == "string" else ()
