"""A training log without a gateway: random pages shown to simulated shoppers, in memory."""

import numpy as np
import pyarrow as pa

from domain.campaign import FeatureValue
from features.market import Market
from features.spec import FeatureSpec
from simulation.shoppers import Shoppers
from simulation.world import World

ARROW = {"string": pa.string(), "int": pa.int64(), "float": pa.float32()}


def random_pages(market: Market, seed: int, n_pages: int) -> pa.Table:
    """One row per offer shown on `n_pages` pages filled at random: features by name, labels `click` and `conversion` (0/1).

    The shoppers are those a `Simulation` of this seed would send; nothing is remembered of them, so history is 0.
    """
    shoppers = Shoppers(market, seed)
    world = World(market, shoppers)
    n_slots = len(world.examination)
    rows: dict[str, list[FeatureValue]] = {name: [] for name in (*(f.name for f in market.features), "click", "conversion")}
    for index in range(n_pages):
        purchase, reaction = shoppers.purchase(index, 100 * index), shoppers.reaction(index)
        shown = np.random.default_rng([seed, n_pages, index]).choice(len(market.offers), n_slots, replace=False)
        clicked = reaction.click_draw < world.examination * world.pctr(purchase)[shown]
        converted = clicked & (reaction.conversion_draw < world.pcvr(purchase)[shown])
        known = purchase.shopper | purchase.context
        for slot, position in enumerate(shown.tolist()):
            offer = market.offers[position]
            for f in market.features:
                rows[f.name].append(market.offer_value(offer, f) if f.source == "offer" else known.get(f.name, f.absent))
            rows["click"].append(int(clicked[slot]))
            rows["conversion"].append(int(converted[slot]))
    columns = {f.name: pa.array(rows[f.name], _type(f)) for f in market.features}
    return pa.table(columns | {name: pa.array(rows[name], pa.int64()) for name in ("click", "conversion")})


def _type(feature: FeatureSpec) -> pa.DataType:
    return ARROW[feature.dtype]
