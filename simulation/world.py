"""The simulated truth: P(click | seen) and P(conversion | click) of every offer for every purchase, in closed form.

    logit pctr = b + appeal[offer] + taste[segment, category] + affinity[basket_category, category]
                   - 0.3 |price level - wallet(amount)| + 0.15 cos(2 pi (hour - 20) / 24) + eagerness[shopper]
    logit pcvr = c + 0.5 taste'[segment, category] + 0.4 appeal'[offer] - 0.3 |price level - wallet(amount)|
    P(click in slot s) = examination[s] * pctr

A policy sees neither segment nor eagerness, only features that hint at them: even a perfect model stays below the best
policy computed from this truth. None of it describes real shoppers; see docs/simulator.md.
"""

from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.errors import InvalidMarket
from features.market import Market
from simulation.shoppers import SEGMENTS, Purchase, Purchases, Purpose, Shoppers, draw, stable_number

Probabilities = NDArray[np.float64]
REQUIRED = {"category": "offer", "price_band": "offer", "basket_category": "context", "amount": "context"}


class World:
    """Truth of one market and seed.

    The intercepts are set so that a slate drawn at random has, at full examination, a mean pctr of `base_ctr` and a mean
    pcvr of `base_cvr`.

    Raises:
      InvalidMarket: the market lacks a feature that shoppers here react to.
    """

    def __init__(self, market: Market, shoppers: Shoppers, base_ctr: float = 0.12, base_cvr: float = 0.25) -> None:
        self.market = market
        self.seed = shoppers.seed
        source = {f.name: f.source for f in market.features}
        for name, expected in REQUIRED.items():
            if source.get(name) != expected:
                raise InvalidMarket(
                    "features", f"a feature {name!r} of source {expected}: simulated shoppers react to it", source
                )
        n_slots = sum(p.count for p in market.placements)
        self.examination: Probabilities = 0.75 ** np.arange(n_slots)
        """[S] how often the slot is looked at, the first one always."""

        values = {f.name: [str(market.offer_value(o, f)) for o in market.offers] for f in market.offer_features}
        self._categories = sorted(set(values["category"]))
        self.category: NDArray[np.int64] = np.array([self._categories.index(c) for c in values["category"]])
        """[N] number of each offer's category, in alphabetical order."""
        self._price_level = _levels(market, values["price_band"])
        self._turn(0.0)

        sample = [_as_columns(shoppers.purchase(2**31 + i, 1000 * i)) for i in range(400)]
        self._click_intercept = self._conversion_intercept = 0.0
        self._click_intercept = _intercept(np.concatenate([self.click_logits(p) for p in sample]), base_ctr)
        self._conversion_intercept = _intercept(np.concatenate([self._conversion_logits(p) for p in sample]), base_cvr)

    def turned(self, angle: float) -> "World":
        """The same market after its tastes moved.

            x(angle) = cos(angle) x + sin(angle) x',  x' drawn like x and independent of it

        Each value keeps its distribution and correlates by cos(angle) with what it was: at pi / 2 it is forgotten.
        """
        moved = copy(self)
        moved._turn(angle)
        return moved

    def pctr(self, purchase: Purchase) -> Probabilities:
        """[N] true P(click | looked at) of each offer of the catalogue."""
        return np.asarray(self.pctrs(_as_columns(purchase))[0])

    def pcvr(self, purchase: Purchase) -> Probabilities:
        """[N] true P(conversion | click) of each offer of the catalogue."""
        return np.asarray(self.pcvrs(_as_columns(purchase))[0])

    def pctrs(self, purchases: Purchases) -> Probabilities:
        """[P, N] as `pctr`, of many purchases."""
        return _sigmoid(self.click_logits(purchases))

    def pcvrs(self, purchases: Purchases) -> Probabilities:
        """[P, N] as `pcvr`, of many purchases."""
        return _sigmoid(self._conversion_logits(purchases))

    def click_logits(self, purchases: Purchases, segments: Probabilities | None = None) -> Probabilities:
        """[P, N] logit of `pctrs`, or, given P(segment) [P, SEGMENTS] alone, of the taste that is to be expected."""
        hour = np.asarray(purchases.known.get("hour", 12), np.float64)
        shared = purchases.eagerness + 0.15 * np.cos(2 * np.pi * (hour - 20) / 24) + self._click_intercept
        taste = self._taste[purchases.segment] if segments is None else segments @ self._taste
        by_category = taste + self._basket(purchases.known["basket_category"])
        return np.asarray(shared[:, None] + self._appeal + by_category[:, self.category] + self._price_fit(purchases))

    def _conversion_logits(self, purchases: Purchases) -> Probabilities:
        want = self._want[purchases.segment][:, self.category]
        return np.asarray(self._conversion_intercept + self._closing + want + self._price_fit(purchases))

    def _price_fit(self, purchases: Purchases) -> Probabilities:
        """Those who spent 15 like a budget offer, 60 a middling one, 240 a premium one."""
        amount = np.asarray(purchases.known["amount"], np.float64)
        wallet = np.clip(np.log(np.maximum(amount, 1.0) / 15) / np.log(4), 0, 2)
        return np.asarray(-0.3 * np.abs(self._price_level - wallet[:, None]))

    def _basket(self, baskets: NDArray[Any]) -> Probabilities:
        """[P, categories] how well each goes with what was just bought."""
        names, number = np.unique(baskets.astype(str), return_inverse=True)
        for basket in names.tolist():
            if basket not in self._affinity:
                self._affinity[basket] = np.array([self._normal(f"affinity:{basket}", c)[0] for c in self._categories]) * 0.7
        return np.stack([self._affinity[basket] for basket in names.tolist()])[number]

    def _turn(self, angle: float) -> None:
        self._angle = angle
        self._appeal = np.array([self._normal("appeal", o.id)[0] for o in self.market.offers]) * 0.5
        self._closing = np.array([self._normal("closing", o.id)[0] for o in self.market.offers]) * 0.4
        self._taste = np.stack([self._normal("taste", c, SEGMENTS) for c in self._categories], axis=1) * 0.7
        self._want = np.stack([self._normal("want", c, SEGMENTS) for c in self._categories], axis=1) * 0.5
        self._affinity: dict[str, Probabilities] = {}

    def _normal(self, kind: str, name: str, size: int = 1) -> Probabilities:
        """Standard normal draws that belong to a name, whatever else the market holds."""
        first, second = (
            draw(self.seed, Purpose.TASTE, stable_number(f"{when}{kind}:{name}")).normal(0.0, 1.0, size)
            for when in ("", "later ")
        )
        return np.asarray(np.cos(self._angle) * first + np.sin(self._angle) * second)


def _as_columns(purchase: Purchase) -> Purchases:
    known = {name: np.array([value]) for name, value in (purchase.shopper | purchase.context).items()}
    return Purchases(known, np.array([purchase.segment]), np.array([purchase.eagerness]))


def _levels(market: Market, bands: list[str]) -> Probabilities:
    """Price bands as 0, 1, 2 in the order of the feature's vocabulary; unknown ones lie in the middle."""
    spec = next(f for f in market.offer_features if f.name == "price_band")
    order = [str(v) for v in spec.vocabulary] if isinstance(spec.vocabulary, tuple) else []
    return np.array([float(order.index(b)) if b in order else 1.0 for b in bands])


def _intercept(logits: Probabilities, target: float) -> float:
    """The b with mean sigmoid(logits + b) = target, by bisection."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if float(_sigmoid(logits + middle).mean()) < target else (low, middle)
    return (low + high) / 2


def _sigmoid(x: Probabilities) -> Probabilities:
    return np.asarray(1 / (1 + np.exp(-x)))
