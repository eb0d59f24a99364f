"""Training logs without a gateway, in memory: pages shown to simulated shoppers, at random or by a policy."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from domain.campaign import FeatureValue
from features.log_schema import ARROW_TYPES
from features.market import Market
from simulation.shoppers import HOURS_PER_DAY, Purpose, Shoppers, draw, stable_number
from simulation.world import World

HOUR_S = 3600.0
MOBILE_SLOTS = 1.5  # on a small screen the next slot is as far away as one and a half


@dataclass(frozen=True, slots=True)
class Logged:
    """Impressions [R] in the order they were shown, with what only the simulator knows of them."""

    features: dict[str, NDArray[Any]]
    position: NDArray[np.int32]
    """Slot of the page, from 0."""
    time_s: NDArray[np.float64]
    """When it was shown, after the start of the market; a click comes at once."""
    click: NDArray[np.bool_]
    delay_s: NDArray[np.float64]
    """From the click to the conversion, infinite where there never is one."""
    pctr: NDArray[np.float64]
    """True P(click | looked at): the position-free CTR."""
    pcvr: NDArray[np.float64]
    """True P(conversion within the window | click), of an impression that was not clicked too."""

    def __len__(self) -> int:
        return len(self.position)

    @property
    def conversion(self) -> NDArray[np.bool_]:
        """[R], however late."""
        return np.isfinite(self.delay_s)

    def take(self, rows: NDArray[Any]) -> "Logged":
        """Some of the rows, by number or by mask."""
        columns = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "features"}
        return Logged({name: column[rows] for name, column in self.features.items()}, **columns)

    @staticmethod
    def join(logs: list["Logged"]) -> "Logged":
        """One log after the other."""
        columns = {f.name: np.concatenate([getattr(log, f.name) for log in logs]) for f in fields(Logged) if f.name != "features"}
        return Logged({name: np.concatenate([log.features[name] for log in logs]) for name in logs[0].features}, **columns)


@dataclass(frozen=True, slots=True)
class OfflineSpec:
    """How pages are filled, how the market moves and when conversions come."""

    candidates: int = 20
    """Live offers drawn for a page, of which the policy shows the best."""
    noise: float = 0.5
    """Scale of the Gumbel noise on the policy's logits; the larger, the less position says of quality."""
    epsilon: float = 0.05
    """Share of the pages that are filled at random."""
    forgotten_after_h: float = float("inf")
    """Hours until tastes have nothing in common with what they were."""
    newcomers: float = 0.0
    """Share of the catalogue that is not there at the start."""
    arrived_after_h: float = 1.0
    """Hours over which newcomers arrive evenly."""
    delay_s: float = HOUR_S
    """Median over categories of the mean conversion delay."""
    window_s: float = 24 * HOUR_S
    """No conversion comes later than this."""


class OfflineMarket:
    """Pages of any hour, filled by a policy that shows what it believes to be better further up.

        score = E[logit pctr | features] + noise * Gumbel,  best first
        P(click) = examination(position, device) * pctr
        P(delay <= t | conversion) = (1 - exp(-t / m)) / (1 - exp(-window / m)),  m the category's mean before the cut

    The policy has learned each segment's tastes, and guesses the segment from the shopper's features, as a good model would:
    position and quality are confounded, but by nothing that the log does not hold. Delays are exponential, as in Chapelle
    (2014), Modeling delayed feedback in display advertising.
    """

    def __init__(self, market: Market, seed: int, spec: OfflineSpec | None = None) -> None:
        self.market = market
        self.spec = spec or OfflineSpec()
        self._seed = seed
        self._shoppers = Shoppers(market, seed)
        self._world = World(market, self._shoppers)
        self._offers = {f.name: np.array([market.offer_value(o, f) for o in market.offers]) for f in market.offer_features}
        rng = draw(seed, Purpose.ARRIVAL, 0)
        new = rng.random(len(market.offers)) < self.spec.newcomers
        self._live_from_h = np.where(new, rng.uniform(0, self.spec.arrived_after_h, len(new)), 0.0)
        slow = {c: draw(seed, Purpose.REACTION, stable_number(f"delay:{c}")).normal() for c in set(self._offers["category"])}
        self._delay_s = self.spec.delay_s * np.exp([0.8 * slow[c] for c in self._offers["category"]])

    def hour(self, hour: int, n_pages: int) -> Logged:
        """The log of one hour, the same whichever hours were asked for before."""
        spec, rng = self.spec, draw(self._seed, Purpose.PURCHASE, hour)
        world = self._world.turned(np.pi / 2 * hour / spec.forgotten_after_h)
        purchases = self._shoppers.purchases(rng, n_pages, hour % HOURS_PER_DAY)
        believed = world.click_logits(purchases, self._shoppers.segment_given(purchases.known))
        at_random = rng.random((n_pages, 1)) < spec.epsilon
        score = np.where(at_random, 0.0, believed) + spec.noise * rng.gumbel(size=believed.shape)
        drawn = np.where(self._live_from_h <= hour, rng.random(believed.shape), np.inf)
        score[drawn > np.partition(drawn, spec.candidates - 1, axis=1)[:, [spec.candidates - 1]]] = -np.inf
        n_slots = len(world.examination)
        best = np.argpartition(-score, n_slots - 1, axis=1)[:, :n_slots]
        shown = np.take_along_axis(best, np.argsort(-np.take_along_axis(score, best, axis=1), axis=1), axis=1)
        pctr = np.take_along_axis(world.pctrs(purchases), shown, axis=1).ravel()
        pcvr = np.take_along_axis(world.pcvrs(purchases), shown, axis=1).ravel()

        page, offer = np.repeat(np.arange(n_pages), n_slots), shown.ravel()
        position = np.tile(np.arange(n_slots, dtype=np.int32), n_pages)
        features = {name: column[page] for name, column in purchases.known.items()}
        features |= {name: column[offer] for name, column in self._offers.items()}
        mobile = features["device"] == "mobile" if "device" in features else np.zeros(len(page), bool)
        examination = world.examination[position] ** np.where(mobile, MOBILE_SLOTS, 1.0)
        click = rng.random(len(page)) < examination * pctr
        converts = click & (rng.random(len(page)) < pcvr)
        within = 1 - np.exp(-spec.window_s / self._delay_s[offer])
        delay_s = -self._delay_s[offer] * np.log1p(-rng.random(len(page)) * within)
        return Logged(
            features=features,
            position=position,
            time_s=HOUR_S * (hour + np.sort(rng.random(n_pages)))[page],
            click=click,
            delay_s=np.where(converts, delay_s, np.inf),
            pctr=pctr,
            pcvr=pcvr,
        )


def random_pages(market: Market, seed: int, n_pages: int) -> pa.Table:
    """One row per offer shown on `n_pages` pages filled at random: features by name, `position`, labels `click` and `conversion`.

    The shoppers are those a `Simulation` of this seed would send; nothing is remembered of them, so history is 0.
    """
    shoppers = Shoppers(market, seed)
    world = World(market, shoppers)
    n_slots = len(world.examination)
    logged = ("position", "click", "conversion")
    rows: dict[str, list[FeatureValue]] = {name: [] for name in (*(f.name for f in market.features), *logged)}
    for index in range(n_pages):
        purchase, reaction = shoppers.purchase(index, 100 * index), shoppers.reaction(index)
        shown = np.random.default_rng([seed, n_pages, index]).choice(len(market.offers), n_slots, replace=False)
        clicked = reaction.click_draw < world.examination * world.pctr(purchase)[shown]
        converted = clicked & (reaction.conversion_draw < world.pcvr(purchase)[shown])
        known = purchase.shopper | purchase.context
        for slot, number in enumerate(shown.tolist()):
            offer = market.offers[number]
            for f in market.features:
                rows[f.name].append(market.offer_value(offer, f) if f.source == "offer" else known.get(f.name, f.absent))
            rows["position"].append(slot)
            rows["click"].append(int(clicked[slot]))
            rows["conversion"].append(int(converted[slot]))
    columns = {f.name: pa.array(rows[f.name], ARROW_TYPES[f.dtype]) for f in market.features}
    return pa.table(columns | {name: pa.array(rows[name], pa.int64()) for name in logged})
