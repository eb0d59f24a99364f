"""Slots that are looked at less: clicks are worth less there, impressions what they always are."""

from dataclasses import replace
from itertools import product

import numpy as np
from bidders import any_reserves, any_share, bidders, bidding_more, reserves, without
from hypothesis import given, settings
from hypothesis import strategies as st

from auction.bids import Bids
from auction.contenders import Contenders
from auction.examination import ecpm_in_slots, left_of
from auction.gsp import best_slate
from auction.slate import sell
from domain.outcome import Reason, Sale, Slate

WON, FLOOR, OUTBID, SAME = Reason.WON, Reason.BELOW_FLOOR, Reason.OUTBID, Reason.ADVERTISER_EXCLUSION
HALF = np.array([1.0, 0.5])

# Seven campaigns of three advertisers; odd ones are paid per impression.
_row = st.tuples(st.integers(0, 6), st.floats(1e-6, 1.0), st.integers(0, 10**6))
any_rows = st.lists(_row, max_size=9)
_share = st.one_of(st.sampled_from([1.0, 0.5, 0.3, 0.1, 1.3]), st.floats(1e-3, 10.0))
any_curve = st.lists(_share, min_size=5, max_size=5).map(lambda later: np.array([1.0, *later]))


def bids_of(rows: list[tuple[int, float, int]]) -> tuple[Bids, np.ndarray]:
    """Bids, and the campaign of each."""
    campaign = np.array([c for c, _, _ in rows], dtype=np.int32)
    by_view = campaign % 2 == 1
    return mixed([(c // 3, q, b) for c, q, b in rows], by_view), campaign


def mixed(rows: list[tuple[int, float, int]], by_view: np.ndarray) -> Bids:
    """Bids by click, and by impression where it says so: these have a quality of 1."""
    found = bidders(*((a, 1.0 if view else q, b) for (a, q, b), view in zip(rows, by_view, strict=True)))
    return replace(found, by_view=np.asarray(by_view, dtype=bool))


def gsp(bids: Bids, examination: np.ndarray | None, *floors: int, share: float = 0.0) -> Sale:
    return sell(best_slate(bids, reserves(*floors), examination), bids, reserves(*floors), share, examination)


def test_below_the_fold_an_impression_beats_a_click_that_is_worth_more_above() -> None:
    # Clicks at 50 and 40, an impression at 30. In the second slot the click is left with 20.
    bids = mixed([(0, 0.05, 1_000_000), (1, 0.05, 800_000), (2, 1.0, 30_000)], np.array([False, False, True]))
    assert gsp(bids, None, 0, 0).winner.tolist() == [0, 1]
    sale = gsp(bids, HALF, 0, 0)
    assert sale.winner.tolist() == [0, 2]
    # The first pays what beats 40; the impression, 0.03 at most, what beats the click at half of 40.
    assert sale.price_micros.tolist() == [800_000, 20_000]
    assert sale.reason.tolist() == [WON, OUTBID, WON]
    assert sale.examination.tolist() == [1.0, 0.5]


def test_a_click_pays_in_its_slot_what_beats_the_impression_there() -> None:
    # Clicks at 60 and 50, so 25 in the second slot; an impression at 20: 20 / (1000 x 0.5 x 0.05) = 0.80 per click.
    bids = mixed([(0, 0.05, 1_200_000), (1, 0.05, 1_000_000), (2, 1.0, 20_000)], np.array([False, False, True]))
    sale = gsp(bids, HALF, 0, 0)
    assert sale.winner.tolist() == [0, 1]
    assert sale.price_micros.tolist() == [1_000_000, 800_000]


def test_among_clicks_alone_order_and_prices_stay_as_they_are() -> None:
    bids = bidders((0, 0.05, 1_000_000), (1, 0.10, 400_000), (2, 0.02, 1_500_000))
    plain, examined = gsp(bids, None, 0, 0), gsp(bids, HALF, 0, 0)
    assert examined.winner.tolist() == plain.winner.tolist()
    assert examined.price_micros.tolist() == plain.price_micros.tolist()


def test_a_reserve_asks_for_the_ecpm_in_its_slot() -> None:
    # 20 at the first position is 10 in the second, below the 12 that its slot asks for; 30 is 15, and pays 12 / (1000 x .025).
    poor = bidders((0, 0.05, 1_000_000), (1, 0.05, 400_000))
    assert gsp(poor, HALF, 12_000_000, 12_000_000).slot.tolist() == [0]
    fair = bidders((0, 0.05, 1_000_000), (1, 0.05, 600_000))
    sale = gsp(fair, HALF, 12_000_000, 12_000_000)
    assert (sale.slot.tolist(), sale.price_micros.tolist()) == ([0, 1], [600_000, 480_000])
    # Drawn at random the same reserve holds, or a share of the bid.
    drawn = Slate(np.array([1]), np.array([1]), np.ones(1), explored=True)
    assert sell(drawn, fair, reserves(12_000_000, 12_000_000), 0.5, HALF).price_micros.tolist() == [480_000]
    assert sell(drawn, fair, reserves(0, 0), 0.5, HALF).price_micros.tolist() == [300_000]


def test_below_the_floor_is_who_passes_that_of_no_slot() -> None:
    bids = mixed([(0, 0.05, 200_000), (1, 1.0, 9_000)], np.array([False, True]))
    assert gsp(bids, HALF, 12_000_000, 6_000_000).reason.tolist() == [FLOOR, WON]  # 10 and 5, against 12 and 6; 9 against 6


def test_a_lower_slot_that_is_looked_at_more_is_worth_more() -> None:
    bids = mixed([(0, 0.05, 400_000), (1, 1.0, 22_000)], np.array([False, True]))
    sale = gsp(bids, np.array([1.0, 1.5]), 0, 25_000_000)
    assert sale.winner.tolist() == [1, 0]  # 22 before 20; then 30 against a reserve of 25
    assert sale.price_micros.tolist() == [20_000, 333_334]


@given(any_rows, any_reserves, any_share)
def test_where_all_slots_are_looked_at_alike_it_is_the_same_auction(rows, floors, share) -> None:
    bids, campaign = bids_of(rows)
    plain, examined = gsp(bids, None, *floors, share=share), gsp(bids, np.ones(len(floors)), *floors, share=share)
    for one, other in zip(
        (plain.slot, plain.winner, plain.price_micros, plain.reason),
        (examined.slot, examined.winner, examined.price_micros, examined.reason),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    one, other = Contenders.of(bids, campaign, floors), Contenders.of(bids, campaign, floors, np.ones(len(floors)))
    np.testing.assert_array_equal(one.number, other.number)


@given(any_rows, any_reserves, any_share, any_curve)
def test_at_its_price_a_winner_is_worth_the_reserve_and_the_next_in_its_slot(rows, floors, share, curve) -> None:
    (bids, _), examination = bids_of(rows), curve[: len(floors)]
    sale = gsp(bids, examination, *floors, share=share)
    assert (sale.price_micros <= bids.bid_micros[sale.winner]).all()
    assert (sale.price_micros >= share * bids.bid_micros[sale.winner] - 1e-6).all()
    assert len(set(bids.advertiser[sale.winner].tolist())) == len(sale.winner)
    ecpm = ecpm_in_slots(bids.ecpm_micros, bids.by_view, examination)
    per_micro = 1000 * bids.quality[sale.winner] * left_of(bids, sale.winner, examination[sale.slot])
    for w, (slot, winner) in enumerate(zip(sale.slot, sale.winner, strict=True)):
        rivals = ~np.isin(bids.advertiser, bids.advertiser[sale.winner[: w + 1]])
        to_beat = max(float(floors[slot]), ecpm[slot, rivals].max(initial=0.0))
        assert ecpm[slot, winner] >= to_beat * (1 - 1e-12)
        # 1e-6 micros of price is what rounding forgives; one micro less would not do, unless a share of the bid asks for more.
        assert per_micro[w] * sale.price_micros[w] >= to_beat * (1 - 1e-12) - 1e-6 * per_micro[w]
        if share == 0.0:
            assert sale.price_micros[w] == 0 or per_micro[w] * (sale.price_micros[w] - 1) < to_beat * (1 + 1e-12)


@given(any_rows, any_reserves, any_curve, st.data())
def test_bidding_more_never_loses_a_slot_nor_changes_the_price_of_the_one_it_has(rows, floors, curve, data) -> None:
    (bids, _), examination = bids_of(rows), curve[: len(floors)]
    sale = gsp(bids, examination, *floors)
    if not len(sale.winner):
        return
    w = data.draw(st.integers(0, len(sale.winner) - 1))
    winner = sale.winner[w]
    again = gsp(bidding_more(bids, winner, data.draw(st.integers(0, 10**6))), examination, *floors)
    assert winner in again.winner
    here = again.winner.tolist().index(winner)
    assert again.slot[here] <= sale.slot[w]
    if again.slot[here] == sale.slot[w] and sale.price_micros[w] < bids.bid_micros[winner]:
        assert again.price_micros[here] == sale.price_micros[w]


def resolutions(uncertain: np.ndarray):
    """Every way in which the uncertain campaigns may turn out able."""
    for able in product([True, False], repeat=int(uncertain.sum())):
        all_able = np.ones(len(uncertain), dtype=bool)
        all_able[uncertain] = able
        yield all_able


@settings(deadline=None)
@given(any_rows, any_reserves, any_share, any_curve)
def test_no_page_costs_a_campaign_more_than_its_bound_whoever_leaves(rows, floors, share, curve) -> None:
    (bids, campaign), examination = bids_of(rows), curve[: len(floors)]
    found = Contenders.of(bids, campaign, floors, examination)
    ranked, drawn = found.most_ranked_micros(share), found.most_drawn_micros(share)
    assert (ranked <= bids.bid_micros[found.best]).all()
    for able in resolutions(np.ones(len(found), dtype=bool)):
        here = without(bids, ~found.per_bidder(able, otherwise=True))
        sale = gsp(here, examination, *floors, share=share)
        number = found.number[sale.winner]
        np.testing.assert_array_equal(found.best[number], sale.winner)
        assert (sale.price_micros <= ranked[number]).all()
    ecpm = ecpm_in_slots(bids.ecpm_micros, bids.by_view, examination)
    for slot, winner in product(range(len(floors)), range(len(bids))):
        if ecpm[slot, winner] > 0 and ecpm[slot, winner] >= floors[slot]:
            one = Slate(np.array([slot]), np.array([winner]), np.ones(1), explored=True)
            assert (sell(one, bids, floors, share, examination).price_micros <= drawn[winner]).all()


@settings(deadline=None)
@given(any_rows, any_reserves, any_curve, st.data())
def test_who_may_win_is_known_before_the_replies(rows, floors, curve, data) -> None:
    (bids, campaign), examination = bids_of(rows), curve[: len(floors)]
    found = Contenders.of(bids, campaign, floors, examination)
    certain = np.array(data.draw(st.lists(st.booleans(), min_size=len(found), max_size=len(found))), dtype=bool)
    everyone = np.ones(len(found), dtype=bool)
    may_win = found.may_win(everyone, certain)
    for able in resolutions(~certain):
        here = without(bids, ~found.per_bidder(able, otherwise=True))
        assert may_win[found.number[best_slate(here, floors, examination).winner]].all()
    assert not found.may_win(certain, certain)[~certain].any()
    winners = best_slate(bids, floors, examination).winner
    assert set(np.flatnonzero(found.may_win(everyone, everyone))) == set(found.number[winners])
