"""The slice that explains an excess is named, and all traffic where none does."""

import numpy as np

from monitoring.detection.locating import causal_rank, mix_that_explains, smallest_slice
from monitoring.summaries import ALL, Series, Slice

SLICES = [ALL, Slice("app", "7.3"), Slice("app", "7.4"), Slice("os", "ios"), Slice("os", "android")]
ROWS = np.array([1000.0, 200, 800, 400, 600])
SURE = np.full(5, 10.0)


def test_what_moved_in_one_version_is_named_by_it() -> None:
    # All of 7.3, which is on ios only.
    assert smallest_slice(SLICES, ROWS, np.array([0.2, 1.0, 0.0, 0.5, 0.0]), SURE).slice == SLICES[1]


def test_the_larger_slice_is_named_where_the_smaller_one_misses_some() -> None:
    # All of ios; 7.3 has half of it.
    assert smallest_slice(SLICES, ROWS, np.array([0.4, 1.0, 0.25, 1.0, 0.0]), SURE).slice == SLICES[3]


def test_what_moved_everywhere_is_named_by_no_slice() -> None:
    assert smallest_slice(SLICES, ROWS, np.full(5, 0.3), SURE).slice == ALL


def test_what_is_not_sure_has_no_part() -> None:
    z = np.array([10.0, 10.0, 0.5, 10.0, 1.0])
    assert smallest_slice(SLICES, ROWS, np.array([0.2, 0.9, 0.03, 0.5, 0.02]), z).slice == SLICES[1]


def test_a_mix_that_moved_explains_what_moved_within_none_of_its_slices() -> None:
    excess = np.array([0.5, 0.01, 0.02, 0.5, 0.5])
    assert mix_that_explains(SLICES, ROWS, excess, {"app": 9.0, "os": 8.0}) == "app"
    assert mix_that_explains(SLICES, ROWS, np.full(5, 0.5), {"app": 9.0}) is None


def test_inputs_come_before_predictions_and_these_before_what_came_of_them() -> None:
    order = [
        ("missing", Series("feature", "x")),
        ("tail", Series("probability", "ctr")),
        ("calibration", Series("calibration", "ctr")),
        ("flow", Series("flow", "fill")),
    ]
    ranks = [causal_rank(*one) for one in order]
    assert ranks == sorted(set(ranks))
