import numpy as np
from bidders import any_bidders, any_reserves, any_share, bidders, reserves
from hypothesis import given
from hypothesis import strategies as st

from auction.bids import Bids
from auction.reserve import slot_reserves
from auction.slate import sell
from domain.outcome import Reason, Slate
from domain.request import Placement
from experiments.exploration import Lots, explore


def drawn(slot: list[int], winner: list[int]) -> Slate:
    return Slate(np.array(slot), np.array(winner), np.full(len(slot), 0.25), explored=True)


def test_a_drawn_winner_pays_the_reserve_whatever_others_bid() -> None:
    bids = bidders((0, 0.05, 1_000_000), (1, 0.10, 400_000), (2, 0.02, 1_500_000))
    sale = sell(drawn([0, 1], [2, 1]), bids, reserves(12_000_000, 6_000_000), 0.0)
    # 12.00 / (1000 x 0.02) = 0.60; 6.00 / (1000 x 0.10) = 0.06.
    assert sale.price_micros.tolist() == [600_000, 60_000]
    assert sale.reason.tolist() == [Reason.NOT_EXPLORED, Reason.WON, Reason.WON]
    assert sale.propensity.tolist() == [0.25, 0.25]
    assert sale.explored


def test_a_drawn_winner_pays_a_share_of_its_own_bid_where_that_is_more_than_the_reserve() -> None:
    bids = bidders((0, 0.05, 1_000_000), (1, 0.10, 400_000), (2, 0.02, 1_500_000))
    sale = sell(drawn([0, 1], [2, 1]), bids, reserves(12_000_000, 6_000_000), 0.5)
    # Half of 1.50 is more than 0.60; half of 0.40 more than 0.06.
    assert sale.price_micros.tolist() == [750_000, 200_000]


@given(any_bidders, any_reserves, any_share, st.integers(0, 14))
def test_a_drawn_winners_price_depends_on_nobody_else(bids: Bids, floors: np.ndarray, share: float, winner: int) -> None:
    if winner < len(bids):
        alone = bidders((0, float(bids.quality[winner]), int(bids.bid_micros[winner])))
        among_all, by_itself = sell(drawn([0], [winner]), bids, floors, share), sell(drawn([0], [0]), alone, floors, share)
        assert among_all.price_micros.tolist() == by_itself.price_micros.tolist()


def test_offers_of_a_drawn_advertiser_are_excluded_and_those_below_the_floor_say_so() -> None:
    bids = bidders((0, 0.05, 1_000_000), (0, 0.05, 900_000), (0, 0.05, 1), (1, 0.05, 1_000_000))
    sale = sell(drawn([0], [1]), bids, reserves(12_000_000), 0.5)
    assert sale.reason.tolist() == [Reason.ADVERTISER_EXCLUSION, Reason.WON, Reason.BELOW_FLOOR, Reason.NOT_EXPLORED]


@given(any_bidders, any_reserves)
def test_a_drawn_winner_pays_least_that_passes_the_floor(bids: Bids, floors: np.ndarray) -> None:
    nobody = Slate(np.zeros(0, int), np.zeros(0, int), np.zeros(0), explored=False)
    lots = Lots.draw(len(floors), bids.advertiser, np.random.default_rng(0))
    slate = explore(nobody, bids.ecpm_micros, bids.advertiser, floors, 1.0, lots)
    sale = sell(slate, bids, floors, 0.0)
    paid_ecpm = 1000 * bids.quality[sale.winner] * sale.price_micros
    assert (sale.price_micros <= bids.bid_micros[sale.winner]).all()
    assert (paid_ecpm >= floors[sale.slot] * (1 - 1e-12) - 1e-3).all()
    cheaper = paid_ecpm - 1000 * bids.quality[sale.winner]
    assert ((cheaper < floors[sale.slot] * (1 + 1e-12)) | (sale.price_micros == 0)).all()


def test_the_higher_of_market_reserve_and_placement_floor_holds_for_each_slot_of_a_placement() -> None:
    placements = (Placement("main", 2, 0), Placement("side", 1, 30_000_000))
    assert slot_reserves(placements, 12_000_000).tolist() == [12_000_000, 12_000_000, 30_000_000]
    assert slot_reserves(placements, 40_000_000).tolist() == [40_000_000] * 3
