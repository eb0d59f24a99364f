"""The study's arrays say what the auction says, page by page."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from auction.bids import Bids
from auction.gsp import best_slate
from auction.slate import sell
from benchmarks.explored_prices import Pages
from domain.outcome import Slate
from experiments.exploration import slot_chances
from features.market import load_market

MARKET = Path(__file__).resolve().parents[3] / "examples" / "confirmation" / "market.toml"


def test_the_study_charges_what_the_auction_charges() -> None:
    pages = Pages.of(load_market(MARKET), n_pages=24, seed=7, reserve=12_000_000.0)
    by_ecpm, second, at_random, half = pages.sold(pages.value, "0.5")
    clearing = pages.sold(pages.value, "clearing")[3]
    reserves = np.full(len(pages.examination), 12_000_000)
    for p, value in enumerate(pages.value):
        # A quality of a thousandth makes eCPM and price the same number, so that only rounding to whole micros differs.
        by_click, whole = np.zeros(len(value), bool), np.ceil(value).astype(np.int64)
        bids = Bids(pages.advertiser.astype(np.int32), np.full(len(value), 1e-3), whole, value, by_click)
        sale = sell(best_slate(bids, reserves), bids, reserves, 0.0)
        assert set(np.flatnonzero(by_ecpm[p])) == set(sale.winner)
        np.testing.assert_allclose(by_ecpm[p, sale.winner], pages.examination[sale.slot])
        np.testing.assert_allclose(second[p, sale.winner], sale.price_micros, atol=1)
        chance = slot_chances(value, bids.advertiser, reserves)
        np.testing.assert_allclose(at_random[p], pages.examination @ chance)
        for o in np.flatnonzero(at_random[p]):
            drawn = Slate(np.array([0]), np.array([o]), np.ones(1), explored=True)
            np.testing.assert_allclose(half[p, o], sell(drawn, bids, reserves, 0.5).price_micros, atol=1)
            # At the clearing eCPM it would have won a place, below it would not.
            enough, too_little = (
                np.where(
                    np.arange(len(value)) == o, clearing[p, o] + cents, np.where(bids.advertiser == bids.advertiser[o], 0, value)
                )
                for cents in (1, -1)
            )
            if clearing[p, o] < value[o]:
                as_bids = [replace(bids, ecpm_micros=e) for e in (enough, too_little)]
                assert [o in best_slate(b, reserves).winner for b in as_bids] == [True, False]
