import numpy as np
import pytest

from models.retrieval import Catalogue, recall, recall_loss


def test_recall_counts_offers_with_fewer_than_k_before_them() -> None:
    found = recall(np.array([0, 1, 2, 50]), Catalogue(2, 60))
    assert found is not None
    assert (found.k, found.offers, found.positives, found.recall) == (2, 60, 4, 0.5)
    # Wilson's interval of 2 of 4.
    assert found.interval == pytest.approx((0.15, 0.85), abs=1e-3)
    assert recall(np.zeros(0, np.int64), Catalogue(2, 60)) is None


def test_a_shopper_who_clicks_twice_tells_no_more_than_once() -> None:
    once, twice = np.array([0, 5, 0, 5]), np.repeat([0, 5, 0, 5], 2)
    shopper = np.repeat(np.arange(4), 2)
    alone, of_shoppers = recall(once, Catalogue(2, 60)), recall(twice, Catalogue(2, 60), shopper)
    assert alone is not None
    assert of_shoppers is not None
    assert of_shoppers.interval == pytest.approx(alone.interval)
    paired, of_pairs = recall_loss(once, once[::-1], 2), recall_loss(twice, twice[::-1], 2, shopper)
    assert paired is not None
    assert of_pairs is not None
    assert of_pairs.interval == pytest.approx(paired.interval)
    assert recall_loss(once, once, 2, np.zeros(4, np.int64)) is None


def test_what_is_lost_is_paired_by_row() -> None:
    # Ten hits each, of which five are the same: the difference is 0, and its interval is of the ten rows that differ.
    ours, theirs = np.repeat([0, 9, 0, 9], 5), np.repeat([0, 0, 9, 9], 5)
    found = recall_loss(ours, theirs, 1)
    assert found is not None
    assert (found.ours, found.theirs, found.loss) == (0.5, 0.5, 0)
    assert found.interval.high == pytest.approx(1.959964 * np.sqrt(10 / 19 / 20))
