"""The bid that would have won: that much is on the page, one micro less is not."""

from dataclasses import replace

import numpy as np
import pytest
from bidders import any_bidders, any_reserves, bidders, reserves
from hypothesis import assume, given
from hypothesis import strategies as st

from auction.bids import Bids
from auction.gsp import best_slate
from auction.needed import Offer, bid_to_win
from domain.money import MAX_MICROS

Floors = "np.ndarray[tuple[int], np.dtype[np.int64]]"


def needed(bids: Bids, bidder: int, floors: Floors, multiplier: float = 1.0, guess: int = 1, **how: object) -> int | None:
    return bid_to_win(
        Offer(bidder, how.get("same", np.arange(len(bids)) == bidder), multiplier), bids, guess, on(bidder, floors, how)
    )  # type: ignore[arg-type]


def on(bidder: int, floors: Floors, how: dict[str, object] | None = None):
    return lambda those: bidder in best_slate(those, floors, (how or {}).get("examination")).winner  # type: ignore[arg-type]


def test_a_loser_needs_one_micro_more_than_what_ties_with_the_cheapest_slot() -> None:
    # eCPM 50.00 and 40.00 are shown; at 10 % a click has to be worth more than 0.40.
    bids = bidders((0, 0.05, 1_000_000), (1, 0.10, 400_000), (2, 0.10, 100_000))
    assert needed(bids, 2, reserves(0, 0)) == 400_001
    # A tie goes to whoever comes first.
    first = bidders((2, 0.10, 100_000), (0, 0.05, 1_000_000), (1, 0.10, 400_000))
    assert needed(first, 0, reserves(0, 0)) == 400_000


def test_an_empty_slot_needs_its_floor() -> None:
    assert needed(bidders((0, 0.05, 1)), 0, reserves(12_000_000)) == 240_000


def test_half_a_multiplier_needs_twice_the_bid() -> None:
    bids = bidders((0, 0.05, 1_000_000), (1, 0.10, 100_000))
    assert needed(bids, 1, reserves(0), 0.5) == 2 * 500_001


def test_an_impression_is_bid_for_by_the_thousand() -> None:
    bids = replace(bidders((0, 0.05, 400_000), (1, 1.0, 1)), by_view=np.array([False, True]))
    assert needed(bids, 1, reserves(0)) == 20_001_000


@pytest.mark.parametrize("quality", [0.05, 0.04])
def test_no_bid_shows_what_its_own_campaign_has_better(quality: float) -> None:
    bids = bidders((0, 0.05, 100_000), (0, quality, 100_000), (1, 0.05, 400_000))
    assert needed(bids, 1, reserves(0), same=np.array([True, True, False])) is None
    assert needed(bids, 0, reserves(0), same=np.array([True, True, False])) == 400_001 - 1  # of a tie the first


def test_what_is_paced_to_nothing_or_asked_for_more_than_money_wins_nothing() -> None:
    bids = bidders((0, 0.05, 100_000))
    assert needed(bids, 0, reserves(0), 0.0) is None
    assert needed(replace(bids, quality=np.array([1e-18])), 0, reserves(10**9)) is None


@given(any_bidders, any_reserves, st.data())
def test_that_much_wins_and_one_micro_less_does_not(bids: Bids, floors: Floors, data: st.DataObject) -> None:
    assume(len(bids))
    views = np.array(data.draw(st.lists(st.booleans(), min_size=len(bids), max_size=len(bids))))
    quality = np.where(views, 1.0, bids.quality)
    bids = replace(bids, by_view=views, quality=quality, ecpm_micros=1000.0 * quality * bids.bid_micros)
    bidder = data.draw(st.integers(0, len(bids) - 1))
    multiplier = data.draw(st.sampled_from([1.0, 0.5, 0.37, 1e-3]))
    examination = data.draw(st.sampled_from([None, np.linspace(1.0, 0.3, len(floors))]))
    # Offers of a campaign are paid for the same event; its advertiser may have others.
    same = (bids.advertiser == bids.advertiser[bidder]) & (views == views[bidder])
    offer = Offer(bidder, same, multiplier)
    guess = data.draw(st.integers(1, 10**12))
    shown = on(bidder, floors, {"examination": examination})
    least = bid_to_win(offer, bids, guess, shown)
    if least is None:
        assert not shown(offer.bidding(bids, MAX_MICROS))
        return
    assert shown(offer.bidding(bids, least))
    assert least == 1 or not shown(offer.bidding(bids, least - 1))
    assert least == bid_to_win(offer, bids, 1, shown)
