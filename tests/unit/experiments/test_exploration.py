from collections.abc import Iterator
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.luck import Luck
from domain.outcome import Slate
from experiments.exploration import Lots, explore, slot_chances, toss

# Advertiser 0 has three offers, 1 has one, 2 has two; eCPM in units of the floors below.
ADVERTISER = np.array([0, 0, 0, 1, 2, 2], dtype=np.int32)
ECPM = np.array([50.0, 20.0, 5.0, 40.0, 30.0, 8.0])
NOBODY = Slate(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), explored=False)


def lots(n_slots: int, advertiser: np.ndarray, seed: int = 0) -> Lots:
    return Lots.draw(n_slots, advertiser, np.random.default_rng(seed))


def page(slot: list[int], winner: list[int]) -> Slate:
    return Slate(np.array(slot), np.array(winner), np.ones(len(slot)), explored=False)


def test_with_equal_floors_the_chance_is_one_over_advertisers_and_their_offers() -> None:
    chance = slot_chances(ECPM, ADVERTISER, np.array([1, 1]))
    np.testing.assert_allclose(chance, [[1 / 9, 1 / 9, 1 / 9, 1 / 3, 1 / 6, 1 / 6]] * 2)


def test_offers_below_the_floor_are_never_drawn() -> None:
    # At 10, advertiser 0 has two offers left and advertiser 2 one.
    chance = slot_chances(ECPM, ADVERTISER, np.array([10]))
    np.testing.assert_allclose(chance, [[1 / 6, 1 / 6, 0, 1 / 3, 1 / 3, 0]])
    assert slot_chances(np.zeros(6), ADVERTISER, np.array([0])).sum() == 0  # a bid of 0 passes no floor


def test_fewer_advertisers_than_slots_fill_the_first_slots() -> None:
    chance = slot_chances(ECPM, ADVERTISER, np.array([1, 1, 1, 1, 1]))
    np.testing.assert_allclose(chance.sum(axis=1), [1, 1, 1, 0, 0])


def test_the_highest_floor_is_drawn_first() -> None:
    # Slot 1 (floor 35) takes offer 0 or 3, one half each. Slot 0 (floor 10) then draws among the two advertisers left of
    # three: advertiser 2, always there, with 1/2; advertisers 0 and 1, there half the time, with 1/4 each.
    chance = slot_chances(ECPM, ADVERTISER, np.array([10, 35]))
    np.testing.assert_allclose(chance[1], [1 / 2, 0, 0, 1 / 2, 0, 0])
    np.testing.assert_allclose(chance[0], [1 / 8, 1 / 8, 0, 1 / 4, 1 / 2, 0])


def test_without_exploration_the_greedy_page_is_sold_with_certainty() -> None:
    greedy = page([0, 2], [0, 3])
    slate = explore(greedy, ECPM, ADVERTISER, np.array([1, 45, 1]), 0.0, toss(3, ADVERTISER, 0.0, Luck(0)))
    assert slate.slot.tolist() == [0, 2]
    assert slate.winner.tolist() == [0, 3]
    assert slate.propensity.tolist() == [1.0, 1.0]
    assert not slate.explored


def test_always_exploring_draws_every_page() -> None:
    rng = np.random.default_rng(0)
    pages = [
        explore(page([0], [0]), ECPM, ADVERTISER, np.array([1]), 1.0, toss(1, ADVERTISER, 1.0, Luck.draw(rng)))
        for _ in range(200)
    ]
    assert all(p.explored for p in pages)
    assert {int(p.winner[0]) for p in pages} == set(range(6))
    assert {round(float(p.propensity[0]), 9) for p in pages} == {round(x, 9) for x in (1 / 9, 1 / 3, 1 / 6)}


def test_nobody_to_show_gives_an_empty_page() -> None:
    nobody = np.zeros(0, np.int32)
    none = explore(NOBODY, np.zeros(0), nobody, np.array([1, 1]), 1.0, lots(2, nobody))
    assert len(none.winner) == len(none.propensity) == 0


def test_given_the_lots_who_is_able_decides_the_page() -> None:
    drawn = Lots(
        advertiser=np.array([[0.1, 0.1, 0.1, 0.2, 0.3, 0.3], [0.3, 0.3, 0.3, 0.1, 0.2, 0.2]]),
        offer=np.array([[0.5, 0.4, 0.6, 0.9, 0.8, 0.7], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]),
    )
    floors = np.array([1, 1])
    # Advertiser 0 has the first slot's lowest lot, with its second offer; 1 the second slot's.
    assert drawn.page(ECPM, ADVERTISER, floors)[1].tolist() == [1, 3]
    # Without that offer it sends its first; without any, the slot goes to 1, and the next to 2.
    assert drawn.page(np.where(np.arange(6) == 1, 0, ECPM), ADVERTISER, floors)[1].tolist() == [0, 3]
    assert drawn.page(np.where(ADVERTISER == 0, 0, ECPM), ADVERTISER, floors)[1].tolist() == [3, 4]


def orders_of_lots(n_slots: int, advertiser: np.ndarray) -> Iterator[Lots]:
    """Every order that the lots of a page may have, each as likely as any other."""
    _, code = np.unique(advertiser, return_inverse=True)
    a_slot = list(product(permutations(range(code.max() + 1)), permutations(range(len(advertiser)))))
    for slots in product(a_slot, repeat=n_slots):
        yield Lots(np.array([a for a, _ in slots], float)[:, code], np.array([o for _, o in slots], float))


@pytest.mark.parametrize("reserve", [[1, 1], [10, 35], [25, 1]])
def test_over_all_orders_of_lots_a_page_is_exactly_as_often_drawn_as_its_chance_says(reserve: list[int]) -> None:
    advertiser, ecpm, floors = ADVERTISER[1:5], ECPM[1:5], np.array(reserve)  # offers 20 and 5, 40, 30 of three advertisers
    shown, n = np.zeros((2, 4)), 0
    for drawn in orders_of_lots(2, advertiser):
        shown[drawn.page(ecpm, advertiser, floors)] += 1
        n += 1
    np.testing.assert_allclose(shown / n, slot_chances(ecpm, advertiser, floors), atol=1e-12)


@pytest.mark.parametrize(
    ("reserve", "greedy"),
    [
        ([1, 1], page([0, 1], [0, 3])),
        ([10, 35], page([0], [0])),
        ([35, 10, 25], page([0, 1, 2], [0, 3, 4])),
        ([1, 60, 1, 1, 1], page([0, 2, 3], [0, 3, 4])),
    ],
)
def test_logged_propensities_are_the_frequencies_of_pages(reserve: list[int], greedy: Slate) -> None:
    rng = np.random.default_rng(7)
    floors, epsilon, pages = np.array(reserve), 0.4, 6_000
    shown = np.zeros((len(reserve), 6))
    logged = np.full((len(reserve), 6), np.nan)
    for _ in range(pages):
        slate = explore(greedy, ECPM, ADVERTISER, floors, epsilon, toss(len(floors), ADVERTISER, epsilon, Luck.draw(rng)))
        shown[slate.slot, slate.winner] += 1
        logged[slate.slot, slate.winner] = slate.propensity
    frequency = shown / pages
    seen = ~np.isnan(logged)
    # Five standard errors of a frequency.
    assert (np.abs(frequency - logged)[seen] <= 5 * np.sqrt(logged * (1 - logged) / pages)[seen] + 1e-12).all()
    # Each possible (slot, offer) came up, so that all of them were compared.
    possible = slot_chances(ECPM, ADVERTISER, floors) > 0
    possible[greedy.slot, greedy.winner] = True
    np.testing.assert_array_equal(seen, possible)


_bidders = st.lists(st.tuples(st.integers(0, 5), st.floats(0, 100)), max_size=12)
_equal = st.tuples(st.integers(0, 100), st.integers(1, 5)).map(lambda floor: [floor[0]] * floor[1])
_reserves = st.one_of(_equal, st.lists(st.integers(0, 100), min_size=1, max_size=5))


@given(_bidders, _reserves, st.integers(0, 2**32), st.data())
def test_a_greedy_page_knows_its_chances_too(
    rows: list[tuple[int, float]], reserve: list[int], seed: int, data: st.DataObject
) -> None:
    if not rows:
        return
    advertiser, ecpm, floors = np.array([a for a, _ in rows], np.int32), np.array([e for _, e in rows]), np.array(reserve)
    slots = data.draw(st.sets(st.integers(0, len(reserve) - 1)))
    winners = [data.draw(st.integers(0, len(rows) - 1)) for _ in slots]  # of whom some are not able to be drawn
    greedy = Slate(np.array(sorted(slots), np.int64), np.array(winners, np.int64), np.ones(len(slots)), explored=False)
    slate = explore(greedy, ecpm, advertiser, floors, 0.3, None)
    chance = slot_chances(ecpm, advertiser, floors)
    np.testing.assert_allclose(slate.propensity, 0.3 * chance[slate.slot, slate.winner] + 0.7)


@given(_bidders, _reserves)
def test_a_row_of_chances_sums_to_one_or_to_nothing(rows: list[tuple[int, float]], reserve: list[int]) -> None:
    advertiser = np.array([a for a, _ in rows], dtype=np.int32)
    ecpm = np.array([e for _, e in rows])
    chance = slot_chances(ecpm, advertiser, np.array(reserve))
    assert (chance >= 0).all()
    assert all(total == pytest.approx(0) or total == pytest.approx(1) for total in chance.sum(axis=1))
    # Nobody is expected on a page more than once.
    for a in set(advertiser.tolist()):
        assert chance[:, advertiser == a].sum() <= 1 + 1e-9


@settings(max_examples=50)
@given(_bidders, _reserves, st.integers(0, 2**32))
def test_a_drawn_page_is_a_possible_page(rows: list[tuple[int, float]], reserve: list[int], seed: int) -> None:
    advertiser = np.array([a for a, _ in rows], dtype=np.int32)
    ecpm, floors = np.array([e for _, e in rows]), np.array(reserve)
    slate = explore(NOBODY, ecpm, advertiser, floors, 1.0, lots(len(floors), advertiser, seed))
    chance = slot_chances(ecpm, advertiser, floors)
    assert slate.slot.tolist() == np.flatnonzero(chance.sum(axis=1) > 0.5).tolist()
    assert (ecpm[slate.winner] >= floors[slate.slot]).all()
    assert len(set(advertiser[slate.winner].tolist())) == len(slate.winner)
    np.testing.assert_allclose(slate.propensity, chance[slate.slot, slate.winner])


@settings(deadline=None)
@given(_bidders.filter(lambda rows: len(rows) <= 8), _reserves, st.integers(0, 2**32), st.data())
def test_who_may_be_drawn_is_known_before_the_replies(
    rows: list[tuple[int, float]], reserve: list[int], seed: int, data: st.DataObject
) -> None:
    advertiser = np.array([a for a, _ in rows], dtype=np.int32)
    ecpm, floors = np.array([e for _, e in rows]), np.array(reserve)
    drawn = lots(len(floors), advertiser, seed)
    certain = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), dtype=bool)
    may_win = drawn.may_win(ecpm, advertiser, floors, certain)
    for able in product([True, False], repeat=int((~certain).sum())):
        here = ecpm.copy()
        here[~certain] *= able
        assert may_win[drawn.page(here, advertiser, floors)[1]].all()
    # Where all are certain, only the winners are asked.
    everyone = np.ones(len(rows), dtype=bool)
    winners = drawn.page(ecpm, advertiser, floors)[1]
    assert set(np.flatnonzero(drawn.may_win(ecpm, advertiser, floors, everyone))) == set(winners)


# Slots that leave more of some bids than of others


@st.composite
def _left_in_slots(draw: st.DrawFn, rows: list[tuple[int, float]], n_slots: int) -> np.ndarray:
    """[S, N]: clicks lose what a slot is not looked at, impressions nothing."""
    by_view = np.array(draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), dtype=bool)
    seen = np.array([1.0, *draw(st.lists(st.sampled_from([0.2, 0.5, 0.8, 1.5]), min_size=n_slots - 1, max_size=n_slots - 1))])
    return np.where(by_view, 1.0, seen[:, None])


@given(_bidders, _reserves, st.data())
def test_where_slots_leave_all_of_every_bid_chances_and_lots_are_the_same(rows, reserve, data) -> None:
    advertiser, floors = np.array([a for a, _ in rows], dtype=np.int32), np.array(reserve)
    ecpm, all_of_it = np.array([e for _, e in rows]), np.ones((len(reserve), len(rows)))
    np.testing.assert_allclose(
        slot_chances(ecpm, advertiser, floors, all_of_it), slot_chances(ecpm, advertiser, floors), atol=1e-12
    )
    drawn = lots(len(floors), advertiser, data.draw(st.integers(0, 2**32)))
    for one, other in zip(drawn.page(ecpm, advertiser, floors, all_of_it), drawn.page(ecpm, advertiser, floors), strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=50, deadline=None)
@given(_bidders.filter(lambda rows: len(rows) <= 8), _reserves, st.integers(0, 2**32), st.data())
def test_a_page_drawn_of_slots_that_differ_is_a_possible_one_and_known_before_the_replies(rows, reserve, seed, data) -> None:
    advertiser, floors = np.array([a for a, _ in rows], dtype=np.int32), np.array(reserve)
    ecpm, left = np.array([e for _, e in rows]), data.draw(_left_in_slots(rows, len(reserve)))
    drawn = lots(len(floors), advertiser, seed)
    slate = explore(NOBODY, ecpm, advertiser, floors, 1.0, drawn, left)
    chance = slot_chances(ecpm, advertiser, floors, left)
    assert slate.slot.tolist() == np.flatnonzero(chance.sum(axis=1) > 0.5).tolist()
    assert (left[slate.slot, slate.winner] * ecpm[slate.winner] >= floors[slate.slot]).all()
    assert len(set(advertiser[slate.winner].tolist())) == len(slate.winner)
    np.testing.assert_allclose(slate.propensity, chance[slate.slot, slate.winner])
    certain = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), dtype=bool)
    may_win = drawn.may_win(ecpm, advertiser, floors, certain, left)
    for able in product([True, False], repeat=int((~certain).sum())):
        here = ecpm.copy()
        here[~certain] *= able
        assert may_win[drawn.page(here, advertiser, floors, left)[1]].all()


def test_over_many_pages_of_slots_that_differ_the_chance_is_the_frequency() -> None:
    # At floor 10 all but one pass the first slot; where clicks are left with a third, two of them do not, and the impressions do.
    by_view = np.array([False, False, True, True, False, True])
    left, floors, n_pages = np.where(by_view, 1.0, np.array([1.0, 1 / 3, 0.5])[:, None]), np.array([10, 10, 4]), 4000
    chance, shown = slot_chances(ECPM, ADVERTISER, floors, left), np.zeros((3, 6))
    for seed in range(n_pages):
        slots, winners = lots(3, ADVERTISER, seed).page(ECPM, ADVERTISER, floors, left)
        shown[slots, winners] += 1
    assert (np.abs(shown / n_pages - chance) <= 5 * np.sqrt(chance * (1 - chance) / n_pages) + 1e-12).all()
    assert len({tuple(row > 0) for row in chance}) > 1
