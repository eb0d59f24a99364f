"""New labels are read with the release in service; where they are far from what it expects, they are doubted."""

import math

import numpy as np
import pytest

from models.instrument import HOUR_MS, Bounds, beyond, positives_interval, readings, split_doubts

BOUNDS = Bounds(0.5, 2.0)


def test_limits_of_a_count_are_exact() -> None:
    def at_most(k: int, mean: float) -> float:
        return sum(math.exp(-mean) * mean**i / math.factorial(i) for i in range(k + 1))

    # None at all: e^-m = 0.001 for m = ln 1000.
    assert positives_interval(0) == (0.0, pytest.approx(math.log(1000)))
    low, high = positives_interval(10)
    assert (1 - at_most(9, low), at_most(10, high)) == (pytest.approx(0.001), pytest.approx(0.001))


@pytest.mark.parametrize(
    ("positives", "expected", "doubted"),
    [
        (100, 100.0, False),
        (0, 13.8, False),  # twice 6.9 is 13.8: up to there none at all may be chance
        (0, 13.9, True),
        (100, 190.0, False),  # a market may move that far
        (100, 300.0, True),
        (100, 60.0, False),
        (300, 100.0, True),  # counted more than twice
    ],
)
def test_a_count_is_doubted_where_its_whole_interval_lies_beyond(positives: int, expected: float, doubted: bool) -> None:
    assert beyond(positives, expected, BOUNDS) is doubted


def hours(*counts: tuple[int, int, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, positives and probability, an hour each."""
    time_ms = np.concatenate([np.full(n, i * HOUR_MS + 5) for i, (n, _, _) in enumerate(counts)])
    labels = np.concatenate([np.arange(n) < y for n, y, _ in counts]).astype(np.int64)
    return time_ms, labels, np.concatenate([np.full(n, p) for n, _, p in counts])


def test_hours_are_read_one_by_one() -> None:
    found = readings(*hours((1000, 98, 0.1), (1000, 0, 0.1), (1000, 103, 0.1)), BOUNDS)
    assert [(r.from_ms // HOUR_MS, r.rows, r.positives, round(r.expected), r.doubted) for r in found] == [
        (0, 1000, 98, 100, False),
        (1, 1000, 0, 100, True),
        (2, 1000, 103, 100, False),
    ]
    assert str(found[1]) == "0 positives in 1,000 rows where 100 were expected"


def test_hours_of_little_traffic_are_read_together() -> None:
    # Five positives an hour are expected: three hours make 15, enough to say something.
    found = readings(*hours(*[(50, 0, 0.1)] * 3, *[(50, 5, 0.1)] * 4), BOUNDS)
    assert [(r.from_ms // HOUR_MS, r.until_ms // HOUR_MS, r.telling, r.doubted) for r in found] == [
        (0, 3, True, True),
        (3, 6, True, False),
        (6, 7, False, False),
    ]


def test_what_is_followed_by_believable_labels_is_over() -> None:
    broken, good, little = (1000, 0, 0.1), (1000, 100, 0.1), (20, 2, 0.1)

    def split(*counts: tuple[int, int, float]) -> tuple[list[int], list[int]]:
        over, lasting = split_doubts(readings(*hours(*counts), BOUNDS))
        return [r.from_ms // HOUR_MS for r in over], [r.from_ms // HOUR_MS for r in lasting]

    assert split(good, broken, good) == ([1], [])
    assert split(good, broken) == ([], [1])
    assert split(broken, good, broken) == ([0], [2])
    # Too little to be believed says nothing about what was before.
    assert split(good, broken, little) == ([], [1])
    assert split(good, good) == ([], [])


def test_no_rows_are_no_readings() -> None:
    assert readings(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), BOUNDS) == []
