"""The counterfactual: what pages and prices would have been under another policy, all else as it was.

It assumes that nobody answers: bidders bid and are paced as they were, whoever could not pay still cannot and all others can,
however much more or less the others would have left; shoppers do as the model says, whatever they were shown before. Campaigns
that were not ranked then are not paced.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import tomli
from numpy.typing import NDArray
from pydantic import ValidationError

from auction.examination import left_of
from domain.errors import OfferRankError
from domain.policy import Policy
from serving.gateway.adapters.releases import retriever
from serving.gateway.market_view import MarketView
from serving.gateway.ports import ActiveRelease
from serving.replay.again import Made, Then, decide_again
from serving.replay.logged import Logged, Said, read_decisions
from serving.replay.sweep import Which, over_parts, parts_and, why
from serving.replay.world import CATALOGUES, LoadedModel, Sources, World

TOLD: Final = frozenset(
    {"reserve_ecpm_micros", "least_bid_share", "explored_bid_share", "max_candidates", "epsilon", "cold_start_epsilon", "priors"}
)
"""Keys of the policy of which a replay can tell."""
METRICS: Final = ("revenue_micros", "value_micros", "filled", "drawn")
"""Per page: expected charges and paced bids, by the model's own probabilities; slots sold; drawn at random."""
MOST_PAGES: Final = 20
Z_95: Final = 1.959964


def read_policy(path: Path) -> dict[str, Any]:
    """The keys that are to be otherwise: a TOML file of them, or with a table `policy`, such as a market file.

    Raises:
      OfferRankError: it cannot be read, or has a key of which a replay cannot tell.
    """
    try:
        raw = tomli.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomli.TOMLDecodeError) as e:
        raise OfferRankError(f"{path}: expected a TOML file with keys of the policy: {e}") from None
    whole = isinstance(raw.get("policy"), dict)
    changes: dict[str, Any] = raw["policy"] if whole else raw
    unknown = sorted(changes.keys() - (Policy.model_fields.keys() if whole else TOLD))
    if unknown or not changes:
        raise OfferRankError(f"{path}: expected some of {', '.join(sorted(TOLD))}, got {', '.join(unknown) or 'nothing'}")
    return {name: value for name, value in changes.items() if name in TOLD}


class Otherwise:
    """A world in which the policy is another; errors as `World`."""

    def __init__(self, world: Then, changes: Mapping[str, Any]) -> None:
        self._world, self._changes = world, changes
        self._views: dict[int, tuple[MarketView, MarketView]] = {}

    def view(self, logged: Logged) -> MarketView:
        """As then, but for the policy."""
        then = self._world.view(logged)
        known = self._views.get(id(then))
        if known is None or known[0] is not then:
            if len(self._views) >= CATALOGUES:
                self._views.clear()
            known = self._views[id(then)] = then, self._changed(then)
        return known[1]

    def _changed(self, then: MarketView) -> MarketView:
        market = then.market
        try:
            policy = Policy.model_validate(market.policy.model_dump() | dict(self._changes))
        except ValidationError as e:
            wrong = e.errors()[0]
            raise OfferRankError(f"policy.{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}, got {wrong['input']!r}") from None
        if missing := market.policy.priors.keys() - policy.priors.keys():
            raise OfferRankError(f"policy.priors: expected one of each task, got none of {', '.join(sorted(missing))}")
        return replace(then, market=market.model_copy(update={"policy": policy}))

    def release(self, logged: Logged) -> ActiveRelease:
        """As then, over that."""
        then, view = self._world.release(logged), self.view(logged)
        if not {"max_candidates", "priors"} & self._changes.keys():
            return then
        index = None if then.retriever.ann is None else then.retriever.ann.index
        return replace(then, retriever=retriever(view, index))

    def model(self, logged: Logged) -> LoadedModel:
        """The same."""
        return self._world.model(logged)


@dataclass
class Compared:
    """Pages then and otherwise: sums over pages, from which means and intervals follow."""

    decisions: int = 0
    changed: int = 0
    """Pages with another offer or price."""
    then: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(METRICS)))
    otherwise: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(METRICS)))
    squares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(METRICS)))
    """Of the differences."""
    pages: list[dict[str, Any]] = field(default_factory=list)
    """The first that changed."""
    refused: Counter[str] = field(default_factory=Counter)

    def take(self, then: Made, otherwise: Made) -> None:
        """One more page."""
        before, after = _measured(then), _measured(otherwise)
        pages = [_page(then), _page(otherwise)]
        self.decisions += 1
        self.then, self.otherwise, self.squares = self.then + before, self.otherwise + after, self.squares + (after - before) ** 2
        if pages[0] != pages[1]:
            self.changed += 1
            if len(self.pages) < MOST_PAGES:
                self.pages.append({"decision_id": then.decided.request.decision_id, "then": pages[0], "otherwise": pages[1]})

    def __iadd__(self, other: "Compared") -> "Compared":
        self.decisions += other.decisions
        self.changed += other.changed
        self.then, self.otherwise, self.squares = (
            self.then + other.then,
            self.otherwise + other.otherwise,
            self.squares + other.squares,
        )
        self.pages = [*self.pages, *other.pages][:MOST_PAGES]
        self.refused += other.refused
        return self

    def as_json(self) -> dict[str, Any]:
        """Per page, with the 95 % interval of the mean paired difference: a page is a cluster, its slots are not independent."""
        n = max(self.decisions, 1)
        mean = (self.otherwise - self.then) / n
        spread = np.sqrt(np.maximum(self.squares / n - mean**2, 0.0) * n / max(n - 1, 1))
        half = Z_95 * spread / math.sqrt(n)
        metrics = {
            name: {
                "then": float(self.then[i]) / n,
                "otherwise": float(self.otherwise[i]) / n,
                "difference": float(mean[i]),
                "interval": [float(mean[i] - half[i]), float(mean[i] + half[i])],
            }
            for i, name in enumerate(METRICS)
        }
        counts = {"decisions": self.decisions, "changed": self.changed, "refused": dict(self.refused)}
        return counts | {"per_page": metrics, "pages": self.pages}


def _measured(made: Made) -> NDArray[np.float64]:
    decided = made.decided
    sale, bids = decided.sale, decided.bids
    quality = bids.quality[sale.winner] * left_of(bids, sale.winner, sale.examination)
    revenue, value = quality @ sale.price_micros, quality @ bids.bid_micros[sale.winner]
    return np.array([revenue, value, len(sale.winner), float(sale.explored)])


def _page(made: Made) -> list[dict[str, Any]]:
    sale, ids = made.decided.sale, made.view.offer_ids[made.decided.live.offer[made.decided.sale.winner]]
    shown = zip(sale.slot.tolist(), ids.tolist(), sale.price_micros.tolist(), strict=True)
    return [{"position": slot, "offer_id": offer, "price_micros": price} for slot, offer, price in shown]


def compare(said: Said, world: Then, otherwise: Otherwise, into: Compared) -> None:
    """A decision under its own policy and under the other; adds it, or why it cannot be."""
    try:
        logged = Logged.of(said)
        then = asyncio.run(decide_again(logged, world))
        view, decided = then.view, then.decided
        multiplier = np.ones(len(view.catalogue.campaign_ids))
        multiplier[view.catalogue.campaign[decided.live.offer]] = decided.pacing_multiplier
        into.take(then, asyncio.run(decide_again(logged, otherwise, multiplier.__getitem__)))
    except OfferRankError as e:
        into.refused[why(e, str(said.get("decision_id")))] += 1


def compare_range(
    sources: Sources, changes: Mapping[str, Any], since_ms: int, until_ms: float, processes: int = 1, sample: int | None = None
) -> Compared:
    """Archived decisions of a time, as `sweep` takes them."""
    total = Compared()
    paths, which = parts_and(sources, since_ms, until_ms, sample)
    for one in over_parts(sources, paths, partial(_compare_part, changes=dict(changes), which=which), processes):
        total += one
    return total


def _compare_part(world: World, path: Path, changes: Mapping[str, Any], which: Which) -> Compared:
    done, otherwise = Compared(), Otherwise(world, changes)
    try:
        for said in read_decisions(path, *which):
            compare(said, world, otherwise, done)
    except OfferRankError as e:
        done.refused[str(e)] += 1
    return done
