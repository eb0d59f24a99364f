"""What it is worth to the auction to know how far down a page is looked: `python -m benchmarks.examined_pages`; half a minute.

Pages of the confirmation market sold by the shipped auction, by the simulator's truth: what a click is worth, and how often a
slot is looked at. Every third campaign that pays per click pays per impression instead, a share of what one in the first slot is
worth to it on average. Value is what the shown offers bid for what is expected of them, revenue what they pay. The best
page is the assignment of offers to slots of the highest value, which no auction here has to reach.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from auction.bids import Bids, effective_bids
from auction.examination import Examination, ecpm_in_slots, left_of
from auction.gsp import best_slate
from auction.slate import sell
from domain.campaign import BidKind
from features.market import Market, load_market
from retrieval.catalogue import Catalogue
from simulation.shoppers import HOURS_PER_DAY, Purpose, Shoppers, draw
from simulation.world import World

MARKET = Path(__file__).resolve().parents[1] / "examples" / "confirmation" / "market.toml"
PER_THOUSAND = 1e-6
"""Of eCPM micros of single pages, the currency per thousand pages."""


def sold(
    bids: Bids, reserves: NDArray[np.int64], known: Examination, truth: NDArray[np.float64], share: float
) -> tuple[float, ...]:
    """Value, revenue, and slots that pay per impression, of the page by eCPM."""
    sale = sell(best_slate(bids, reserves, known), bids, reserves, share, known)
    left = left_of(bids, sale.winner, truth[sale.slot])
    paid = 1000.0 * bids.quality[sale.winner] * left * sale.price_micros
    return float((bids.ecpm_micros[sale.winner] * left).sum()), float(paid.sum()), float(bids.by_view[sale.winner].sum())


def best_value(bids: Bids, truth: NDArray[np.float64]) -> float:
    """Of the best page, an advertiser in one slot at most."""
    ecpm = ecpm_in_slots(bids.ecpm_micros, bids.by_view, truth)
    value = np.stack([ecpm[:, bids.advertiser == a].max(axis=1) for a in np.unique(bids.advertiser)], axis=1)
    return float(value[linear_sum_assignment(value, maximize=True)].sum())


def study(market: Market, n_pages: int, seed: int, per_impression: float) -> NDArray[np.float64]:
    """[3, 3] per thousand pages: value, revenue, and slots that pay per impression; without and with the curve, and at best.

    Args:
      per_impression: what those that pay per impression bid, of what one in the first slot is worth on average.
    """
    shoppers, catalogue = Shoppers(market, seed), Catalogue.of(market)
    world = World(market, shoppers)
    policy = market.policy
    reserves = np.full(len(world.examination), policy.reserve_ecpm_micros, dtype=np.int64)
    hours = [shoppers.purchases(draw(seed, Purpose.PURCHASE, h), n_pages // HOURS_PER_DAY, h) for h in range(HOURS_PER_DAY)]
    click, conversion = (np.vstack([p(h) for h in hours]) for p in (world.pctrs, world.pcvrs))
    turned = (catalogue.bid_kind == BidKind.CPC.code) & (catalogue.campaign % 3 == 0)
    kind = np.where(turned, BidKind.CPM.code, catalogue.bid_kind)
    worth = 1000 * click.mean(axis=0) * catalogue.bid_micros
    of_campaign = np.bincount(catalogue.campaign, weights=worth) / np.bincount(catalogue.campaign)
    bid = np.where(turned, per_impression * of_campaign[catalogue.campaign], catalogue.bid_micros).astype(np.int64)
    rows = []
    for pctr, pcvr in zip(click, conversion, strict=True):
        bids = effective_bids(catalogue.advertiser, kind, bid, pctr, pcvr, np.ones(len(catalogue)))
        pages = [sold(bids, reserves, known, world.examination, policy.least_bid_share) for known in (None, world.examination)]
        rows.append([*pages, (best_value(bids, world.examination), np.nan, np.nan)])
    return np.mean(rows, axis=0) * [PER_THOUSAND, PER_THOUSAND, 1.0]


def main() -> None:
    """Prints one table, the mean over some worlds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=1200)
    parser.add_argument("--seeds", type=int, default=4)
    asked = parser.parse_args()
    market = load_market(MARKET)
    print(f"simulated truth, {asked.seeds} worlds of {asked.pages} pages; per thousand pages, in {market.currency}")
    print(f"{'cpm bids':>9} {'the auction':>22} {'value':>8} {'revenue':>8} {'cpm slots a page':>17}")
    for per_impression in (0.4, 0.7, 1.0):
        worlds = [study(market, asked.pages, seed, per_impression) for seed in range(1, asked.seeds + 1)]
        for rule, (value, revenue, views) in zip(
            ("takes slots for alike", "knows examination", "the best page"), np.mean(worlds, axis=0), strict=True
        ):
            paid = "" if np.isnan(revenue) else f"{revenue:8.2f} {views:17.2f}"
            print(f"{per_impression:>8g}x {rule:>22} {value:8.2f} {paid}")


if __name__ == "__main__":
    main()
