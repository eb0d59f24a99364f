import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.outcome import Slate
from experiments.exploration import explore, slot_chances

# Advertiser 0 has three offers, 1 has one, 2 has two; eCPM in units of the floors below.
ADVERTISER = np.array([0, 0, 0, 1, 2, 2], dtype=np.int32)
ECPM = np.array([50.0, 20.0, 5.0, 40.0, 30.0, 8.0])
NOBODY = Slate(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), explored=False)


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
    slate = explore(greedy, ECPM, ADVERTISER, np.array([1, 45, 1]), 0.0, np.random.default_rng(0))
    assert slate.slot.tolist() == [0, 2]
    assert slate.winner.tolist() == [0, 3]
    assert slate.propensity.tolist() == [1.0, 1.0]
    assert not slate.explored


def test_always_exploring_draws_every_page() -> None:
    rng = np.random.default_rng(0)
    pages = [explore(page([0], [0]), ECPM, ADVERTISER, np.array([1]), 1.0, rng) for _ in range(200)]
    assert all(p.explored for p in pages)
    assert {int(p.winner[0]) for p in pages} == set(range(6))
    assert {round(float(p.propensity[0]), 9) for p in pages} == {round(x, 9) for x in (1 / 9, 1 / 3, 1 / 6)}


def test_nobody_to_show_gives_an_empty_page() -> None:
    none = explore(NOBODY, np.zeros(0), np.zeros(0, np.int32), np.array([1, 1]), 1.0, np.random.default_rng(0))
    assert len(none.winner) == len(none.propensity) == 0


def test_a_coin_already_thrown_is_not_thrown_again() -> None:
    rng = np.random.default_rng(0)
    arguments = (ECPM, ADVERTISER, np.array([1]), 0.5, rng)
    assert {explore(page([0], [0]), *arguments, coin=False).explored for _ in range(20)} == {False}
    assert {explore(page([0], [0]), *arguments, coin=True).explored for _ in range(20)} == {True}


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
    floors, epsilon, pages = np.array(reserve), 0.4, 20_000
    shown = np.zeros((len(reserve), 6))
    logged = np.full((len(reserve), 6), np.nan)
    for _ in range(pages):
        slate = explore(greedy, ECPM, ADVERTISER, floors, epsilon, rng)
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
_reserves = st.lists(st.integers(0, 100), min_size=1, max_size=5)


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
    slate = explore(NOBODY, ecpm, advertiser, floors, 1.0, np.random.default_rng(seed))
    chance = slot_chances(ecpm, advertiser, floors)
    assert slate.slot.tolist() == np.flatnonzero(chance.sum(axis=1) > 0.5).tolist()
    assert (ecpm[slate.winner] >= floors[slate.slot]).all()
    assert len(set(advertiser[slate.winner].tolist())) == len(slate.winner)
    np.testing.assert_allclose(slate.propensity, chance[slate.slot, slate.winner])
