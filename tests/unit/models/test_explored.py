"""What a model is worth on what it did not choose."""

import numpy as np
import pytest

from models.explored import OnExplored, compare_choices

OFFERS, REQUESTS = 10, 40_000
RATES = np.linspace(0.02, 0.2, OFFERS)  # of each offer, .11 on average
EPSILON = 0.1


def logged(best: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(offer, label, explored, propensity) of pages with one offer: the same one, or one in ten times a random one."""
    rng = np.random.default_rng(2)
    explored = rng.random(REQUESTS) < EPSILON
    offer = np.where(explored, rng.integers(0, OFFERS, REQUESTS), best)
    propensity = EPSILON / OFFERS + (1 - EPSILON) * (offer == best)
    label = (rng.random(REQUESTS) < RATES[offer]).astype(np.int64)
    return offer, label, explored.astype(np.int64), propensity


def test_what_a_release_does_not_choose_shows_where_it_is_wrong() -> None:
    _, label, explored, _ = logged()
    # It knows what it shows, and takes everything else for as good.
    p = np.full(REQUESTS, RATES[3])
    everywhere = OnExplored.of(label, p, np.ones(REQUESTS, np.int64))
    alone = OnExplored.of(label, p, explored)
    assert everywhere is not None
    assert alone is not None
    assert everywhere.pcoc == pytest.approx(RATES[3] / (0.9 * RATES[3] + 0.1 * RATES.mean()), rel=0.05)
    assert alone.pcoc == pytest.approx(RATES[3] / RATES.mean(), rel=0.15)
    assert (alone.rows, alone.positives) == (explored.sum(), label[explored == 1].sum())
    assert OnExplored.of(label, p, np.zeros(REQUESTS, np.int64)) is None


def test_the_value_of_a_choice_is_that_of_the_offers_chosen_whatever_filled_the_log() -> None:
    offer, label, _, propensity = logged()
    right = RATES[offer] + 1e-6 * np.random.default_rng(3).random(REQUESTS)  # no two alike
    wrong = 1 - right
    found = compare_choices(label, right, wrong, propensity)
    assert found is not None
    # The best two of ten offers have .19 on average, the worst two .03, all of them .11.
    errors = 4 * np.sqrt(0.2 / found.effective)
    assert found.ours == pytest.approx(RATES[-2:].mean(), abs=errors)
    assert found.theirs == pytest.approx(RATES[:2].mean(), abs=errors)
    assert found.at_random == pytest.approx(RATES.mean(), abs=0.03)
    assert found.gain.low < 0.16 < found.gain.high
    # Some 800 of 40,000 rows are random pages with one of the two.
    assert 600 < found.effective < 1000
    assert found.rows == REQUESTS


def test_a_row_without_propensity_is_left_out_and_nothing_to_compare_says_so() -> None:
    offer, label, _, propensity = logged()
    p = RATES[offer]
    half = np.where(np.arange(REQUESTS) % 2, propensity, 0.0)
    found = compare_choices(label, p, p, half)
    assert found is not None
    assert found.rows == REQUESTS // 2
    assert found.gain == (0, 0)
    assert compare_choices(label, p, p, np.zeros(REQUESTS)) is None


def test_rows_of_one_shopper_are_no_more_than_one() -> None:
    offer, label, explored, propensity = logged()
    p = RATES[offer] + 1e-6 * np.random.default_rng(3).random(REQUESTS)
    fourfold = {name: np.repeat(column, 4) for name, column in {"label": label, "p": p, "propensity": propensity}.items()}
    alone = compare_choices(label, p, 1 - p, propensity)
    copied = compare_choices(
        fourfold["label"], fourfold["p"], 1 - fourfold["p"], fourfold["propensity"], np.repeat(np.arange(REQUESTS), 4)
    )
    assert alone is not None
    assert copied is not None
    assert copied.gain == pytest.approx(alone.gain, abs=1e-9)
    once = OnExplored.of(label, p, explored)
    again = OnExplored.of(fourfold["label"], fourfold["p"], np.repeat(explored, 4), np.repeat(np.arange(REQUESTS), 4))
    assert once is not None
    assert again is not None
    assert again.pcoc_interval == pytest.approx(once.pcoc_interval)
