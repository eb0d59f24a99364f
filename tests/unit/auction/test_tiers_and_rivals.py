"""Higher tiers go first and depend on nobody below; rivals share no page, and yet set each other's prices."""

from dataclasses import replace
from itertools import product

import numpy as np
from bidders import any_reserves, any_share, bidders, reserves, without
from hypothesis import given, settings
from hypothesis import strategies as st

from auction.bids import Bids
from auction.contenders import Contenders
from auction.examination import ecpm_in_slots
from auction.gsp import best_slate
from auction.slate import sell
from domain.outcome import Reason, Sale

# Nine campaigns of five advertisers of three groups in three tiers; odd ones are paid per impression.
_row = st.tuples(st.integers(0, 8), st.floats(1e-6, 1.0), st.integers(0, 10**6))
any_rows = st.lists(_row, max_size=8)
_share = st.one_of(st.sampled_from([1.0, 0.5, 0.3, 1.3]), st.floats(1e-3, 10.0))
any_curve = st.none() | st.lists(_share, min_size=5, max_size=5).map(lambda later: np.array([1.0, *later]))
TIER = (1, 0, 1, 2, 1, 1, 0, 2, 1)


def bids_of(rows: list[tuple[int, float, int]]) -> tuple[Bids, np.ndarray]:
    campaign = np.array([c for c, _, _ in rows], dtype=np.int32)
    by_view = campaign % 2 == 1
    found = bidders(*((c // 2, 1.0 if view else q, b) for (c, q, b), view in zip(rows, by_view.tolist(), strict=True)))
    tier = np.array([TIER[c] for c in campaign], dtype=np.uint8)
    return replace(found, by_view=by_view, group=found.advertiser // 2, tier=tier), campaign


def by_the_book(bids: Bids, floors: np.ndarray, seen: np.ndarray) -> dict[int, tuple[int, float]]:
    """Slot -> its winner and the eCPM that it has to reach there, by comparing everybody with everybody."""
    ecpm = ecpm_in_slots(bids.ecpm_micros, bids.by_view, seen)
    left, found = [i for i in range(len(bids)) if bids.ecpm_micros[i] > 0], {}
    assert bids.tier is not None
    for k, floor in enumerate(floors.tolist()):
        passing = [i for i in left if ecpm[k, i] >= floor]
        if passing:
            winner = min(passing, key=lambda i: (bids.tier[i], -ecpm[k, i], -bids.ecpm_micros[i], i))
            rivals = [i for i in left if bids.tier[i] == bids.tier[winner] and bids.advertiser[i] != bids.advertiser[winner]]
            found[k] = winner, max([ecpm[k, i] for i in rivals] + [float(floor)])
            left = [i for i in left if bids.apart[i] != bids.apart[winner]]
    return found


def sold(bids: Bids, floors: np.ndarray, share: float, seen: np.ndarray | None) -> Sale:
    return sell(best_slate(bids, floors, seen), bids, floors, share, seen)


@settings(deadline=None)
@given(any_rows, any_reserves, any_share, any_curve)
def test_slots_and_prices_are_those_by_the_book(rows, floors, share, curve) -> None:
    bids, _ = bids_of(rows)
    seen = None if curve is None else curve[: len(floors)]
    page, sale = by_the_book(bids, floors, np.ones(len(floors)) if seen is None else seen), sold(bids, floors, share, seen)
    assert dict(zip(sale.slot.tolist(), sale.winner.tolist(), strict=True)) == {k: winner for k, (winner, _) in page.items()}
    paid = sale.price_micros * 1000 * bids.quality[sale.winner] * np.where(bids.by_view[sale.winner], 1.0, sale.examination)
    to_reach = np.array([asked for _, asked in page.values()])
    bid = bids.bid_micros[sale.winner]
    assert ((sale.price_micros <= bid) & (sale.price_micros >= share * bid - 1)).all()
    # Prices forgive a millionth of a micro, which is ten times a thousandth of an eCPM at most.
    assert (paid >= to_reach * (1 - 1e-9) - 0.02).all()
    assert len({bids.apart[w] for w in sale.winner}) == len(sale.winner)


@given(any_rows, any_reserves, any_share, any_curve, st.floats(1e-6, 1.0), st.integers(0, 10**9))
def test_whoever_comes_to_a_lower_tier_changes_nothing_above(rows, floors, share, curve, quality, bid) -> None:
    bids, _ = bids_of(rows)
    seen = None if curve is None else curve[: len(floors)]
    bids = replace(bids, tier=np.minimum(bids.tier, 1).astype(np.uint8))
    new = bidders((77, quality, bid))
    joined = {n: np.append(getattr(bids, n), getattr(new, n)) for n in ("quality", "bid_micros", "ecpm_micros", "by_view")}
    more = Bids(
        np.append(bids.advertiser, np.int32(77)),
        **joined,
        group=np.append(bids.group, np.int32(77)),
        tier=np.append(bids.tier, np.uint8(2)),
    )
    before, after = sold(bids, floors, share, seen), sold(more, floors, share, seen)
    above = after.winner < len(bids)
    np.testing.assert_array_equal(after.slot[above], before.slot)
    np.testing.assert_array_equal(after.winner[above], before.winner)
    np.testing.assert_array_equal(after.price_micros[above], before.price_micros)


@settings(deadline=None, max_examples=60)
@given(any_rows, any_reserves, any_share, any_curve, st.data())
def test_bounds_hold_and_who_may_win_is_asked_whoever_leaves(rows, floors, share, curve, data) -> None:
    bids, campaign = bids_of(rows)
    seen = None if curve is None else curve[: len(floors)]
    found = Contenders.of(bids, campaign, floors, seen)
    most, everyone = found.most_ranked_micros(share), np.ones(len(found), dtype=bool)
    certain = np.array(data.draw(st.lists(st.booleans(), min_size=len(found), max_size=len(found))), dtype=bool)
    may_win = found.may_win(everyone, certain)
    for able in product([True, False], repeat=len(found)):
        here = without(bids, ~found.per_bidder(np.array(able, dtype=bool), otherwise=True))
        sale = sold(here, floors, share, seen)
        number = found.number[sale.winner]
        np.testing.assert_array_equal(found.best[number], sale.winner)
        assert (sale.price_micros <= most[number]).all()
        if np.array(able, dtype=bool)[certain].all():
            assert may_win[number].all()


@given(any_rows, any_reserves, any_share)
def test_bidders_of_one_tier_without_rivals_are_sold_as_if_there_were_neither(rows, floors, share) -> None:
    bids, _ = bids_of(rows)
    plain = replace(bids, group=None, tier=None)
    alike = replace(bids, group=bids.advertiser, tier=np.full(len(bids), 1, dtype=np.uint8))
    one, other = sold(plain, floors, share, None), sold(alike, floors, share, None)
    for name in ("slot", "winner", "price_micros", "reason"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_rival_kept_off_the_page_sets_the_price_of_who_keeps_it_off() -> None:
    # 50, 40 and 10; the first two are rivals.
    bids = replace(bidders((0, 0.05, 1_000_000), (1, 0.05, 800_000), (2, 0.05, 200_000)), group=np.array([0, 0, 2], np.int32))
    sale = sold(bids, reserves(0, 0), 0.0, None)
    assert (sale.winner.tolist(), sale.price_micros.tolist()) == ([0, 2], [800_000, 0])
    assert sale.reason.tolist() == [Reason.WON, Reason.COMPETITOR, Reason.WON]


def test_a_sponsor_goes_before_who_is_worth_more_and_pays_its_own_tier() -> None:
    tier = np.array([1, 0, 0, 3], np.uint8)
    bids = replace(bidders((0, 0.05, 1_000_000), (1, 0.05, 400_000), (2, 0.05, 200_000), (3, 0.05, 900_000)), tier=tier)
    sale = sold(bids, reserves(0), 0.0, None)
    assert (sale.winner.tolist(), sale.price_micros.tolist()) == ([1], [200_000])
    assert sale.reason.tolist() == [Reason.OUTRANKED, Reason.WON, Reason.OUTBID, Reason.OUTRANKED]


def test_what_a_higher_tier_does_not_pass_the_reserve_of_is_left_to_a_lower_one() -> None:
    bids = replace(bidders((0, 0.05, 1_000_000), (1, 0.05, 400_000)), tier=np.array([3, 1], np.uint8))
    sale = sold(bids, reserves(45_000_000, 0), 0.0, None)
    assert (sale.slot.tolist(), sale.winner.tolist(), sale.price_micros.tolist()) == ([0, 1], [0, 1], [900_000, 0])
