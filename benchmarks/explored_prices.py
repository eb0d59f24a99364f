"""What drawn winners could be charged, and what each way costs: `python -m benchmarks.explored_prices`; a few minutes.

Pages of the confirmation market by the simulator's truth, each of them the average over all its draws. Rules for a drawn offer,
which always pays at least the reserve and at most its bid:

    reserve    the reserve alone
    SHARE      that share of its own paced bid
    clearing   the least eCPM with which it would have been on the page by eCPM, the others being what they are

Then each campaign in turn bids what suits it best, where a click or conversion is worth its bid to it and the others stay: how
much less it pays to bid where an explored price follows the own bid.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.market import Market, load_market
from simulation.shoppers import HOURS_PER_DAY, Purpose, Shoppers, draw
from simulation.world import World

MARKET = Path(__file__).resolve().parents[1] / "examples" / "confirmation" / "market.toml"
RULES = ("reserve", "0.25", "0.5", "0.75", "1", "clearing")
MULTIPLIERS = np.arange(0.3, 1.001, 0.05)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pages:
    """P pages of N offers: value [P, N] eCPM at the full bid, campaign and advertiser [N], examination [S], reserve."""

    value: Floats
    campaign: NDArray[np.int64]
    advertiser: NDArray[np.int64]
    examination: Floats
    reserve: float

    @classmethod
    def of(cls, market: Market, n_pages: int, seed: int, reserve: float) -> "Pages":
        """Pages spread over a day."""
        shoppers = Shoppers(market, seed)
        world = World(market, shoppers)
        hours = [shoppers.purchases(draw(seed, Purpose.PURCHASE, h), n_pages // HOURS_PER_DAY, h) for h in range(HOURS_PER_DAY)]
        pctr, pcvr = np.vstack([world.pctrs(p) for p in hours]), np.vstack([world.pcvrs(p) for p in hours])
        campaigns = [market.campaign_by_id[o.campaign] for o in market.offers]
        kind, bid = np.array([c.bid_kind.code for c in campaigns]), np.array([c.bid_micros for c in campaigns], float)
        billed = np.choose(kind, [np.full_like(pctr, 1 / 1000), pctr, pctr * pcvr])  # as `BidKind.code` has it
        codes = [
            np.unique(names, return_inverse=True)[1] for names in ([c.id for c in campaigns], [c.advertiser for c in campaigns])
        ]
        return cls(1000 * billed * bid, codes[0], codes[1], world.examination, reserve)

    def sold(self, bids: Floats, rule: str) -> tuple[Floats, Floats, Floats, Floats]:
        """Weight of each offer and its price in eCPM, [P, N] each: by eCPM, then on the average random page."""
        n_pages, n_slots = len(bids), len(self.examination)
        of_advertiser = [bids * (self.advertiser == a) for a in range(self.advertiser.max() + 1)]
        best = np.stack([b.max(axis=1) for b in of_advertiser], axis=1)
        leader = np.stack([b.argmax(axis=1) for b in of_advertiser], axis=1)
        best = np.where(best >= self.reserve, best, 0.0)
        ranked = -np.sort(-best, axis=1)
        rank = np.argsort(np.argsort(-best, axis=1, kind="stable"), axis=1, kind="stable")
        following = np.take_along_axis(np.pad(ranked, ((0, 0), (0, 1))), rank + 1, axis=1)
        shown = np.where(best > 0, np.pad(self.examination, (0, ranked.shape[1]))[rank], 0.0)
        by_ecpm, second = np.zeros_like(bids), np.zeros_like(bids)
        np.put_along_axis(by_ecpm, leader, shown, axis=1)
        np.put_along_axis(second, leader, np.maximum(following, self.reserve), axis=1)

        passes = (bids >= self.reserve) & (bids > 0)
        offers = np.stack([passes[:, self.advertiser == a].sum(axis=1) for a in range(best.shape[1])], axis=1)
        rivals = np.maximum((offers > 0).sum(axis=1), 1)
        examined = np.concatenate([[0.0], np.cumsum(self.examination)])[np.minimum((offers > 0).sum(axis=1), n_slots)]
        at_random = passes * (examined / rivals)[:, None] / np.maximum(offers, 1)[:, self.advertiser]
        clearing = np.where(rank < n_slots, ranked[:, [n_slots]], ranked[:, [n_slots - 1]])[:, self.advertiser]
        price = {"reserve": np.zeros((n_pages, 1)), "clearing": clearing}
        asked = price[rule] if rule in price else float(rule) * bids
        return by_ecpm, second, at_random, np.minimum(np.maximum(asked, self.reserve), bids)

    def revenue(self, multiplier: Floats, rule: str, epsilon: float) -> float:
        """Per thousand pages, in the currency. multiplier: [C] of the bids."""
        by_ecpm, second, at_random, drawn = self.sold(self.value * multiplier[self.campaign], rule)
        return float(((1 - epsilon) * by_ecpm * second + epsilon * at_random * drawn).sum() / len(drawn) / 1e6)

    def best_response(self, campaign: int, rule: str, epsilon: float) -> float:
        """The multiplier of its bid that suits a campaign best while all others bid in full."""
        mine = self.campaign == campaign

        def gain(multiplier: float) -> float:
            by_ecpm, second, at_random, drawn = self.sold(self.value * np.where(mine, multiplier, 1.0), rule)
            surplus = (1 - epsilon) * by_ecpm * (self.value - second) + epsilon * at_random * (self.value - drawn)
            return float(surplus[:, mine].sum())

        return float(max(MULTIPLIERS[::-1], key=gain))


def study(market: Market, n_pages: int, seed: int, epsilon: float) -> Floats:
    """[rules + 1, 4] of one world: change of revenue, the same without a reserve, mean bid that suits, change if all bid so.

    The last row is without exploration.
    """
    pages = Pages.of(market, n_pages, seed, float(market.policy.reserve_ecpm_micros))
    unreserved = replace(pages, reserve=0.0)
    in_full = np.ones(len(market.campaigns))
    by_ecpm = [p.revenue(in_full, "reserve", 0.0) for p in (pages, unreserved)]
    rows = []
    for rule, explored in [*((rule, epsilon) for rule in RULES), ("reserve", 0.0)]:
        suits = np.array([pages.best_response(c, rule, explored) for c in range(len(in_full))])
        paid = pages.revenue(in_full, rule, explored), unreserved.revenue(in_full, rule, explored)
        rows.append(
            (
                paid[0] / by_ecpm[0] - 1,
                paid[1] / by_ecpm[1] - 1,
                suits.mean(),
                pages.revenue(suits, rule, explored) / by_ecpm[0] - 1,
            )
        )
    return np.array(rows)


def main() -> None:
    """Prints one table, the mean over some worlds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=1200)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--epsilon", type=float, default=0.05)
    asked = parser.parse_args()
    market = load_market(MARKET)
    worlds = [study(market, asked.pages, seed, asked.epsilon) for seed in range(1, asked.seeds + 1)]
    print(f"revenue with epsilon {asked.epsilon}, against pages by eCPM alone, {asked.seeds} worlds of {asked.pages} pages")
    print(f"{'drawn pay':>12} {'change':>8} {'reserve 0':>10} {'mean bid that suits':>20} {'change if all do':>17}")
    for rule, (change, free, suits, played) in zip([*RULES, "never drawn"], np.mean(worlds, axis=0), strict=True):
        print(f"{rule:>12} {change:8.2%} {free:10.2%} {suits:20.3f} {played:17.2%}")


if __name__ == "__main__":
    main()
