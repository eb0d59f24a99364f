"""The simulated truth: P(click | seen) and P(conversion | click) of every offer for every purchase, in closed form.

    logit pctr = b + appeal[offer] + taste[segment, category] + affinity[basket_category, category]
                   - 0.3 |price level - wallet(amount)| + 0.15 cos(2 pi (hour - 20) / 24) + eagerness[shopper]
    logit pcvr = c + 0.5 taste'[segment, category] + 0.4 appeal'[offer] - 0.3 |price level - wallet(amount)|
    P(click in slot s) = examination[s] * pctr

A policy sees neither segment nor eagerness, only features that hint at them: even a perfect model stays below the best
policy computed from this truth. None of it describes real shoppers; see docs/simulator.md.
"""

import numpy as np
from numpy.typing import NDArray

from domain.errors import InvalidMarket
from features.market import Market
from simulation.shoppers import SEGMENTS, Purchase, Purpose, Shoppers, draw, stable_number

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
        categories = sorted(set(values["category"]))
        position = {c: i for i, c in enumerate(categories)}
        self._category = np.array([position[c] for c in values["category"]])
        self._price_level = _levels(market, values["price_band"])
        self._appeal = np.array([self._normal("appeal", o.id)[0] for o in market.offers]) * 0.5
        self._closing = np.array([self._normal("closing", o.id)[0] for o in market.offers]) * 0.4
        self._taste = np.stack([self._normal("taste", c, SEGMENTS) for c in categories], axis=1) * 0.7
        self._want = np.stack([self._normal("want", c, SEGMENTS) for c in categories], axis=1) * 0.5
        self._categories = categories
        self._affinity: dict[str, Probabilities] = {}

        sample = [shoppers.purchase(2**31 + i, 1000 * i) for i in range(400)]
        self._click_intercept = _intercept(np.stack([self._click_logit(p) for p in sample]), base_ctr)
        self._conversion_intercept = _intercept(np.stack([self._conversion_logit(p) for p in sample]), base_cvr)

    def pctr(self, purchase: Purchase) -> Probabilities:
        """[N] true P(click | looked at) of each offer of the catalogue."""
        return _sigmoid(self._click_logit(purchase) + self._click_intercept)

    def pcvr(self, purchase: Purchase) -> Probabilities:
        """[N] true P(conversion | click) of each offer of the catalogue."""
        return _sigmoid(self._conversion_logit(purchase) + self._conversion_intercept)

    def _click_logit(self, purchase: Purchase) -> Probabilities:
        hour = float(purchase.context.get("hour", 12))
        shared = purchase.eagerness + 0.15 * np.cos(2 * np.pi * (hour - 20) / 24)
        by_category = self._taste[purchase.segment] + self._basket(str(purchase.context["basket_category"]))
        return np.asarray(shared + self._appeal + by_category[self._category] + self._price_fit(purchase))

    def _conversion_logit(self, purchase: Purchase) -> Probabilities:
        return np.asarray(self._closing + self._want[purchase.segment][self._category] + self._price_fit(purchase))

    def _price_fit(self, purchase: Purchase) -> Probabilities:
        """Those who spent 15 like a budget offer, 60 a middling one, 240 a premium one."""
        wallet = np.clip(np.log(max(float(purchase.context["amount"]), 1.0) / 15) / np.log(4), 0, 2)
        return np.asarray(-0.3 * np.abs(self._price_level - wallet))

    def _basket(self, basket: str) -> Probabilities:
        """[categories] how well each goes with what was just bought."""
        if basket not in self._affinity:
            self._affinity[basket] = np.array([self._normal(f"affinity:{basket}", c)[0] for c in self._categories]) * 0.7
        return self._affinity[basket]

    def _normal(self, kind: str, name: str, size: int = 1) -> Probabilities:
        """Standard normal draws that belong to a name, whatever else the market holds."""
        return draw(self.seed, Purpose.TASTE, stable_number(f"{kind}:{name}")).normal(0.0, 1.0, size)


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
