from dataclasses import MISSING, fields

import numpy as np
from bidders import any_bidders, any_reserves, any_share, bidders, bidding_more, reserves
from hypothesis import given
from hypothesis import strategies as st

from auction.bids import Bids
from auction.gsp import best_slate
from auction.slate import sell
from domain.outcome import Reason, Sale

WON, FLOOR, OUTBID, SAME = Reason.WON, Reason.BELOW_FLOOR, Reason.OUTBID, Reason.ADVERTISER_EXCLUSION


def gsp(bids: Bids, *floors: int, share: float = 0.0) -> Sale:
    return sell(best_slate(bids, reserves(*floors)), bids, reserves(*floors), share)


def test_each_winner_pays_what_keeps_its_slot() -> None:
    # eCPM: 0.05 x 1.00 -> 50.00; 0.10 x 0.40 -> 40.00; 0.02 x 1.50 -> 30.00.
    sale = gsp(bidders((0, 0.05, 1_000_000), (1, 0.10, 400_000), (2, 0.02, 1_500_000)), 0, 0)
    assert sale.winner.tolist() == [0, 1]
    # 40.00 / (1000 x 0.05) = 0.80; 30.00 / (1000 x 0.10) = 0.30.
    assert sale.price_micros.tolist() == [800_000, 300_000]
    assert sale.reason.tolist() == [WON, WON, OUTBID]
    assert sale.propensity.tolist() == [1.0, 1.0]
    assert not sale.explored


def test_prices_round_up() -> None:
    # eCPM 50.00 before 10.00: 10.00 / (1000 x 0.03) = 333,333.33.. micros.
    assert gsp(bidders((0, 0.03, 1_666_667), (1, 0.01, 1_000_000)), 0).price_micros.tolist() == [333_334]


def test_a_lone_bidder_pays_the_reserve() -> None:
    # 12.00 / (1000 x 0.05) = 0.24.
    assert gsp(bidders((0, 0.05, 1_000_000)), 12_000_000).price_micros.tolist() == [240_000]
    assert gsp(bidders((0, 0.05, 1_000_000)), 0).price_micros.tolist() == [0]


def test_without_a_rival_or_a_reserve_a_winner_pays_a_share_of_its_bid() -> None:
    assert gsp(bidders((0, 0.05, 1_000_000)), 0, share=0.1).price_micros.tolist() == [100_000]
    # A rival at a hundredth of its eCPM changes nothing; one at a fifth sets the price.
    assert gsp(bidders((0, 0.05, 1_000_000), (1, 0.05, 10_000)), 0, share=0.1).price_micros.tolist() == [100_000]
    assert gsp(bidders((0, 0.05, 1_000_000), (1, 0.05, 200_000)), 0, share=0.1).price_micros.tolist() == [200_000]


def test_a_share_of_next_to_nothing_is_one_micro() -> None:
    assert gsp(bidders((0, 0.05, 4)), 0, share=0.1).price_micros.tolist() == [1]
    assert gsp(bidders((0, 0.05, 1_000_000)), 0, share=1e-12).price_micros.tolist() == [1]


def test_the_reserve_binds_above_the_next_bidder() -> None:
    # Next is 10.00, the reserve 12.00.
    assert gsp(bidders((0, 0.05, 1_000_000), (1, 0.05, 200_000)), 12_000_000).price_micros.tolist() == [240_000]


def test_an_advertiser_never_sets_its_own_price() -> None:
    # Advertiser 0 has 50.00 and 45.00, advertiser 1 has 20.00: 20.00 / (1000 x 0.05) = 0.40.
    sale = gsp(bidders((0, 0.05, 1_000_000), (0, 0.05, 900_000), (1, 0.05, 400_000)), 0, 0)
    assert sale.winner.tolist() == [0, 2]
    assert sale.price_micros.tolist() == [400_000, 0]
    assert sale.reason.tolist() == [WON, SAME, WON]


def test_of_equal_bids_the_lower_index_wins_and_pays_its_bid() -> None:
    sale = gsp(bidders((0, 0.05, 400_000), (1, 0.05, 400_000)), 0)
    assert sale.winner.tolist() == [0]
    assert sale.price_micros.tolist() == [400_000]  # the other's eCPM is its own


def test_a_bidder_below_the_first_floor_may_take_a_later_slot() -> None:
    # eCPM 20.00 and 5.00; floors 30.00, 10.00, 1.00.
    sale = gsp(bidders((0, 0.05, 400_000), (1, 0.05, 100_000)), 30_000_000, 10_000_000, 1_000_000)
    assert sale.slot.tolist() == [1, 2]
    assert sale.winner.tolist() == [0, 1]
    # 10.00 / 50 = 0.20, because the reserve is above the next eCPM of 5.00; then 1.00 / 50 = 0.02.
    assert sale.price_micros.tolist() == [200_000, 20_000]


def test_a_slot_with_a_floor_nobody_left_passes_stays_empty() -> None:
    # eCPM 20.00 takes the first slot, 5.00 does not pass 10.00; it was outbid where it could have been shown.
    sale = gsp(bidders((0, 0.05, 400_000), (1, 0.05, 100_000)), 0, 10_000_000)
    assert sale.slot.tolist() == [0]
    assert sale.reason.tolist() == [WON, OUTBID]


def test_below_every_floor_is_said_even_of_a_winners_other_offers() -> None:
    sale = gsp(bidders((0, 0.05, 400_000), (0, 0.05, 100_000), (1, 0.05, 199_999)), 10_000_000)
    assert sale.reason.tolist() == [WON, FLOOR, FLOOR]


def test_an_ecpm_equal_to_the_floor_passes_at_its_bid() -> None:
    sale = gsp(bidders((0, 0.5, 20_000)), 10_000_000)
    assert sale.price_micros.tolist() == [20_000]


def test_a_bid_of_nothing_wins_nothing() -> None:
    sale = gsp(bidders((0, 0.5, 0)), 0)
    assert sale.winner.tolist() == []
    assert sale.reason.tolist() == [FLOOR]


def test_no_bidders_and_no_slots_sell_nothing() -> None:
    assert len(gsp(bidders(), 0, 0).winner) == 0
    nothing = gsp(bidders((0, 0.5, 10)))
    assert len(nothing.winner) == 0
    assert nothing.reason.tolist() == [OUTBID]


@given(any_bidders, any_reserves, any_share)
def test_a_price_never_exceeds_the_bid_and_never_falls_below_its_share(bids: Bids, floors: np.ndarray, share: float) -> None:
    sale = gsp(bids, *floors, share=share)
    bid = bids.bid_micros[sale.winner]
    assert (sale.price_micros <= bid).all()
    assert (sale.price_micros >= share * bid - 1e-6).all()
    assert (sale.price_micros > 0).all() or share == 0.0


@given(any_bidders, any_reserves)
def test_at_its_price_a_winner_is_still_worth_the_reserve_and_more_than_the_next(bids: Bids, floors: np.ndarray) -> None:
    sale = gsp(bids, *floors)
    for w, (slot, winner) in enumerate(zip(sale.slot, sale.winner, strict=True)):
        paid_ecpm = 1000 * bids.quality[winner] * sale.price_micros[w]
        placed = bids.advertiser[sale.winner[: w + 1]]
        rivals = bids.ecpm_micros[~np.isin(bids.advertiser, placed)]
        to_beat = max(floors[slot], rivals.max(initial=0.0))
        # 1e-6 micros of price is what rounding forgives; times 1000 impressions.
        assert paid_ecpm >= to_beat * (1 - 1e-12) - 1e-3
        assert bids.ecpm_micros[winner] >= to_beat * (1 - 1e-12)
        # And one micro less would not do, unless nothing is asked.
        assert sale.price_micros[w] == 0 or paid_ecpm - 1000 * bids.quality[winner] < to_beat * (1 + 1e-12)


@given(any_bidders, any_reserves)
def test_slots_are_taken_once_and_by_different_advertisers(bids: Bids, floors: np.ndarray) -> None:
    sale = gsp(bids, *floors)
    assert (np.diff(sale.slot) > 0).all()
    assert len(set(bids.advertiser[sale.winner].tolist())) == len(sale.winner)
    assert (bids.ecpm_micros[sale.winner] >= floors[sale.slot]).all()


@given(any_bidders, any_reserves)
def test_every_bidder_is_told_why(bids: Bids, floors: np.ndarray) -> None:
    sale = gsp(bids, *floors)
    assert len(sale.reason) == len(bids)
    assert set(np.flatnonzero(sale.reason == WON).tolist()) == set(sale.winner.tolist())
    placed = set(bids.advertiser[sale.winner].tolist())
    for i, reason in enumerate(sale.reason):
        passes_one = bids.ecpm_micros[i] > 0 and bids.ecpm_micros[i] >= floors.min()
        assert (reason == FLOOR) == (not passes_one)
        assert reason in (WON, FLOOR) or (reason == SAME) == (int(bids.advertiser[i]) in placed)


@given(any_bidders, any_reserves, st.randoms(use_true_random=False))
def test_the_order_of_bidders_does_not_matter_but_for_ties(bids: Bids, floors: np.ndarray, random: "st.random.Random") -> None:
    if len(set(bids.ecpm_micros.tolist())) < len(bids):
        return
    order = list(range(len(bids)))
    random.shuffle(order)
    shuffled = Bids(*(getattr(bids, f.name)[order] for f in fields(Bids) if f.default is MISSING))
    sale, other = gsp(bids, *floors), gsp(shuffled, *floors)
    np.testing.assert_array_equal(np.array(order, dtype=int)[other.winner], sale.winner)
    np.testing.assert_array_equal(other.slot, sale.slot)
    np.testing.assert_array_equal(other.price_micros, sale.price_micros)
    np.testing.assert_array_equal(other.reason, sale.reason[order])


@given(any_bidders, any_reserves, st.data())
def test_bidding_more_never_loses_a_slot(bids: Bids, floors: np.ndarray, data: st.DataObject) -> None:
    sale = gsp(bids, *floors)
    if not len(sale.winner):
        return
    w = data.draw(st.integers(0, len(sale.winner) - 1))
    winner = sale.winner[w]
    again = gsp(bidding_more(bids, winner, data.draw(st.integers(0, 10**6))), *floors)
    assert winner in again.winner
    assert again.slot[again.winner.tolist().index(winner)] <= sale.slot[w]
