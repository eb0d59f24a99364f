"""What a campaign can be charged at most, and who has to be asked: compared with every page that could come of it."""

from itertools import product

import numpy as np
from bidders import any_reserves, any_share, bidders, reserves, without
from hypothesis import given, settings
from hypothesis import strategies as st

from auction.bids import Bids
from auction.contenders import Contenders
from auction.gsp import best_slate
from auction.slate import sell
from domain.outcome import Slate

# Seven campaigns of three advertisers, so that each advertiser has several and each campaign may have several bidders.
_row = st.tuples(st.integers(0, 6), st.floats(1e-6, 1.0), st.integers(0, 10**6))
any_campaigns = st.lists(_row, max_size=9)


def competing(rows: list[tuple[int, float, int]]) -> tuple[Bids, "np.ndarray"]:
    return bidders(*((c // 3, q, b) for c, q, b in rows)), np.array([c for c, _, _ in rows], dtype=np.int32)


def resolutions(uncertain: "np.ndarray"):
    """Every way in which the uncertain campaigns may turn out able."""
    for able in product([True, False], repeat=int(uncertain.sum())):
        all_able = np.ones(len(uncertain), dtype=bool)
        all_able[uncertain] = able
        yield all_able


def test_a_campaign_is_represented_by_its_best_bidder_in_the_order_of_the_ranking() -> None:
    # eCPM 50, 40, 60 and 0.5; campaign 7 has two bidders; the last is below the floor of 1.
    bids = bidders((0, 0.05, 1_000_000), (1, 0.05, 800_000), (0, 0.06, 1_000_000), (2, 0.05, 10_000))
    found = Contenders.of(bids, np.array([7, 8, 7, 9], dtype=np.int32), reserves(1_000_000))
    assert found.best.tolist() == [2, 1]
    assert found.number.tolist() == [0, 1, 0, -1]
    assert found.advertiser == [0, 1]
    # 40 / 60 of the bid; then the next is below the reserve of 1, which costs 0.02, less than a tenth of the bid.
    assert found.most_ranked_micros(0.1).tolist() == [666_667, 80_000]
    assert found.most_drawn_micros(0.5).tolist() == [500_000, 400_000, 500_000, 0]
    assert found.largest(np.array([3, 9, 4, 8])).tolist() == [4, 9]
    assert found.per_bidder(np.array([True, False]), otherwise=True).tolist() == [True, False, True, True]


def test_a_campaign_never_has_to_reckon_with_what_leaves_together_with_a_rival() -> None:
    # A at 50, B at 40, A's second offer at 30, C at 20. B's next is C, whether A's campaign is there or not.
    rows = ((0, 0.05, 1_000_000), (1, 0.05, 800_000), (0, 0.05, 600_000), (2, 0.05, 400_000))
    one = Contenders.of(bidders(*rows), np.array([0, 1, 0, 2], dtype=np.int32), reserves(0))
    assert one.most_ranked_micros(0.1).tolist() == [800_000, 400_000, 40_000]
    # Where A's second offer is another campaign's, A's first may leave without it: then B pays what beats 30.
    two = Contenders.of(bidders(*rows), np.array([0, 1, 3, 2], dtype=np.int32), reserves(0))
    assert two.most_ranked_micros(0.1).tolist() == [800_000, 600_000, 400_000, 40_000]


@settings(deadline=None)
@given(any_campaigns, any_reserves, any_share)
def test_no_page_by_ecpm_costs_a_campaign_more_than_its_bound_whoever_leaves(rows, floors, share) -> None:
    bids, campaign = competing(rows)
    found = Contenders.of(bids, campaign, floors)
    most = found.most_ranked_micros(share)
    for able in resolutions(np.ones(len(found), dtype=bool)):
        here = without(bids, ~found.per_bidder(able, otherwise=True))
        sale = sell(best_slate(here, floors), here, floors, share)
        number = found.number[sale.winner]
        np.testing.assert_array_equal(found.best[number], sale.winner)
        assert (sale.price_micros <= most[number]).all()


@given(st.lists(st.tuples(st.floats(1e-6, 1.0), st.integers(0, 10**9)), max_size=12), st.integers(0, 10**9), st.integers(1, 5))
def test_the_bound_is_the_price_where_nobody_leaves_reserves_are_equal_and_advertisers_have_one_campaign(rows, floor, n) -> None:
    bids = bidders(*((a, q, b) for a, (q, b) in enumerate(rows)))
    floors = reserves(*[floor] * n)
    found = Contenders.of(bids, np.arange(len(rows), dtype=np.int32), floors)
    sale = sell(best_slate(bids, floors), bids, floors, 0.1)
    np.testing.assert_array_equal(found.most_ranked_micros(0.1)[found.number[sale.winner]], sale.price_micros)


@settings(deadline=None)
@given(any_campaigns, any_reserves, any_share)
def test_no_drawn_page_costs_a_bidder_more_than_its_bound(rows, floors, share) -> None:
    bids, campaign = competing(rows)
    most = Contenders.of(bids, campaign, floors).most_drawn_micros(share)
    for slot, winner in product(range(len(floors)), range(len(bids))):
        if bids.ecpm_micros[winner] > 0 and bids.ecpm_micros[winner] >= floors[slot]:
            drawn = Slate(np.array([slot]), np.array([winner]), np.ones(1), explored=True)
            assert (sell(drawn, bids, floors, share).price_micros <= most[winner]).all()


@settings(deadline=None)
@given(any_campaigns, any_reserves, st.data())
def test_who_may_win_is_known_before_the_replies(rows, floors, data) -> None:
    bids, campaign = competing(rows)
    found = Contenders.of(bids, campaign, floors)
    certain = np.array(data.draw(st.lists(st.booleans(), min_size=len(found), max_size=len(found))), dtype=bool)
    everyone = np.ones(len(found), dtype=bool)
    may_win = found.may_win(everyone, certain)
    for able in resolutions(~certain):
        winners = best_slate(without(bids, ~found.per_bidder(able, otherwise=True)), floors).winner
        assert may_win[found.number[winners]].all()
    # Of those that are known to be unable none is asked.
    assert not found.may_win(certain, certain)[~certain].any()


@given(any_campaigns, st.integers(0, 10**9), st.integers(1, 4))
def test_where_all_are_certain_only_the_winners_are_asked(rows, floor, n_slots) -> None:
    bids, campaign = competing(rows)
    floors = reserves(*[floor] * n_slots)
    found = Contenders.of(bids, campaign, floors)
    everyone = np.ones(len(found), dtype=bool)
    assert set(np.flatnonzero(found.may_win(everyone, everyone))) == set(found.number[best_slate(bids, floors).winner])


def test_nobody_competes_for_a_page_without_bidders() -> None:
    found = Contenders.of(bidders(), np.zeros(0, dtype=np.int32), reserves(0, 0))
    assert len(found) == len(found.most_ranked_micros(0.1)) == len(found.most_drawn_micros(0.5)) == 0
    assert found.may_win(np.zeros(0, bool), np.zeros(0, bool)).tolist() == []
